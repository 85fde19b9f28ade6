#include "core/flow/json.h"

#include <algorithm>
#include <array>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace pgbraid::core {
namespace {

// What follows the backslash: 0 for a byte that needs none, 'u' for \u00XX.
constexpr std::array<char, 256> escapes = [] {
	std::array<char, 256> table{};
	for (std::size_t c = 0; c < 0x20; c++)
		table[c] = 'u';
	table['\b'] = 'b';
	table['\f'] = 'f';
	table['\n'] = 'n';
	table['\r'] = 'r';
	table['\t'] = 't';
	table['"'] = '"';
	table['\\'] = '\\';
	return table;
}();

constexpr std::size_t escaped_size = 6;			   // of one byte, at most
constexpr std::size_t chunk = 4096;				   // room for the worst case is asked for by so many bytes at a time
constexpr std::uint64_t each = 0x0101010101010101; // times a byte: that byte eight times
constexpr std::uint64_t highs = 0x80 * each;

std::uint64_t load8(const char *from)
{
	std::uint64_t word = 0;
	std::memcpy(&word, from, sizeof(word));
	return word;
}

constexpr std::uint64_t zeros(std::uint64_t word)
{
	return (word - each) & ~word & highs;
}

// Non-zero if any of the eight bytes needs an escape.
constexpr std::uint64_t specials(std::uint64_t word)
{
	return ((word - 0x20 * each) & ~word & highs) | zeros(word ^ ('"' * each)) | zeros(word ^ ('\\' * each));
}

struct Copy {
	char *to;
	const char *from;
};

// Copies up to the first byte that needs an escape. May write garbage after it, but never more than is left to read.
inline Copy copy_harmless(char *to, const char *from, const char *end)
{
#ifdef __SSE2__
	for (; end - from >= 16; to += 16, from += 16) {
		__m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
		__m128i control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
		__m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
		__m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
		_mm_storeu_si128(reinterpret_cast<__m128i *>(to), bytes);
		int mask = _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash)));
		if (mask != 0)
			return {to + __builtin_ctz(static_cast<unsigned>(mask)), from + __builtin_ctz(static_cast<unsigned>(mask))};
	}
#endif
	for (; end - from >= 8; to += 8, from += 8) {
		std::uint64_t word = load8(from);
		if (specials(word) != 0)
			break;
		std::memcpy(to, &word, sizeof(word));
	}
	while (from != end && escapes[static_cast<unsigned char>(*from)] == 0)
		*to++ = *from++;
	return {to, from};
}

char *put_escape(char *to, unsigned char byte)
{
	*to++ = '\\';
	*to++ = escapes[byte];
	if (escapes[byte] != 'u')
		return to;
	*to++ = '0';
	*to++ = '0';
	*to++ = static_cast<char>('0' + (byte >> 4));
	*to++ = "0123456789abcdef"[byte & 15];
	return to;
}

} // namespace

void append_json_string(Bytes &to, std::string_view text)
{
	char *at = to.reserve(escaped_size * std::min(text.size(), chunk) + 2);
	*at++ = '"';
	for (;;) {
		auto part = text.substr(0, chunk);
		Copy copy{at, part.data()};
		const char *end = part.data() + part.size();
		while ((copy = copy_harmless(copy.to, copy.from, end)).from != end)
			copy.to = put_escape(copy.to, static_cast<unsigned char>(*copy.from++));
		at = copy.to;
		text.remove_prefix(part.size());
		if (text.empty())
			break;
		to.commit(at);
		at = to.reserve(escaped_size * std::min(text.size(), chunk) + 1);
	}
	*at++ = '"';
	to.commit(at);
}

void append_json_verbatim(Bytes &to, std::string_view json)
{
	constexpr unsigned char blank = ' '; // the least byte that valid JSON has besides line breaks and tabs
	char *at = to.reserve(json.size());
	const char *from = json.data(), *end = from + json.size();
#ifdef __SSE2__
	for (; end - from >= 16; at += 16, from += 16) {
		__m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
		_mm_storeu_si128(reinterpret_cast<__m128i *>(at), _mm_max_epu8(bytes, _mm_set1_epi8(blank)));
	}
#endif
	for (; from != end; from++)
		*at++ = static_cast<char>(std::max(static_cast<unsigned char>(*from), blank));
	to.commit(at);
}

std::size_t utf8_length(std::string_view text)
{
	auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
	auto follows = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
	unsigned first = byte(0), second = byte(1);
	if (first < 0x80)
		return text.empty() ? 0 : 1;
	if (first < 0xc2 || first > 0xf4 || !follows(1))
		return 0;
	if (first < 0xe0)
		return 2;
	if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || !follows(2))
		return 0;
	if (first < 0xf0)
		return 3;
	if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f) || !follows(3))
		return 0;
	return 4;
}

namespace {

// Of a well-formed sequence.
char32_t code_point(std::string_view sequence)
{
	constexpr std::array<unsigned, 5> marks{0, 0, 0xc0, 0xe0, 0xf0};
	char32_t code = static_cast<unsigned char>(sequence[0]) - marks[sequence.size()];
	for (char c : sequence.substr(1))
		code = code << 6 | (static_cast<unsigned char>(c) & 0x3f);
	return code;
}

void append_unicode_escape(Bytes &to, char32_t unit)
{
	to.append("\\u");
	for (unsigned shift = 16; shift > 0; shift -= 4)
		to.append("0123456789abcdef"[unit >> (shift - 4) & 15]);
}

// The size of the well-formed front of `text`.
std::size_t well_formed(std::string_view text)
{
	std::size_t at = 0;
	while (at < text.size()) {
		if (text.size() - at >= 8 && (load8(text.data() + at) & highs) == 0) {
			at += 8;
			continue;
		}
		std::size_t length = utf8_length(text.substr(at));
		if (length == 0)
			break;
		at += length;
	}
	return at;
}

} // namespace

void append_json_string_in_ascii(Bytes &to, std::string_view utf8)
{
	std::size_t start = to.size();
	append_json_string(to, utf8);
	Bytes quoted;
	quoted.append(to.view(start));
	to.truncate(start);
	for (auto rest = quoted.view(); !rest.empty();) {
		std::size_t length = utf8_length(rest);
		char32_t code = length == 0 ? 0xfffd : length == 1 ? 0 : code_point(rest.substr(0, length));
		if (length == 1)
			to.append(rest.front());
		else if (code < 0x10000)
			append_unicode_escape(to, code);
		else
			append_unicode_escape(to, 0xd800 + ((code - 0x10000) >> 10)),
				append_unicode_escape(to, 0xdc00 + (code & 0x3ff));
		rest.remove_prefix(std::max(length, std::size_t{1}));
	}
}

std::string_view utf8_prefix(std::string_view text, std::size_t most)
{
	if (text.size() <= most)
		return text;
	while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80)
		most--;
	return text.substr(0, most);
}

void repair_utf8(Bytes &bytes, std::size_t from)
{
	std::size_t good = well_formed(bytes.view(from));
	if (good == bytes.size() - from)
		return;
	Bytes broken;
	broken.append(bytes.view(from + good));
	bytes.truncate(from + good);
	auto rest = broken.view();
	while (!rest.empty()) {
		good = well_formed(rest);
		bytes.append(rest.substr(0, good));
		rest.remove_prefix(good);
		if (rest.empty())
			return;
		bytes.append("\xEF\xBF\xBD");
		rest.remove_prefix(1);
	}
}

} // namespace pgbraid::core
