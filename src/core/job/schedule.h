// When a job runs: an expression in a zone. The times of a schedule are a set of moments that only the expression, the
// policy and the zone decide, never when one asks, so that next() and previous() lead through the same ones.
#pragma once
#include "core/job/calendar.h"
#include "core/job/expression.h"
#include "core/job/zone.h"

#include <chrono>
#include <optional>

namespace pgbraid::core::job {

using Instant = std::chrono::sys_time<std::chrono::microseconds>;

// What becomes of the times that the clocks skip when they go forward.
enum class GapPolicy : std::uint8_t {
	automatic, // as `after` where the hours are fixed (is_fixed), else as `skip`: the next time is not far
	after,	   // one run at the first moment after the gap, for all of them
	skip,	   // none
	shift,	   // each as much later as the gap is long
};

// What becomes of the times that the clocks repeat when they go back.
enum class OverlapPolicy : std::uint8_t {
	automatic, // as `first` where seconds, minutes and hours are fixed (is_fixed), else as `both`
	first,	   // a run the first time only
	both,	   // a run each time
};

struct Policy {
	DayRule days = DayRule::either;
	GapPolicy gap = GapPolicy::automatic;
	OverlapPolicy overlap = OverlapPolicy::automatic;
	Instant anchor{}; // of "@every": the runs are that long from each other, and from here
};

class Schedule {
public:
	explicit Schedule(Expression expression, Policy policy = {});

	// The first time later than `after`, and the last one earlier than `before`; nothing if there is none within 400
	// years (after which the Gregorian calendar repeats itself) in the years 1 to 9999. Some microseconds; less than a
	// millisecond where there is none.
	std::optional<Instant> next(Instant after, const Zone &zone) const;
	std::optional<Instant> previous(Instant before, const Zone &zone) const;

	const Expression &expression() const noexcept { return expression_; }
	const Policy &policy() const noexcept { return policy_; }

private:
	Expression expression_;
	Policy policy_;
	std::optional<Calendar> calendar_; // of a cron expression
};

} // namespace pgbraid::core::job
