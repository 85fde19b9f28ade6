// Names of branches and snapshots, which are free text, and of the databases that keep them.
#pragma once
#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgbraid::core::branch {

enum class Kind : std::uint8_t { branch, snapshot, spare, trash };
std::string_view name_of(Kind kind) noexcept;
std::optional<Kind> kind_named(std::string_view name) noexcept; // the reverse

constexpr std::size_t longest_name = 200;		  // bytes
constexpr std::size_t longest_database_name = 63; // bytes: NAMEDATALEN - 1

// 42602 with a hint, if it is empty, too long, or has control characters or spaces at an end.
Result<std::string> checked_name(std::string name);

// The database of a branch that is not checked out: `<family>@<name>`; of a snapshot `<family>@<name>@snapshot`, and so
// on. The name of a database ends up in connection strings and shells, so that what is not a letter or digit of ASCII
// or one of "_.-" becomes '_'. What that or the limit of 63 bytes changes ends in '~' and 16 hex digits of an FNV-1a
// hash of family, kind and name, which no unchanged name can have, since '~' does not pass: so that `a/b` and `a_b` are
// two databases. `number` tells those apart that share all else: spares, and what is in the trash.
std::string database_name(std::string_view family, Kind kind, std::string_view name, std::uint32_t number = 0);

} // namespace pgbraid::core::branch
