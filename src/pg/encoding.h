// Text outside of the database is UTF-8.
#pragma once
#include "pg/prelude.h"

#include <string>
#include <string_view>

namespace pgbraid::pg {

// Out of the database's encoding. In SQL_ASCII, which promises nothing, bytes stay as they are.
std::string to_utf8(std::string_view text);
std::string from_utf8(std::string_view text);

} // namespace pgbraid::pg
