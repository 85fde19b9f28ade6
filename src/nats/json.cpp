#include "nats/json.h"

#include "core/base/bytes.h"
#include "core/flow/json.h"

#include <charconv>

namespace pgbraid::nats {
namespace {

// Walks over JSON text. At the end, or at something that is not JSON, everything it returns is empty.
class Cursor {
public:
	explicit Cursor(std::string_view text) : rest_(text) {}

	// Takes the next byte if it is this one, after white space.
	bool take(char byte)
	{
		skip_blanks();
		if (rest_.empty() || rest_.front() != byte)
			return false;
		rest_.remove_prefix(1);
		return true;
	}

	// The text of one whole value.
	std::string_view value()
	{
		skip_blanks();
		std::size_t size = 0, depth = 0;
		do {
			if (size >= rest_.size())
				return {};
			char byte = rest_[size];
			if (byte == '"') {
				size = end_of_string(size);
			} else if (byte == '{' || byte == '[') {
				depth++;
				size++;
			} else if (byte == '}' || byte == ']') {
				if (depth == 0)
					return {};
				depth--;
				size++;
			} else {
				size = depth == 0 ? end_of_scalar(size) : size + 1;
			}
		} while (depth > 0);
		auto value = rest_.substr(0, size);
		rest_.remove_prefix(value.size());
		return value;
	}

private:
	void skip_blanks()
	{
		auto blanks = rest_.find_first_not_of(" \t\r\n");
		rest_.remove_prefix(blanks == std::string_view::npos ? rest_.size() : blanks);
	}
	std::size_t end_of_string(std::size_t at) const
	{
		for (at++; at < rest_.size() && rest_[at] != '"'; at++)
			at += rest_[at] == '\\';
		return at + 1;
	}
	std::size_t end_of_scalar(std::size_t at) const
	{
		auto end = rest_.find_first_of(",]} \t\r\n", at);
		return end == std::string_view::npos ? rest_.size() : end;
	}

	std::string_view rest_;
};

void append_utf8(std::string &to, std::uint32_t code)
{
	if (code < 0x80) {
		to += static_cast<char>(code);
	} else if (code < 0x800) {
		to += static_cast<char>(0xc0 | code >> 6);
		to += static_cast<char>(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		to += static_cast<char>(0xe0 | code >> 12);
		to += static_cast<char>(0x80 | (code >> 6 & 0x3f));
		to += static_cast<char>(0x80 | (code & 0x3f));
	} else {
		to += static_cast<char>(0xf0 | code >> 18);
		to += static_cast<char>(0x80 | (code >> 12 & 0x3f));
		to += static_cast<char>(0x80 | (code >> 6 & 0x3f));
		to += static_cast<char>(0x80 | (code & 0x3f));
	}
}

// The four hexadecimal digits of \uXXXX, of which `at` is the 'u'.
std::uint32_t code_unit(std::string_view text, std::size_t at)
{
	std::uint32_t code = 0;
	if (at < text.size() && text[at] == 'u' && at + 5 <= text.size())
		std::from_chars(text.data() + at + 1, text.data() + at + 5, code, 16);
	return code;
}

// Appends what the escape at text[at] (the byte after the backslash) stands for; returns its last byte's place.
std::size_t append_escaped(std::string &to, std::string_view text, std::size_t at)
{
	constexpr std::string_view letters = "bfnrt", meanings = "\b\f\n\r\t";
	if (auto letter = letters.find(text[at]); letter != std::string_view::npos) {
		to += meanings[letter];
		return at;
	}
	if (text[at] != 'u') {
		to += text[at];
		return at;
	}
	std::uint32_t code = code_unit(text, at);
	at += 4;
	if (code >= 0xd800 && code < 0xdc00 && at + 2 < text.size() && text[at + 1] == '\\') {
		if (auto low = code_unit(text, at + 2); low >= 0xdc00 && low < 0xe000) {
			code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
			at += 6;
		}
	}
	append_utf8(to, code);
	return at;
}

} // namespace

std::string_view json_member(std::string_view object, std::string_view name)
{
	Cursor cursor(object);
	if (!cursor.take('{'))
		return {};
	do {
		auto key = cursor.value();
		if (!cursor.take(':'))
			return {};
		auto value = cursor.value();
		if (key.size() == name.size() + 2 && key.substr(1, name.size()) == name)
			return value;
	} while (cursor.take(','));
	return {};
}

std::uint64_t json_number(std::string_view value)
{
	std::uint64_t number = 0;
	std::from_chars(value.data(), value.data() + value.size(), number);
	return number;
}

std::string json_string(std::string_view value)
{
	std::string text;
	if (value.size() < 2 || value.front() != '"' || value.back() != '"')
		return text;
	value = value.substr(1, value.size() - 2);
	for (std::size_t i = 0; i < value.size(); i++) {
		if (value[i] == '\\' && i + 1 < value.size())
			i = append_escaped(text, value, i + 1);
		else
			text += value[i];
	}
	return text;
}

std::vector<std::string> json_strings(std::string_view array)
{
	std::vector<std::string> texts;
	Cursor cursor(array);
	if (!cursor.take('['))
		return texts;
	do {
		if (auto value = cursor.value(); !value.empty())
			texts.push_back(json_string(value));
	} while (cursor.take(','));
	return texts;
}

void append_json(std::string &to, std::string_view text)
{
	core::Bytes bytes;
	core::append_json_string(bytes, text);
	to += bytes.view();
}

std::string json_array(const std::vector<std::string> &texts)
{
	std::string array = "[";
	for (auto &text : texts) {
		if (array.size() > 1)
			array += ',';
		append_json(array, text);
	}
	return array + "]";
}

} // namespace pgbraid::nats
