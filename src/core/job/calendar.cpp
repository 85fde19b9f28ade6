#include "core/job/calendar.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace pgbraid::core::job {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::local_days;
using std::chrono::local_seconds;
using std::chrono::months;
using std::chrono::seconds;
using std::chrono::year_month;
using std::chrono::year_month_day;
using Bits = std::uint64_t;

constexpr seconds whole_day{86400};
constexpr local_seconds earliest = local_days{std::chrono::year{1} / 1 / 1};
constexpr local_seconds latest = local_days{std::chrono::year{10000} / 1 / 1};

constexpr Bits every_weekday = 0x7f;

constexpr Bits bit(int n)
{
	return Bits{1} << n;
}

constexpr Bits bits_from(int n)
{
	return n > 63 ? 0 : ~Bits{0} << n;
}

// The lowest bit from n on and the highest one up to n; -1 where there is none.
int bit_from(Bits bits, int n)
{
	bits &= bits_from(n);
	return bits == 0 ? -1 : std::countr_zero(bits);
}

int bit_up_to(Bits bits, int n)
{
	bits &= ~bits_from(n + 1);
	return 63 - std::countl_zero(bits);
}

seconds time_of(int hour, int minute, int second)
{
	return seconds{(hour * 60 + minute) * 60 + second};
}

// A step goes on across the end of a range that wraps. The last weekday of a range can be 7.
Bits range_bits(const Element &element, const FieldRange &field)
{
	const int circle = field.last - field.first + 1;
	const int last = element.last < element.first ? element.last + circle : element.last;
	Bits bits = 0;
	for (int value = element.first; value <= last; value += element.step)
		bits |= bit(field.first + (value - field.first) % circle);
	return bits;
}

Bits element_bits(const Element &element, const FieldRange &field)
{
	Element range = element;
	if (element.kind == Element::Kind::any)
		range.first = field.first;
	else if (element.kind != Element::Kind::range && element.kind != Element::Kind::open)
		return 0;
	if (element.kind != Element::Kind::range)
		range.last = field.last;
	return range_bits(range, field);
}

Bits plain_bits(const Cron &cron, Field field)
{
	Bits bits = 0;
	for (const Element &element : cron[field])
		bits |= element_bits(element, range_of(field));
	return bits;
}

Cron::Elements special(const Cron::Elements &elements)
{
	Cron::Elements found;
	std::copy_if(elements.begin(), elements.end(), std::back_inserter(found),
				 [](const Element &element) { return element.kind >= Element::Kind::from_end; });
	return found;
}

bool is_unrestricted(const Cron::Elements &elements)
{
	return elements.front().kind == Element::Kind::any;
}

int length_of(year_month month)
{
	return static_cast<int>(static_cast<unsigned>((month / std::chrono::last).day()));
}

int weekday_of(year_month month, int day)
{
	const local_days date{month / std::chrono::day{static_cast<unsigned>(day)}};
	return static_cast<int>(std::chrono::weekday{date}.c_encoding());
}

Bits nearest_weekday(year_month month, int day)
{
	const int length = length_of(month);
	if (day < 1 || day > length)
		return 0;
	const int weekday = weekday_of(month, day);
	if (weekday == 6)
		return bit(day > 1 ? day - 1 : day + 2);
	if (weekday == 0)
		return bit(day < length ? day + 1 : day - 2);
	return bit(day);
}

Bits special_day(const Element &element, year_month month)
{
	switch (element.kind) {
		case Element::Kind::near_weekday: return nearest_weekday(month, element.first);
		case Element::Kind::from_end_weekday: return nearest_weekday(month, length_of(month) - element.first);
		default: return bit(std::max(length_of(month) - element.first, 0));
	}
}

// The days of a month that have the weekday.
Bits days_with(year_month month, int weekday)
{
	Bits found = 0;
	for (int day = 1 + (weekday - weekday_of(month, 1) + 7) % 7; day <= length_of(month); day += 7)
		found |= bit(day);
	return found;
}

Bits nth_of(Bits of, int nth)
{
	for (int i = 1; i < nth && of != 0; i++)
		of &= of - 1;
	for (int i = -1; i > nth && of != 0; i--)
		of &= ~std::bit_floor(of);
	return of == 0 ? 0 : nth > 0 ? of & (~of + 1) : std::bit_floor(of);
}

Bits special_weekday(const Element &element, year_month month)
{
	Bits found = 0;
	const Bits weekdays = range_bits(element, range_of(Field::weekday));
	for (int weekday = bit_from(weekdays, 0); weekday >= 0; weekday = bit_from(weekdays, weekday + 1))
		found |= nth_of(days_with(month, weekday), element.nth);
	return found;
}

} // namespace

Calendar::Calendar(const Cron &cron, DayRule rule)
	: seconds_{plain_bits(cron, Field::second)}, minutes_{plain_bits(cron, Field::minute)},
	  hours_{plain_bits(cron, Field::hour)}, days_{plain_bits(cron, Field::day)}, months_{plain_bits(cron,
																									 Field::month)},
	  weekdays_{plain_bits(cron, Field::weekday)}, special_days_{special(cron[Field::day])},
	  special_weekdays_{special(cron[Field::weekday])}, both_{rule == DayRule::both ||
															  is_unrestricted(cron[Field::day]) ||
															  is_unrestricted(cron[Field::weekday])}
{
}

Bits Calendar::month_days(year_month month) const
{
	Bits found = days_;
	for (const Element &element : special_days_)
		found |= special_day(element, month);
	return found;
}

Bits Calendar::week_days(year_month month) const
{
	if (weekdays_ == every_weekday)
		return bits_from(1);
	Bits found = 0;
	for (int weekday = bit_from(weekdays_, 0); weekday >= 0; weekday = bit_from(weekdays_, weekday + 1))
		found |= days_with(month, weekday);
	for (const Element &element : special_weekdays_)
		found |= special_weekday(element, month);
	return found;
}

Bits Calendar::days_of(year_month month) const
{
	if ((months_ & bit(static_cast<int>(static_cast<unsigned>(month.month())))) == 0)
		return 0;
	const Bits all = bits_from(1) & ~bits_from(length_of(month) + 1);
	const Bits by_day = month_days(month), by_week = week_days(month);
	return all & (both_ ? by_day & by_week : by_day | by_week);
}

std::optional<seconds> Calendar::first_time(seconds from) const
{
	const std::chrono::hh_mm_ss at{from};
	const int hour = static_cast<int>(at.hours().count()), minute = static_cast<int>(at.minutes().count());
	const int first_minute = bit_from(minutes_, 0), first_second = bit_from(seconds_, 0);
	if (bit_from(hours_, hour) == hour) {
		const int second = bit_from(seconds_, static_cast<int>(at.seconds().count()));
		if (second >= 0 && bit_from(minutes_, minute) == minute)
			return time_of(hour, minute, second);
		if (int later = bit_from(minutes_, minute + 1); later >= 0)
			return time_of(hour, later, first_second);
	}
	const int later = bit_from(hours_, hour + 1);
	return later < 0 ? std::nullopt : std::optional{time_of(later, first_minute, first_second)};
}

std::optional<seconds> Calendar::last_time(seconds until) const
{
	if (until <= seconds{0})
		return std::nullopt;
	const std::chrono::hh_mm_ss at{until - seconds{1}};
	const int hour = static_cast<int>(at.hours().count()), minute = static_cast<int>(at.minutes().count());
	const int last_minute = bit_up_to(minutes_, 59), last_second = bit_up_to(seconds_, 59);
	if (bit_up_to(hours_, hour) == hour) {
		const int second = bit_up_to(seconds_, static_cast<int>(at.seconds().count()));
		if (second >= 0 && bit_up_to(minutes_, minute) == minute)
			return time_of(hour, minute, second);
		if (int earlier = bit_up_to(minutes_, minute - 1); earlier >= 0)
			return time_of(hour, earlier, last_second);
	}
	const int earlier = bit_up_to(hours_, hour - 1);
	return earlier < 0 ? std::nullopt : std::optional{time_of(earlier, last_minute, last_second)};
}

std::optional<local_seconds> Calendar::first_in(local_seconds from, local_seconds until) const
{
	from = std::max(from, earliest);
	until = std::min(until, latest);
	const year_month_day first{floor<days>(from)};
	for (year_month month = first.year() / first.month(); local_days{month / 1} < until; month += months{1}) {
		const Bits found = days_of(month);
		for (int day = bit_from(found, 1); day > 0; day = bit_from(found, day + 1)) {
			const local_seconds midnight = local_days{month / 1} + days{day - 1};
			if (midnight + whole_day <= from)
				continue;
			const auto time = first_time(std::max(from - midnight, seconds{0}));
			if (time)
				return midnight + *time < until ? std::optional{midnight + *time} : std::nullopt;
		}
	}
	return std::nullopt;
}

std::optional<local_seconds> Calendar::last_in(local_seconds from, local_seconds until) const
{
	from = std::max(from, earliest);
	until = std::min(until, latest);
	const year_month_day last{floor<days>(until)};
	for (year_month month = last.year() / last.month(); local_days{(month + months{1}) / 1} > from;
		 month -= months{1}) {
		const Bits found = days_of(month);
		for (int day = bit_up_to(found, 31); day > 0; day = bit_up_to(found, day - 1)) {
			const local_seconds midnight = local_days{month / 1} + days{day - 1};
			const auto time = last_time(std::min(until - midnight, whole_day));
			if (time)
				return midnight + *time >= from ? std::optional{midnight + *time} : std::nullopt;
		}
	}
	return std::nullopt;
}

} // namespace pgbraid::core::job
