#include "flow/source/subjects.h"

#include "pg/encoding.h"
#include "pg/spi.h"

namespace pgbraid::flow {

std::vector<std::string> subjects_of(const std::string &publication, const core::SubjectTemplate &subject,
									 const std::string &database)
{
	std::vector<std::string> patterns;
	pg::spi::each("SELECT p.puballtables OR EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid) "
				  "  FROM pg_publication p WHERE pubname = $1",
				  {pg::spi::text(publication)}, [&](const pg::spi::Row &row) {
					  if (row.boolean(1))
						  patterns.push_back(
							  subject.pattern({.database = database, .schema = {}, .table = {}, .op = {}, .key = {}}));
				  });
	if (!patterns.empty())
		return patterns;
	pg::spi::each("SELECT schema_name, table_name FROM pgbraid.published_names($1) ORDER BY 1, 2",
				  {pg::spi::text(publication)}, [&](const pg::spi::Row &row) {
					  std::string schema = pg::to_utf8(row.text(1)), table = pg::to_utf8(row.text(2));
					  patterns.push_back(subject.pattern(
						  {.database = database, .schema = schema, .table = table, .op = {}, .key = {}}));
				  });
	return patterns;
}

} // namespace pgbraid::flow
