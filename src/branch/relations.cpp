#include "branch/relations.h"

#include "pg/spi.h"

extern "C" {
#include "access/twophase.h"
#include "catalog/pg_class_d.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
}

namespace pgbraid::branch {

namespace {

using namespace pg::spi;

constexpr char select_stored[] =
	"SELECT oid, reltablespace, relfilenode, relpersistence = 'p', relkind = 'S', relkind IN ('r', 't', 'm', 'S') "
	"  FROM pg_catalog.pg_class "
	" WHERE relkind IN ('r', 't', 'm', 'S', 'i') AND relpersistence <> 't' AND NOT relisshared";

// What applies a subscription writes its tables without a query that the gate sees.
constexpr char select_tables[] =
	"WITH applied AS MATERIALIZED ("
	"    SELECT coalesce(p.relid, s.srrelid) AS oid FROM pg_catalog.pg_subscription_rel s "
	"      LEFT JOIN LATERAL pg_catalog.pg_partition_tree(s.srrelid) p ON true) "
	"SELECT c.oid, EXISTS (SELECT FROM applied a WHERE a.oid = c.oid) FROM pg_catalog.pg_class c "
	" WHERE c.relkind IN ('r', 't', 'm', 'p', 'f') AND c.relpersistence <> 't' AND NOT c.relisshared ORDER BY c.oid";

// Much writes to catalogs besides DDL: the end of a session with temporary tables, functions for large objects,
// ANALYZE.
constexpr char select_catalogs[] = "SELECT c.oid, true FROM pg_catalog.pg_class c "
								   " WHERE c.relkind IN ('r', 't') AND c.relnamespace IN ('pg_catalog'::regnamespace, "
								   "'pg_toast'::regnamespace) AND c.oid < 16384 AND NOT c.relisshared ORDER BY c.oid";

Stored stored_from(const Row &row)
{
	Oid oid = row.oid(1), tablespace = row.oid(2), file = row.oid(3);
	if (!OidIsValid(file))
		file = pg::call([&] { return pg::file_of_mapped(oid); });
	return {.oid = oid,
			.files = pg::locator(OidIsValid(tablespace) ? tablespace : MyDatabaseTableSpace, MyDatabaseId, file),
			.is_permanent = row.boolean(4),
			.is_sequence = row.boolean(5),
			.is_standard = row.boolean(6)};
}

} // namespace

std::vector<Stored> read_relations()
{
	std::vector<Stored> found;
	each(select_stored, {}, [&](const Row &row) { found.push_back(stored_from(row)); });
	return found;
}

bool TableLocks::take(const char *query)
{
	blocked_ = InvalidOid;
	each(query, {}, [&](const Row &row) {
		Lock lock{row.oid(1), row.boolean(2) ? ShareLock : ShareUpdateExclusiveLock};
		// In the order of their oids, and not past one that somebody has: of two who do this, one gets on.
		if (OidIsValid(blocked_) || held_.count(lock) != 0)
			return;
		if (pg::call([&] { return ConditionalLockRelationOid(lock.first, lock.second); }))
			held_.insert(lock);
		else
			blocked_ = lock.first;
	});
	return !OidIsValid(blocked_);
}

bool TableLocks::take_tables()
{
	return take(select_tables);
}

bool TableLocks::take_catalogs()
{
	return take(select_catalogs);
}

void check_lock_table()
{
	int64 tables = 0;
	each(
		"SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 't', 'm', 'p', 'f') AND relpersistence <> 't'",
		{}, [&](const Row &row) { tables = row.bigint(1); });
	int64 room = (int64) max_locks_per_xact * (MaxBackends + max_prepared_xacts);
	if (tables * 2 > room)
		throw pg::Failure({.sqlstate = "53200",
						   .message = "a snapshot of " + std::to_string(tables) + " tables needs as many locks",
						   .detail = "The server has room for about " + std::to_string(room) + ".",
						   .hint = "Increase max_locks_per_transaction in postgresql.conf and restart the server."});
}

} // namespace pgbraid::branch
