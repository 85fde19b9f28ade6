#include "core/flow/json.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace pgbraid::core {
namespace {

// A JSON number, taken apart.
struct Number {
	bool negative, scientific;
	std::string_view whole, fraction;
	std::int64_t exponent;
};

constexpr std::int64_t most_exponent = 131072; // numeric has no more digits before the point

bool take(std::string_view &text, char c)
{
	if (text.empty() || text.front() != c)
		return false;
	text.remove_prefix(1);
	return true;
}

std::string_view take_digits(std::string_view &text)
{
	std::size_t size = 0;
	while (size < text.size() && text[size] >= '0' && text[size] <= '9')
		size++;
	auto digits = text.substr(0, size);
	text.remove_prefix(size);
	return digits;
}

std::optional<std::int64_t> take_exponent(std::string_view &text)
{
	bool negative = take(text, '-');
	if (!negative)
		take(text, '+');
	auto digits = take_digits(text);
	std::int64_t value = 0;
	auto failure = std::from_chars(digits.data(), digits.data() + digits.size(), value).ec;
	if (failure != std::errc{} || value > most_exponent)
		return std::nullopt;
	return negative ? -value : value;
}

std::optional<Number> parse_number(std::string_view text)
{
	Number number{};
	number.negative = take(text, '-');
	number.whole = take_digits(text);
	if (number.whole.empty() || (number.whole.size() > 1 && number.whole.front() == '0'))
		return std::nullopt;
	if (take(text, '.') && (number.fraction = take_digits(text)).empty())
		return std::nullopt;
	if (take(text, 'e') || take(text, 'E')) {
		auto exponent = take_exponent(text);
		if (!exponent)
			return std::nullopt;
		number.scientific = true;
		number.exponent = *exponent;
	}
	if (!text.empty())
		return std::nullopt;
	return number;
}

bool is_zero(const Number &number)
{
	auto only_zeros = [](std::string_view digits) { return digits.find_first_not_of('0') == std::string_view::npos; };
	return only_zeros(number.whole) && only_zeros(number.fraction);
}

// The digits of a number in scientific form around the point where it belongs: as numeric_in does it, which also lets
// the exponent change the scale.
void append_plain(Bytes &to, const Number &number)
{
	auto fraction_size = static_cast<std::int64_t>(number.fraction.size());
	std::int64_t point = static_cast<std::int64_t>(number.whole.size()) + number.exponent;
	std::int64_t scale = std::max<std::int64_t>(fraction_size - number.exponent, 0);
	// All digits, with zeros before them to the left of the point and after them to its right, if they do not reach it.
	auto before = static_cast<std::size_t>(std::max<std::int64_t>(1 - point, 0));
	auto after = static_cast<std::size_t>(std::max<std::int64_t>(number.exponent - fraction_size, 0));
	char *at = to.reserve(before + number.whole.size() + number.fraction.size() + after + 2);
	if (number.negative && !is_zero(number))
		*at++ = '-';
	char *digits = at;
	std::memset(at, '0', before);
	at += before;
	at += number.whole.copy(at, number.whole.size());
	at += number.fraction.copy(at, number.fraction.size());
	std::memset(at, '0', after);
	at += after;

	char *units = at - scale - 1;
	char *leading = std::find_if(digits, units, [](char c) { return c != '0'; });
	std::memmove(digits, leading, static_cast<std::size_t>(at - leading));
	at -= leading - digits;
	if (scale > 0) {
		char *decimals = at - scale;
		std::memmove(decimals + 1, decimals, static_cast<std::size_t>(scale));
		*decimals = '.';
		at++;
	}
	to.commit(at);
}

struct Date {
	std::int64_t year;
	unsigned month, day;
};

// Days since 2000-01-01, in the proleptic Gregorian calendar. Counted from a first of March, so that the leap day is
// the last of its year, in eras of 400 years.
Date date_of(std::int64_t days)
{
	constexpr std::int64_t from_year_0 = 730425; // days from 0000-03-01 to 2000-01-01
	constexpr std::int64_t era_days = 146097;
	days += from_year_0;
	std::int64_t era = (days >= 0 ? days : days - (era_days - 1)) / era_days;
	auto day = static_cast<unsigned>(days - era * era_days);
	unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * year + year / 4 - year / 100;
	unsigned march_month = (5 * day + 2) / 153;
	day -= (153 * march_month + 2) / 5;
	unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;
	return {era * 400 + year + (month <= 2 ? 1 : 0), month, day + 1};
}

char *put_padded(char *to, std::uint64_t value, int digits)
{
	for (int i = digits - 1; i >= 0; i--, value /= 10)
		to[i] = static_cast<char>('0' + value % 10);
	return to + digits;
}

char *put_year(char *to, std::int64_t year)
{
	if (year < 0)
		*to++ = '-';
	auto value = static_cast<std::uint64_t>(year < 0 ? -year : year);
	return value < 10000 ? put_padded(to, value, 4) : std::to_chars(to, to + 7, value).ptr;
}

} // namespace

void append_json_integer(Bytes &to, std::int64_t value)
{
	constexpr std::size_t most = 20;
	char *at = to.reserve(most);
	to.commit(std::to_chars(at, at + most, value).ptr);
}

void append_json_number(Bytes &to, std::string_view text)
{
	auto number = parse_number(text);
	if (!number)
		append_json_string(to, text);
	else if (number->scientific)
		append_plain(to, *number);
	else
		to.append(number->negative && is_zero(*number) ? text.substr(1) : text);
}

void append_timestamp(Bytes &to, std::int64_t microseconds)
{
	constexpr std::int64_t day_size = 86'400'000'000;
	std::int64_t days = microseconds / day_size, rest = microseconds % day_size;
	if (rest < 0) {
		days--;
		rest += day_size;
	}
	Date date = date_of(days);
	auto time = static_cast<std::uint64_t>(rest);
	char *at = put_year(to.reserve(32), date.year);
	auto put = [&at](char before, std::uint64_t value, int digits) {
		*at = before;
		at = put_padded(at + 1, value, digits);
	};
	put('-', date.month, 2);
	put('-', date.day, 2);
	put('T', time / 3'600'000'000, 2);
	put(':', time / 60'000'000 % 60, 2);
	put(':', time / 1'000'000 % 60, 2);
	put('.', time % 1'000'000, 6);
	*at++ = 'Z';
	to.commit(at);
}

namespace {

constexpr std::int64_t second_size = 1'000'000, day_seconds = 86'400;
constexpr std::int64_t first_day = -730'119, last_day = 2'921'939; // 0001-01-01 and 9999-12-31, since 2000-01-01

char *put_date(char *to, std::int64_t days)
{
	Date date = date_of(days);
	to = put_padded(to, static_cast<std::uint64_t>(date.year), 4);
	*to++ = '-';
	to = put_padded(to, date.month, 2);
	*to++ = '-';
	return put_padded(to, date.day, 2);
}

char *put_fraction(char *to, std::uint64_t microseconds)
{
	if (microseconds == 0)
		return to;
	*to++ = '.';
	int digits = 6;
	for (; microseconds % 10 == 0; microseconds /= 10)
		digits--;
	return put_padded(to, microseconds, digits);
}

} // namespace

bool append_iso_date(Bytes &to, std::int64_t days)
{
	if (days < first_day || days > last_day)
		return false;
	to.commit(put_date(to.reserve(16), days));
	return true;
}

bool append_iso_timestamp(Bytes &to, std::int64_t microseconds)
{
	std::int64_t seconds = microseconds / second_size, fraction = microseconds % second_size;
	if (fraction < 0) {
		seconds--;
		fraction += second_size;
	}
	std::int64_t days = seconds / day_seconds, rest = seconds % day_seconds;
	if (rest < 0) {
		days--;
		rest += day_seconds;
	}
	if (days < first_day || days > last_day)
		return false;
	auto time = static_cast<std::uint64_t>(rest);
	char *at = put_date(to.reserve(32), days);
	*at++ = 'T';
	at = put_padded(at, time / 3600, 2);
	*at++ = ':';
	at = put_padded(at, time / 60 % 60, 2);
	*at++ = ':';
	at = put_padded(at, time % 60, 2);
	to.commit(put_fraction(at, static_cast<std::uint64_t>(fraction)));
	return true;
}

} // namespace pgbraid::core
