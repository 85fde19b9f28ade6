// The moments at which a calendar happens in a zone, under a policy for what daylight saving does to it.
#pragma once
#include "core/job/calendar.h"
#include "core/job/period.h"

namespace pgbraid::core::job {

class Occurrences {
public:
	enum class Gap : std::uint8_t { after, skip, shift };
	enum class Overlap : std::uint8_t { first, both };
	struct Rules {
		Gap gap;
		Overlap overlap;
	};

	Occurrences(const Calendar &calendar, const Zone &zone, Rules rules) noexcept
		: calendar_{calendar}, zone_{zone}, rules_{rules}
	{
	}

	// The first and the last one in from <= t < until.
	std::optional<std::chrono::sys_seconds> first_in(std::chrono::sys_seconds from,
													 std::chrono::sys_seconds until) const;
	std::optional<std::chrono::sys_seconds> last_in(std::chrono::sys_seconds from,
													std::chrono::sys_seconds until) const;

private:
	struct Stretch { // of time in which the clocks show UTC plus `offset`, or are taken to
		std::chrono::sys_seconds from, until;
		std::chrono::seconds offset;
	};

	Stretch of_clock(const Period &period, Stretch within) const;
	Stretch of_gap(const Period &period, Stretch within) const;
	bool happens_after_gap(const Period &period, Stretch within) const;
	std::optional<std::chrono::sys_seconds> first_of(const Period &period, Stretch within) const;
	std::optional<std::chrono::sys_seconds> last_of(const Period &period, Stretch within) const;
	std::optional<std::chrono::sys_seconds> first(Stretch stretch) const;
	std::optional<std::chrono::sys_seconds> last(Stretch stretch) const;

	const Calendar &calendar_;
	const Zone &zone_;
	Rules rules_;
};

} // namespace pgbraid::core::job
