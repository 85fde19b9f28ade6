#include "core/job/expression.h"

#include <algorithm>
#include <cstdio>

namespace pgbraid::core::job {
namespace {

std::string range_text(const Element &element)
{
	std::string text = std::to_string(element.first);
	if (element.last != element.first)
		text += '-' + std::to_string(element.last);
	return text;
}

std::string step_text(const Element &element)
{
	return '/' + std::to_string(element.step);
}

std::string from_end_text(const Element &element)
{
	return element.first == 0 ? "L" : "L-" + std::to_string(element.first);
}

std::string nth_text(const Element &element)
{
	if (element.nth == -1 && element.first == element.last)
		return range_text(element) + 'L';
	return range_text(element) + '#' + std::to_string(element.nth);
}

std::string element_text(const Element &element)
{
	switch (element.kind) {
		case Element::Kind::any: return element.step == 1 ? "*" : '*' + step_text(element);
		case Element::Kind::range: return range_text(element) + (element.step == 1 ? "" : step_text(element));
		case Element::Kind::open: return std::to_string(element.first) + step_text(element);
		case Element::Kind::from_end: return from_end_text(element);
		case Element::Kind::near_weekday: return std::to_string(element.first) + 'W';
		case Element::Kind::from_end_weekday: return from_end_text(element) + 'W';
		case Element::Kind::nth: return nth_text(element);
	}
	return {};
}

std::string cron_text(const Cron &cron)
{
	std::string text;
	for (std::size_t i = cron.has_seconds ? 0 : 1; i < cron.fields.size(); i++) {
		const char *separator = text.empty() ? "" : " ";
		for (const Element &element : cron.fields[i]) {
			text += separator + element_text(element);
			separator = ",";
		}
	}
	return text;
}

std::string every_text(const Every &every)
{
	const std::chrono::hh_mm_ss parts{every.interval};
	std::string text = "@every ";
	if (parts.hours().count() > 0)
		text += std::to_string(parts.hours().count()) + 'h';
	if (parts.minutes().count() > 0)
		text += std::to_string(parts.minutes().count()) + 'm';
	if (parts.seconds().count() > 0)
		text += std::to_string(parts.seconds().count()) + 's';
	return text;
}

struct Printer {
	std::string operator()(const Cron &cron) const { return cron_text(cron); }
	std::string operator()(const Every &every) const { return every_text(every); }
	std::string operator()(const At &at) const { return "@at " + to_string(at); }
};

} // namespace

std::string to_string(const At &at)
{
	const auto day = std::chrono::floor<std::chrono::days>(at.time);
	const std::chrono::year_month_day date{day};
	const std::chrono::hh_mm_ss time{at.time - day};
	char text[96];
	std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
				  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
				  static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
				  static_cast<int>(time.seconds().count()));
	std::string result = text;
	if (time.subseconds().count() != 0) {
		std::snprintf(text, sizeof text, ".%06d", static_cast<int>(time.subseconds().count()));
		result += text;
	}
	return at.utc ? result + 'Z' : result;
}

std::string to_string(const Expression &expression)
{
	return std::visit(Printer{}, expression);
}

bool is_fixed(const Cron::Elements &elements) noexcept
{
	return std::all_of(elements.begin(), elements.end(), [](const Element &element) {
		return element.kind == Element::Kind::range && element.first == element.last && element.step == 1;
	});
}

} // namespace pgbraid::core::job
