// The time of a zone, cut where its offset from UTC changes.
#pragma once
#include "core/job/zone.h"

namespace pgbraid::core::job {

// begin <= t < end: local time is UTC plus `offset`; just before `begin` it was UTC plus `before`. Local times from
// begin + before to begin + offset never were (a gap), or, where offset < before, those from begin + offset to
// begin + before were twice (an overlap), and this is the second time.
struct Period {
	std::chrono::sys_seconds begin, end;
	std::chrono::seconds offset, before;

	std::chrono::seconds gap() const noexcept { return offset > before ? offset - before : std::chrono::seconds{0}; }
	std::chrono::seconds overlap() const noexcept
	{
		return before > offset ? before - offset : std::chrono::seconds{0};
	}
};

// Where there is no transition any more; and a begin that is not known, long before what was asked for, with before ==
// offset.
constexpr std::chrono::sys_seconds no_end = std::chrono::sys_days{std::chrono::year{20000} / 1 / 1};
constexpr std::chrono::sys_seconds no_begin = std::chrono::sys_days{std::chrono::year{-10000} / 1 / 1};

// The period around that time; the one after this one, which must have an end.
Period period_at(const Zone &zone, std::chrono::sys_seconds time);
Period period_after(const Zone &zone, const Period &period);

} // namespace pgbraid::core::job
