#include "core/job/cron_parser.h"

namespace pgbraid::core::job {
namespace {

constexpr std::string_view month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
											"jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::string_view weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
constexpr std::string_view field_titles[] = {"Second", "Minute", "Hour", "Day of month", "Month", "Weekday"};
constexpr int most_weeks = 5; // of a month that have the same weekday

// Reads one element of the list that a field is.
class ElementParser {
public:
	ElementParser(Field field, Word word) noexcept : field_{field}, word_{word}, cursor_{word} {}

	Result<Element> parse()
	{
		auto element = parse_start();
		if (element && !cursor_.at_end())
			return fail("is not understood from \"" + std::string{cursor_.rest()} + "\" on");
		return element;
	}

private:
	using Kind = Element::Kind;

	Result<Element> parse_start()
	{
		if (cursor_.at_end())
			return fail("is empty");
		if (cursor_.take('*'))
			return parse_step({Kind::any});
		if (field_ == Field::day && cursor_.take('l'))
			return parse_from_end();
		// Also in its other spelling, L5.
		if (field_ == Field::weekday && cursor_.take('l'))
			return parse_last_weekday();
		auto first = parse_value();
		if (!first)
			return first.error();
		return parse_after(*first);
	}

	// What follows the first value.
	Result<Element> parse_after(int first)
	{
		if (field_ == Field::day && cursor_.take('w'))
			return Element{Kind::near_weekday, first};
		if (field_ == Field::weekday && cursor_.take('l'))
			return Element{Kind::nth, first % 7, first % 7, 1, -1};
		if (cursor_.peek() == '/')
			return parse_step({Kind::open, from_sunday(first)});
		int last = first;
		if (cursor_.take('-')) {
			auto value = parse_end_of_range();
			if (!value)
				return value.error();
			last = *value;
		}
		if (last == first)
			last = from_sunday(last);
		return parse_range({Kind::range, from_sunday(first), last});
	}

	// Sunday as the begin of a range, and alone, is 0; only at the end of a range it is 7 if that was written.
	int from_sunday(int value) const { return field_ == Field::weekday ? value % 7 : value; }

	Result<Element> parse_range(Element range)
	{
		if (field_ == Field::weekday && cursor_.take('#'))
			return parse_nth(range);
		auto stepped = parse_step(range);
		return stepped && range.first == range.last ? Result{range} : stepped;
	}

	// 29-L is 29-31: days that a month does not have never come.
	Result<int> parse_end_of_range()
	{
		if (field_ == Field::day && cursor_.take('l'))
			return range_of(field_).last;
		return parse_value();
	}

	Result<Element> parse_from_end()
	{
		Element element{Kind::from_end};
		if (cursor_.take('-')) {
			auto days = cursor_.take_number();
			if (!days || *days >= range_of(Field::day).last)
				return fail("needs a number from 0 to 30 after \"L-\"");
			element.first = *days;
		}
		if (cursor_.take('w'))
			element.kind = Kind::from_end_weekday;
		return element;
	}

	Result<Element> parse_last_weekday()
	{
		if (cursor_.at_end())
			return fail("needs the weekday that is the last one of the month", "Write 5L for the last Friday.");
		auto weekday = parse_value();
		if (!weekday)
			return weekday.error();
		return Element{Kind::nth, *weekday % 7, *weekday % 7, 1, -1};
	}

	Result<Element> parse_nth(const Element &range)
	{
		const bool from_end = cursor_.take('-');
		auto nth = cursor_.take_number();
		if (!nth || *nth < 1 || *nth > most_weeks)
			return fail("needs a number from 1 to 5, or from -5 to -1, after \"#\"");
		return Element{Kind::nth, range.first, range.last, 1, from_end ? -*nth : *nth};
	}

	Result<Element> parse_step(Element element)
	{
		if (!cursor_.take('/'))
			return element;
		auto step = cursor_.take_number();
		const int most = field_ == Field::weekday ? 7 : range_of(field_).last;
		if (!step || *step < 1 || *step > most)
			return fail("needs a number from 1 to " + std::to_string(most) + " after \"/\"", step_hint(step));
		element.step = *step;
		return element;
	}

	std::string step_hint(std::optional<int> step) const
	{
		if (!step || *step == 0 || field_ > Field::hour)
			return {};
		return "Write \"@every\" and a duration, \"@every 90m\", for what does not fit into the field.";
	}

	Result<int> parse_value()
	{
		const FieldRange &range = range_of(field_);
		if (field_ == Field::month)
			if (auto index = cursor_.take_name(month_names))
				return *index + 1;
		if (field_ == Field::weekday)
			if (auto index = cursor_.take_name(weekday_names))
				return *index;
		const int last = field_ == Field::weekday ? 7 : range.last;
		auto number = cursor_.take_number();
		if (!number)
			return fail("needs " + values(last));
		if (*number < range.first || *number > last)
			return fail("is out of range: it needs " + values(last));
		return *number;
	}

	std::string values(int last) const
	{
		std::string text = "a number from " + std::to_string(range_of(field_).first) + " to " + std::to_string(last);
		if (field_ == Field::month)
			text += " or a name, JAN to DEC";
		if (field_ == Field::weekday)
			text += " or a name, SUN to SAT";
		return text;
	}

	Error fail(std::string_view complaint, std::string hint = {}) const
	{
		return invalid(field_titles[static_cast<std::size_t>(field_)], word_, complaint, std::move(hint));
	}

	Field field_;
	Word word_;
	Cursor cursor_;
};

Result<Cron::Elements> parse_field(Field field, Word word)
{
	Cron::Elements elements;
	if (word.text == "?") {
		elements.push_back({});
		return elements;
	}
	for (Word part : split(word, ',')) {
		auto element = ElementParser{field, part}.parse();
		if (!element)
			return element.error();
		elements.push_back(*element);
	}
	return elements;
}

Error wrong_number_of_fields(const std::vector<Word> &words)
{
	const std::string_view whole = words.front().whole;
	return {"22023", "invalid schedule \"" + std::string{whole} + '"',
			"It has " + std::to_string(words.size()) + " fields; a cron expression has 5, or 6 with seconds.",
			"Write \"minute hour day-of-month month weekday\", with a field for the second before them if needed."};
}

} // namespace

Result<Expression> parse_cron(const std::vector<Word> &words)
{
	Cron cron;
	if (words.size() != 5 && words.size() != 6)
		return wrong_number_of_fields(words);
	cron.has_seconds = words.size() == 6;
	cron[Field::second] = {{Element::Kind::range, 0, 0}};
	const std::size_t first = cron.fields.size() - words.size();
	for (std::size_t i = 0; i < words.size(); i++) {
		auto elements = parse_field(static_cast<Field>(first + i), words[i]);
		if (!elements)
			return elements.error();
		cron.fields[first + i] = std::move(*elements);
	}
	return Expression{std::move(cron)};
}

} // namespace pgbraid::core::job
