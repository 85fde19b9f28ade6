#include "pg/encoding.h"

#include "pg/boundary.h"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace pgbraid::pg {

std::string to_utf8(std::string_view text)
{
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return std::string(text);
	const char *converted = call([&] { return pg_server_to_any(text.data(), (int) text.size(), PG_UTF8); });
	return converted == text.data() ? std::string(text) : converted;
}

std::string from_utf8(std::string_view text)
{
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return std::string(text);
	const char *converted = call([&] { return pg_any_to_server(text.data(), (int) text.size(), PG_UTF8); });
	return converted == text.data() ? std::string(text) : converted;
}

} // namespace pgbraid::pg
