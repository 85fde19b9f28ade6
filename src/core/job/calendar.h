// The local times at which a cron expression happens, whatever a zone makes of them. Finds them by field, not by
// walking through time.
#pragma once
#include "core/job/expression.h"

#include <chrono>
#include <optional>

namespace pgbraid::core::job {

// A restricted day of the month and a restricted weekday: is one of them enough, as in POSIX, or both needed? As in
// Vixie cron, a field that begins with * (or ?) is not restricted, so that both are needed with "*/2", too.
enum class DayRule : std::uint8_t { either, both };

class Calendar {
public:
	Calendar(const Cron &cron, DayRule rule);

	// The first and the last one in from <= t < until. Years 1 to 9999 only; less than a microsecond for a year in
	// which there is none.
	std::optional<std::chrono::local_seconds> first_in(std::chrono::local_seconds from,
													   std::chrono::local_seconds until) const;
	std::optional<std::chrono::local_seconds> last_in(std::chrono::local_seconds from,
													  std::chrono::local_seconds until) const;

private:
	using Bits = std::uint64_t; // bit n: the value n is meant

	Bits days_of(std::chrono::year_month month) const;
	Bits month_days(std::chrono::year_month month) const;
	Bits week_days(std::chrono::year_month month) const;
	std::optional<std::chrono::seconds> first_time(std::chrono::seconds from) const;
	std::optional<std::chrono::seconds> last_time(std::chrono::seconds until) const;

	Bits seconds_, minutes_, hours_, days_, months_, weekdays_;
	Cron::Elements special_days_, special_weekdays_; // that depend on the month
	bool both_;
};

} // namespace pgbraid::core::job
