#include "core/job/occurrences.h"

#include <algorithm>
#include <vector>

namespace pgbraid::core::job {
namespace {

using std::chrono::local_seconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using Found = std::optional<sys_seconds>;

// How far last_in() looks back at first, and how much farther then: the transitions of a zone can be listed in one
// direction only.
constexpr std::chrono::days first_look_back{4};
constexpr int farther = 8;

local_seconds local(sys_seconds time, seconds offset)
{
	return local_seconds{(time + offset).time_since_epoch()};
}

sys_seconds absolute(local_seconds time, seconds offset)
{
	return sys_seconds{time.time_since_epoch() - offset};
}

Found earlier(Found a, Found b)
{
	return a && b ? std::min(a, b) : a ? a : b;
}

} // namespace

// All of a period, but for a time that the clocks repeat if the first one is enough.
Occurrences::Stretch Occurrences::of_clock(const Period &period, Stretch within) const
{
	const seconds repeated = rules_.overlap == Overlap::first ? period.overlap() : seconds{0};
	return {std::max(within.from, period.begin + repeated), within.until, period.offset};
}

// As long as the gap before the period, by clocks that were not put forward.
Occurrences::Stretch Occurrences::of_gap(const Period &period, Stretch within) const
{
	const sys_seconds end = rules_.gap == Gap::shift ? period.begin + period.gap() : period.begin;
	return {std::max(within.from, period.begin), std::min(within.until, end), period.before};
}

bool Occurrences::happens_after_gap(const Period &period, Stretch within) const
{
	return rules_.gap == Gap::after && period.gap() > seconds{0} && within.from <= period.begin &&
		   period.begin < within.until &&
		   calendar_.first_in(local(period.begin, period.before), local(period.begin, period.offset));
}

Found Occurrences::first(Stretch stretch) const
{
	if (stretch.from >= stretch.until)
		return std::nullopt;
	auto found = calendar_.first_in(local(stretch.from, stretch.offset), local(stretch.until, stretch.offset));
	return found ? Found{absolute(*found, stretch.offset)} : std::nullopt;
}

Found Occurrences::last(Stretch stretch) const
{
	if (stretch.from >= stretch.until)
		return std::nullopt;
	auto found = calendar_.last_in(local(stretch.from, stretch.offset), local(stretch.until, stretch.offset));
	return found ? Found{absolute(*found, stretch.offset)} : std::nullopt;
}

Found Occurrences::first_of(const Period &period, Stretch within) const
{
	if (happens_after_gap(period, within))
		return period.begin;
	return earlier(first(of_gap(period, within)), first(of_clock(period, within)));
}

Found Occurrences::last_of(const Period &period, Stretch within) const
{
	auto found = std::max(last(of_clock(period, within)), last(of_gap(period, within)));
	if (!found && happens_after_gap(period, within))
		return period.begin;
	return found;
}

Found Occurrences::first_in(sys_seconds from, sys_seconds until) const
{
	if (from >= until)
		return std::nullopt;
	Period period = period_at(zone_, from);
	while (true) {
		if (auto found = first_of(period, {std::max(from, period.begin), std::min(until, period.end), {}}))
			return found;
		if (period.end >= until)
			return std::nullopt;
		period = period_after(zone_, period);
	}
}

Found Occurrences::last_in(sys_seconds from, sys_seconds until) const
{
	std::vector<Period> periods;
	for (auto look_back = first_look_back; from < until; look_back *= farther) {
		const sys_seconds since = std::max(from, until - look_back);
		periods.assign(1, period_at(zone_, since));
		while (periods.back().end < until)
			periods.push_back(period_after(zone_, periods.back()));
		for (; !periods.empty(); periods.pop_back()) {
			const Period &period = periods.back();
			if (auto found = last_of(period, {std::max(since, period.begin), std::min(until, period.end), {}}))
				return found;
		}
		until = since;
	}
	return std::nullopt;
}

} // namespace pgbraid::core::job
