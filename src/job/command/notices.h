// What a command says on its way: notices and warnings, up to a bound.
#pragma once
#include <cstddef>
#include <string>

namespace pgbraid::job {

constexpr size_t longest_text = 64 * 1024; // of an output, an error or a log

// From now on they are kept here, and not in the server's log.
void start_listening();
// And from now on no more. What was said, a line each, with the level before it.
std::string stop_listening();

// The bytes before the bound that are whole characters.
std::string clip(std::string text);

} // namespace pgbraid::job
