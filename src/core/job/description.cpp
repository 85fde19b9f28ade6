#include "core/job/description.h"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <utility>

namespace pgbraid::core::job {
namespace {

using Elements = Cron::Elements;
using Kind = Element::Kind;
using Texts = std::vector<std::string>;

constexpr std::string_view month_names[] = {"January", "February", "March",		"April",   "May",	   "June",
											"July",	   "August",   "September", "October", "November", "December"};
constexpr std::array<std::string_view, 7> weekday_names{"Sunday",	"Monday", "Tuesday", "Wednesday",
														"Thursday", "Friday", "Saturday"};
constexpr std::size_t most_times = 8; // that are listed one by one

// "a", "a and b", "a, b and c"
std::string joined(const Texts &texts, std::string_view last_separator = " and ")
{
	std::string text;
	for (std::size_t i = 0; i < texts.size(); i++) {
		if (i > 0)
			text += i + 1 < texts.size() ? ", " : last_separator;
		text += texts[i];
	}
	return text;
}

std::string ordinal(int n)
{
	const bool teen = n / 10 % 10 == 1;
	const char *ending = teen ? "th" : n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
	return std::to_string(n) + ending;
}

std::string counted(std::int64_t n, std::string_view noun)
{
	return std::to_string(n) + ' ' + std::string{noun} + (n == 1 ? "" : "s");
}

std::string value_name(Field field, int value)
{
	if (field == Field::month)
		return std::string{month_names[value - 1]};
	if (field == Field::weekday)
		return std::string{weekday_names[static_cast<std::size_t>(value % 7)]};
	return std::to_string(value);
}

std::string range_name(Field field, const Element &element)
{
	const std::string first = value_name(field, element.first);
	return element.first == element.last ? first : first + " to " + value_name(field, element.last);
}

bool is_every(const Elements &elements)
{
	return elements.size() == 1 && elements.front().kind == Kind::any && elements.front().step == 1;
}

bool is_listed(const Element &element)
{
	return element.kind == Kind::range && element.step == 1;
}

// The elements that are values and ranges: "5, 10 and 20 to 30".
Texts listed(Field field, const Elements &elements)
{
	Texts texts;
	for (const Element &element : elements)
		if (is_listed(element))
			texts.push_back(range_name(field, element));
	return texts;
}

// "every 2nd hour from 9 to 17"
std::string stepped(Field field, const Element &element, std::string_view noun)
{
	std::string text = element.step == 1 ? "every " : "every " + ordinal(element.step) + ' ';
	text += noun;
	if (element.kind == Kind::open)
		text += " from " + value_name(field, element.first) + " on";
	if (element.kind == Kind::range)
		text += " from " + range_name(field, element);
	return text;
}

bool has_step(const Element &element)
{
	return element.kind == Kind::any || element.kind == Kind::open || (element.kind == Kind::range && element.step > 1);
}

// "minutes 5 and 10 and every 2nd minute from 30 on"
std::string times_text(Field field, const Elements &elements)
{
	const std::string noun = range_of(field).name;
	Texts texts;
	if (const Texts values = listed(field, elements); !values.empty()) {
		const bool one = values.size() == 1 && values.front().find(' ') == std::string::npos;
		texts.push_back(noun + (one ? " " : "s ") + joined(values));
	}
	for (const Element &element : elements)
		if (has_step(element))
			texts.push_back(stepped(field, element, noun));
	return joined(texts);
}

// How a description begins with the smallest unit: "every 15 minutes", "at minute 5".
std::string leading_text(Field field, const Elements &elements)
{
	const Element &first = elements.front();
	if (elements.size() == 1 && first.kind == Kind::any && first.step > 1)
		return "every " + counted(first.step, range_of(field).name);
	const std::string text = times_text(field, elements);
	return text.starts_with("every") ? text : "at " + text;
}

std::string clock_text(int hour, int minute, int second)
{
	char text[48];
	std::snprintf(text, sizeof text, second == 0 ? "%02d:%02d" : "%02d:%02d:%02d", hour, minute, second);
	return text;
}

// "at 02:30 and 14:30"
std::string fixed_times_text(const Cron &cron)
{
	Texts texts;
	for (const Element &hour : cron[Field::hour])
		for (const Element &minute : cron[Field::minute])
			for (const Element &second : cron[Field::second])
				texts.push_back(clock_text(hour.first, minute.first, second.first));
	return "at " + joined(texts);
}

bool has_fixed_times(const Cron &cron)
{
	std::size_t count = 1;
	for (Field field : {Field::second, Field::minute, Field::hour}) {
		if (!is_fixed(cron[field]))
			return false;
		count *= cron[field].size();
	}
	return count <= most_times;
}

std::string repeated_times_text(const Cron &cron)
{
	const Elements whole_minute{{Kind::range, 0, 0}};
	std::string text;
	bool dense = false; // the smaller unit comes again and again in all of this one
	for (Field field : {Field::second, Field::minute, Field::hour}) {
		const Elements &elements = cron[field];
		if (text.empty() && field == Field::second && elements == whole_minute)
			continue;
		if (text.empty())
			text = leading_text(field, elements);
		else if (!dense || !is_every(elements))
			text += " of " + times_text(field, elements);
		dense = elements.front().kind == Kind::any;
	}
	return text;
}

std::string from_end_text(const Element &element)
{
	const std::string last = "the last day";
	return element.first == 0 ? last : counted(element.first, "day") + " before " + last;
}

std::string nth_text(const Element &element)
{
	const std::string last = element.nth == -1	? "last "
							 : element.nth < -1 ? ordinal(-element.nth) + " last "
												: ordinal(element.nth) + ' ';
	return "the " + last + range_name(Field::weekday, element);
}

std::string special_text(const Element &element)
{
	const std::string nearest = "the day from Monday to Friday nearest to ";
	switch (element.kind) {
		case Kind::from_end: return from_end_text(element);
		case Kind::near_weekday: return nearest + "day " + std::to_string(element.first);
		case Kind::from_end_weekday: return nearest + from_end_text(element);
		case Kind::nth: return nth_text(element);
		default: return stepped(Field::day, element, "day");
	}
}

std::string days_text(const Elements &elements)
{
	Texts texts;
	if (const Texts days = listed(Field::day, elements); !days.empty()) {
		const bool one = days.size() == 1 && days.front().find(' ') == std::string::npos;
		texts.push_back((one ? "day " : "days ") + joined(days));
	}
	for (const Element &element : elements)
		if (!is_listed(element))
			texts.push_back(special_text(element));
	return joined(texts) + " of the month";
}

// There are few enough to name them.
Texts stepped_weekdays(const Element &element)
{
	const int days = static_cast<int>(weekday_names.size());
	int last = element.kind == Kind::range ? element.last : days - 1;
	if (last < element.first)
		last += days;
	Texts texts;
	for (int day = element.first; day <= last; day += element.step)
		texts.push_back(value_name(Field::weekday, day));
	return texts;
}

std::string weekdays_text(const Elements &elements)
{
	Texts texts;
	for (const Element &element : elements) {
		if (is_listed(element))
			texts.push_back(range_name(Field::weekday, element));
		else if (element.kind == Kind::nth)
			texts.push_back(nth_text(element) + " of the month");
		else
			for (std::string &day : stepped_weekdays(element))
				texts.push_back(std::move(day));
	}
	return joined(texts);
}

std::string date_text(const Cron &cron, DayRule rule)
{
	const Elements &days = cron[Field::day], &weekdays = cron[Field::weekday];
	if (is_every(days) && is_every(weekdays))
		return {};
	if (is_every(days))
		return " on " + weekdays_text(weekdays);
	if (is_every(weekdays))
		return " on " + days_text(days);
	const bool both = rule == DayRule::both || days.front().kind == Kind::any || weekdays.front().kind == Kind::any;
	return " on " + days_text(days) + (both ? " when it is " : " or on ") + weekdays_text(weekdays);
}

std::string months_text(const Elements &elements)
{
	if (is_every(elements))
		return {};
	Texts texts = listed(Field::month, elements);
	for (const Element &element : elements)
		if (has_step(element))
			texts.push_back(stepped(Field::month, element, "month"));
	return " in " + joined(texts);
}

std::string cron_text(const Cron &cron, DayRule rule)
{
	const bool fixed = has_fixed_times(cron);
	const std::string date = date_text(cron, rule);
	const std::string time = fixed ? fixed_times_text(cron) : repeated_times_text(cron);
	return time + (fixed && date.empty() ? " every day" : date) + months_text(cron[Field::month]);
}

std::string every_text(const Every &every)
{
	const std::chrono::hh_mm_ss parts{every.interval};
	Texts texts;
	if (parts.hours().count() > 0)
		texts.push_back(counted(parts.hours().count(), "hour"));
	if (parts.minutes().count() > 0)
		texts.push_back(counted(parts.minutes().count(), "minute"));
	if (parts.seconds().count() > 0)
		texts.push_back(counted(parts.seconds().count(), "second"));
	return "every " + joined(texts);
}

std::string once_text(const At &at)
{
	std::string time = to_string(at);
	std::replace(time.begin(), time.end(), 'T', ' ');
	if (at.utc)
		time.replace(time.size() - 1, 1, " UTC");
	return "once at " + time;
}

} // namespace

std::string describe(const Expression &expression, DayRule rule)
{
	if (const auto *cron = std::get_if<Cron>(&expression))
		return cron_text(*cron, rule);
	if (const auto *every = std::get_if<Every>(&expression))
		return every_text(*every);
	return once_text(std::get<At>(expression));
}

} // namespace pgbraid::core::job
