// What a job's schedule says, as values. expression_parser.h makes them of text, Schedule finds the times.
//
// A cron expression has the fields of POSIX crontab(5), "minute hour day month weekday", or six with seconds before
// them; besides the lists and ranges of POSIX it knows the names and steps of Vixie cron, and L, W and # of Quartz.
// docs/jobs.md has the grammar.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace pgbraid::core::job {

enum class Field : std::uint8_t { second, minute, hour, day, month, weekday };

// What a field may hold. A weekday may be written as 7 too, which is Sunday, like 0.
struct FieldRange {
	const char *name;
	int first, last;
};
constexpr std::array<FieldRange, 6> field_ranges{
	{{"second", 0, 59}, {"minute", 0, 59}, {"hour", 0, 23}, {"day", 1, 31}, {"month", 1, 12}, {"weekday", 0, 6}}};

constexpr const FieldRange &range_of(Field field) noexcept
{
	return field_ranges[static_cast<std::size_t>(field)];
}

// One element of a field's list.
struct Element {
	enum class Kind : std::uint8_t {
		any,			  // * or */step
		range,			  // first, or first-last, or first-last/step; goes around the end where first > last
		open,			  // first/step: from first to the end of the field
		from_end,		  // day L or L-first: so many days before the last day of the month
		near_weekday,	  // day firstW: the day from Monday to Friday nearest to it in its month
		from_end_weekday, // day LW or L-firstW
		nth,			  // weekday first-last#nth, or, where nth < 0, counted from the end of the month; firstL is -1
	};
	Kind kind = Kind::any;
	int first = 0, last = 0, step = 1, nth = 0;
	bool operator==(const Element &) const = default;
};

struct Cron {
	using Elements = std::vector<Element>;

	bool has_seconds = false; // without: fields of second 0
	std::array<Elements, 6> fields;

	const Elements &operator[](Field field) const { return fields[static_cast<std::size_t>(field)]; }
	Elements &operator[](Field field) { return fields[static_cast<std::size_t>(field)]; }
	bool operator==(const Cron &) const = default;
};

// "@every 90s": whole seconds of elapsed time, whatever the clocks of the zone do.
struct Every {
	std::chrono::seconds interval{};
	bool operator==(const Every &) const = default;
};

// "@at 2026-12-01T10:00": once. In UTC, or by the clock of the job's zone.
struct At {
	std::chrono::local_time<std::chrono::microseconds> time{};
	bool utc = false;
	bool operator==(const At &) const = default;
};

using Expression = std::variant<Cron, Every, At>;

// The expression in its shortest spelling, which parses to an equal one.
std::string to_string(const Expression &expression);

// "2026-12-01T10:00:00", with a fraction where there is one and Z where it is in UTC.
std::string to_string(const At &at);

// Does a field hold none of * - / , that is: single values only? An expression whose time is fixed happens at some
// times of the day; any other means to happen again and again. Daylight saving treats them differently (schedule.h).
bool is_fixed(const Cron::Elements &elements) noexcept;

} // namespace pgbraid::core::job
