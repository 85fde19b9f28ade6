#include "core/job/period.h"

#include <cassert>

namespace pgbraid::core::job {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

// A repeated stretch ends within that time of the transition that repeats it.
constexpr std::chrono::hours longest_overlap{48};

sys_seconds end_of_offset(const Zone &zone, sys_seconds after, seconds offset)
{
	while (auto transition = zone.next_transition(after)) {
		assert(transition->at > after);
		if (transition->at >= no_end)
			break;
		if (transition->offset != offset)
			return transition->at;
		after = transition->at;
	}
	return no_end;
}

} // namespace

Period period_at(const Zone &zone, sys_seconds time)
{
	const sys_seconds early = time - longest_overlap;
	const seconds offset = zone.offset_at(early);
	Period period{no_begin, end_of_offset(zone, early, offset), offset, offset};
	while (period.end <= time)
		period = period_after(zone, period);
	return period;
}

Period period_after(const Zone &zone, const Period &period)
{
	assert(period.end < no_end);
	const seconds offset = zone.offset_at(period.end);
	return {period.end, end_of_offset(zone, period.end, offset), offset, period.offset};
}

} // namespace pgbraid::core::job
