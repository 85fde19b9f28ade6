// Whatever goes in, one line of valid JSON comes out (of a number: no more than its value).
#include "core/flow/json.h"

#include <cstdlib>
#include <string>

using namespace pgbraid::core;

namespace {

void require(bool holds)
{
	if (!holds)
		std::abort();
}

// Undoes the escapes of a JSON string; aborts on what is none.
std::string unescaped(std::string_view json)
{
	require(json.size() >= 2 && json.front() == '"' && json.back() == '"');
	json = json.substr(1, json.size() - 2);
	std::string text;
	while (!json.empty()) {
		char c = json.front();
		require(static_cast<unsigned char>(c) >= 0x20 && c != '"');
		json.remove_prefix(1);
		if (c != '\\') {
			text += c;
			continue;
		}
		require(!json.empty());
		constexpr std::string_view names = "\"\\bfnrt", bytes = "\"\\\b\f\n\r\t";
		if (auto at = names.find(json.front()); at != names.npos) {
			text += bytes[at];
			json.remove_prefix(1);
			continue;
		}
		require(json.size() >= 5 && json.substr(0, 3) == "u00");
		text += static_cast<char>(std::stoi(std::string{json.substr(3, 2)}, nullptr, 16));
		json.remove_prefix(5);
	}
	return text;
}

void check_number(std::string_view text)
{
	Bytes number;
	append_json_number(number, text);
	if (number.view().front() == '"') {
		require(unescaped(number.view()) == text);
		return;
	}
	require(number.view().find_first_not_of("-.0123456789") == std::string_view::npos);
	std::string before{text}, after{number.view()};
	require(std::strtod(before.c_str(), nullptr) == std::strtod(after.c_str(), nullptr));
	Bytes again;
	append_json_number(again, number.view());
	require(again.view() == number.view());
}

void check_repair(std::string_view text)
{
	Bytes bytes;
	bytes.append(text);
	repair_utf8(bytes, 0);
	std::string once = bytes.empty() ? "" : std::string{bytes.view()};
	for (std::string_view rest = once; !rest.empty(); rest.remove_prefix(utf8_length(rest)))
		require(utf8_length(rest) > 0);
	repair_utf8(bytes, 0);
	require(bytes.size() == once.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	std::string_view text{reinterpret_cast<const char *>(data), size};
	Bytes bytes;
	append_json_string(bytes, text);
	require(unescaped(bytes.view()) == text);
	bytes.clear();
	append_json_verbatim(bytes, text);
	require(bytes.size() == size);
	for (std::size_t i = 0; i < size; i++)
		require(bytes.view()[i] == (static_cast<unsigned char>(text[i]) < ' ' ? ' ' : text[i]));
	check_number(text);
	check_repair(text);
	return 0;
}
