// Reads what little is needed of the server's JSON answers, as views into their text: no tree is built, and members
// that are not asked for are only skipped. Text that is not JSON yields nothing, never an error.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::nats {

// The text of a member's value in the text of an object; empty when there is none.
std::string_view json_member(std::string_view object, std::string_view name);

std::uint64_t json_number(std::string_view value); // 0 for anything else
std::string json_string(std::string_view value);   // unescaped; empty for anything else
std::vector<std::string> json_strings(std::string_view array);

void append_json(std::string &to, std::string_view text); // in quotes
std::string json_array(const std::vector<std::string> &texts);

} // namespace pgbraid::nats
