#include "core/job/expression_parser.h"

#include "core/job/cron_parser.h"
#include "core/job/words.h"

#include <algorithm>

namespace pgbraid::core::job {
namespace {

struct Macro {
	std::string_view name, cron;
};
constexpr Macro macros[] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},	  {"@monthly", "0 0 1 * *"},
							{"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},		  {"@midnight", "0 0 * * *"},
							{"@hourly", "0 * * * *"}, {"@every_minute", "* * * * *"}, {"@every_second", "* * * * * *"}};

struct Unit {
	std::string_view name;
	int seconds;
};
constexpr Unit units[] = {{"s", 1},		   {"second", 1}, {"seconds", 1}, {"m", 60},	  {"minute", 60},
						  {"minutes", 60}, {"h", 3600},	  {"hour", 3600}, {"hours", 3600}};
constexpr std::chrono::hours longest_interval{87840}; // ten years
constexpr std::chrono::hours largest_offset{15};	  // from UTC

Error fault(std::string_view whole, std::string detail, std::string hint)
{
	return {"22023", "invalid schedule \"" + std::string{whole} + '"', std::move(detail), std::move(hint)};
}

std::optional<int> unit_seconds(std::string_view name)
{
	for (const Unit &unit : units)
		if (equal_ignoring_case(name, unit.name))
			return unit.seconds;
	return std::nullopt;
}

bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::size_t letters(std::string_view text)
{
	return static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_letter) - text.begin());
}

std::string_view rest_after(Word word)
{
	return word.whole.substr(static_cast<std::size_t>(word.text.data() + word.text.size() - word.whole.data()));
}

std::string_view trimmed(std::string_view text)
{
	const auto words = words_of(text);
	if (words.empty())
		return {};
	const char *end = words.back().text.data() + words.back().text.size();
	return {words.front().text.data(), static_cast<std::size_t>(end - words.front().text.data())};
}

// "1h30m", "90 seconds": the part of the schedule that says how long.
Result<Expression> parse_interval(Word duration)
{
	const std::string hint = "Write whole hours, minutes and seconds, for example \"@every 1h30m\" or \"90 seconds\".";
	std::chrono::seconds interval{0};
	for (std::string_view rest = duration.text; !rest.empty(); rest = trimmed(rest)) {
		Cursor cursor{{rest, duration.whole}};
		auto number = cursor.take_number();
		rest = trimmed(cursor.rest());
		auto unit = unit_seconds(rest.substr(0, letters(rest)));
		if (!number || !unit)
			return invalid("Interval", duration, "is not a duration", hint);
		interval += std::chrono::seconds{std::int64_t{*number} * *unit};
		rest.remove_prefix(letters(rest));
	}
	if (interval < std::chrono::seconds{1} || interval > longest_interval)
		return invalid("Interval", duration, "is not between one second and ten years", hint);
	return Expression{Every{interval}};
}

// Reads "2026-12-01T10:00:00.5+01:00".
class MomentParser {
public:
	explicit MomentParser(Word word) noexcept : word_{word}, cursor_{word} {}

	Result<Expression> parse()
	{
		At at;
		if (!take_date(at) || !take_time(at) || !take_offset(at) || !cursor_.at_end())
			return fail("is not a date and time");
		const std::chrono::year_month_day date{std::chrono::floor<std::chrono::days>(at.time)};
		if (date.year() < std::chrono::year{1} || date.year() > std::chrono::year{9999})
			return fail("is not in the years 1 to 9999");
		return Expression{at};
	}

private:
	std::optional<int> take_digits(std::size_t count, int most)
	{
		const std::size_t before = cursor_.rest().size();
		auto number = cursor_.take_number();
		if (!number || *number > most || before - cursor_.rest().size() != count)
			return std::nullopt;
		return number;
	}

	bool take_date(At &at)
	{
		auto year = take_digits(4, 9999);
		auto month = year && cursor_.take('-') ? take_digits(2, 12) : std::nullopt;
		auto day = month && cursor_.take('-') ? take_digits(2, 31) : std::nullopt;
		if (!day)
			return false;
		const auto date = std::chrono::year{*year} / *month / *day;
		at.time = std::chrono::local_days{date};
		return date.ok();
	}

	bool take_time(At &at)
	{
		if (!cursor_.take('t'))
			while (cursor_.take(' '))
				continue;
		auto hour = take_digits(2, 23);
		auto minute = hour && cursor_.take(':') ? take_digits(2, 59) : std::nullopt;
		if (!minute)
			return false;
		at.time += std::chrono::hours{*hour} + std::chrono::minutes{*minute};
		if (!cursor_.take(':'))
			return true;
		auto second = take_digits(2, 59);
		at.time += std::chrono::seconds{second.value_or(0)};
		return second && take_fraction(at);
	}

	bool take_fraction(At &at)
	{
		if (!cursor_.take('.'))
			return true;
		const std::size_t before = cursor_.rest().size();
		auto fraction = cursor_.take_number();
		const std::size_t digits = before - cursor_.rest().size();
		if (!fraction || digits > 6)
			return false;
		for (std::size_t i = digits; i < 6; i++)
			*fraction *= 10;
		at.time += std::chrono::microseconds{*fraction};
		return true;
	}

	bool take_offset(At &at)
	{
		while (cursor_.take(' '))
			continue;
		at.utc = cursor_.take('z') || cursor_.take_text("utc");
		const bool west = !at.utc && cursor_.take('-');
		if (at.utc || (!west && !cursor_.take('+')))
			return true;
		auto hours = take_digits(2, 15);
		std::chrono::seconds offset = std::chrono::hours{hours.value_or(0)};
		for (int unit : {60, 1})
			if (hours && cursor_.take(':')) {
				hours = take_digits(2, 59);
				offset += std::chrono::seconds{hours.value_or(0) * unit};
			}
		at.time -= west ? -offset : offset;
		at.utc = true;
		return hours && offset <= largest_offset;
	}

	Error fail(std::string_view complaint) const
	{
		return invalid("Time", word_, complaint,
					   "Write \"@at 2026-12-01 10:00:00\", with an offset from UTC, +01 or Z, unless the time zone of "
					   "the job is meant.");
	}

	Word word_;
	Cursor cursor_;
};

Result<Expression> parse_macro(const std::vector<Word> &words)
{
	const Word name = words.front();
	const std::string_view rest = trimmed(rest_after(name));
	if (equal_ignoring_case(name.text, "@every") && !rest.empty())
		return parse_interval({rest, name.whole});
	if (equal_ignoring_case(name.text, "@at") && !rest.empty())
		return MomentParser{{rest, name.whole}}.parse();
	for (const Macro &macro : macros)
		if (words.size() == 1 && equal_ignoring_case(name.text, macro.name))
			return parse_cron(words_of(macro.cron));
	return invalid("Macro", name, words.size() == 1 ? "is not known" : "is not one that more can follow",
				   "There are @yearly, @monthly, @weekly, @daily, @hourly, @every_minute, @every_second, "
				   "@every <duration> and @at <time>.");
}

bool is_interval(const std::vector<Word> &words)
{
	return words.size() >= 2 && Cursor{words[0]}.take_number() && unit_seconds(words[1].text);
}

} // namespace

Result<Expression> parse_expression(std::string_view text)
{
	if (text.size() > longest_expression)
		return Error{"22023", "schedule is longer than " + std::to_string(longest_expression) + " bytes"};
	const auto words = words_of(text);
	if (words.empty())
		return fault(text, "It is empty.",
					 "Write a cron expression, for example \"0 3 * * *\" for 3 o'clock each day.");
	if (words.front().text.front() == '@')
		return parse_macro(words);
	if (is_interval(words))
		return parse_interval({trimmed(text), text});
	return parse_cron(words);
}

} // namespace pgbraid::core::job
