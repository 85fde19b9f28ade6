// What the parsers of schedules share: the words of a text, a cursor in one, and errors that say where.
#pragma once
#include "core/base/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::core::job {

// A piece of the text of a schedule; `whole` is all of it.
struct Word {
	std::string_view text, whole;
};

std::vector<Word> words_of(std::string_view whole);
std::vector<Word> split(Word word, char separator);

bool equal_ignoring_case(std::string_view text, std::string_view lower);

// Reads a word from its begin to its end.
class Cursor {
public:
	explicit Cursor(Word word) noexcept : rest_{word.text} {}

	bool at_end() const noexcept { return rest_.empty(); }
	char peek() const noexcept { return at_end() ? '\0' : rest_.front(); }
	bool take(char lower) noexcept; // a letter in either case
	// A number; a value too large for it is `too_large`.
	std::optional<int> take_number() noexcept;
	// One of the names, in either case: its index.
	template <std::size_t n>
	std::optional<int> take_name(const std::string_view (&names)[n]) noexcept
	{
		for (std::size_t i = 0; i < n; i++)
			if (take_text(names[i]))
				return static_cast<int>(i);
		return std::nullopt;
	}
	bool take_text(std::string_view lower) noexcept;
	std::string_view rest() const noexcept { return rest_; }

	static constexpr int too_large = 1'000'000'000;

private:
	std::string_view rest_;
};

// 22023: `Hour "25" at column 3 <complaint>.` The words count characters, from 1 on.
Error invalid(std::string_view what, Word word, std::string_view complaint, std::string hint = {});

} // namespace pgbraid::core::job
