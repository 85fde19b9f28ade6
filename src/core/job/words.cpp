#include "core/job/words.h"

#include <algorithm>

namespace pgbraid::core::job {
namespace {

constexpr std::string_view blanks = " \t\r\n\v\f";

char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

// In characters of UTF-8.
std::size_t column_of(Word word)
{
	const char *end = word.text.data();
	return 1 + static_cast<std::size_t>(std::count_if(
				   word.whole.data(), end, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

} // namespace

std::vector<Word> words_of(std::string_view whole)
{
	std::vector<Word> words;
	for (std::size_t at = whole.find_first_not_of(blanks); at != whole.npos;) {
		const std::size_t end = std::min(whole.find_first_of(blanks, at), whole.size());
		words.push_back({whole.substr(at, end - at), whole});
		at = whole.find_first_not_of(blanks, end);
	}
	return words;
}

std::vector<Word> split(Word word, char separator)
{
	std::vector<Word> parts;
	for (std::string_view rest = word.text;;) {
		const std::size_t end = rest.find(separator);
		parts.push_back({rest.substr(0, end), word.whole});
		if (end == rest.npos)
			return parts;
		rest.remove_prefix(end + 1);
	}
}

bool equal_ignoring_case(std::string_view text, std::string_view lower_text)
{
	return std::equal(text.begin(), text.end(), lower_text.begin(), lower_text.end(),
					  [](char a, char b) { return lower(a) == b; });
}

bool Cursor::take(char c) noexcept
{
	if (at_end() || lower(peek()) != c)
		return false;
	rest_.remove_prefix(1);
	return true;
}

bool Cursor::take_text(std::string_view text) noexcept
{
	if (!equal_ignoring_case(rest_.substr(0, text.size()), text))
		return false;
	rest_.remove_prefix(text.size());
	return true;
}

std::optional<int> Cursor::take_number() noexcept
{
	if (!is_digit(peek()))
		return std::nullopt;
	int number = 0;
	for (; is_digit(peek()); rest_.remove_prefix(1))
		number = number >= too_large / 10 ? too_large : number * 10 + (peek() - '0');
	return number;
}

Error invalid(std::string_view what, Word word, std::string_view complaint, std::string hint)
{
	Error error{"22023", "invalid schedule \"" + std::string{word.whole} + '"', std::string{what}, std::move(hint)};
	error.detail += " \"" + std::string{word.text} + "\" at column " + std::to_string(column_of(word)) + ' ';
	error.detail += std::string{complaint} + '.';
	return error;
}

} // namespace pgbraid::core::job
