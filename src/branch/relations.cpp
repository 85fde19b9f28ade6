#include "branch/relations.h"

#include "pg/spi.h"

extern "C" {
#include "access/twophase.h"
#include "catalog/pg_class_d.h"
#include "catalog/pg_largeobject_d.h"
#include "catalog/pg_largeobject_metadata_d.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
}

namespace pgbraid::branch {

namespace {

using namespace pg::spi;

constexpr char select_stored[] =
	"SELECT oid, reltablespace, relfilenode, relpersistence = 'p', relkind IN ('r', 't', 'm', 'S') "
	"  FROM pg_catalog.pg_class "
	" WHERE relkind IN ('r', 't', 'm', 'S', 'i') AND relpersistence <> 't' AND NOT relisshared";

// Functions write large objects, and what applies a subscription writes its tables, without a query that the gate sees.
constexpr char select_lockable[] =
	"SELECT c.oid, c.oid IN ('pg_catalog.pg_largeobject'::regclass, 'pg_catalog.pg_largeobject_metadata'::regclass) "
	"              OR EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = c.oid) "
	"  FROM pg_catalog.pg_class c "
	" WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence <> 't' AND NOT c.relisshared ORDER BY c.oid";

Stored stored_from(const Row &row)
{
	Oid oid = row.oid(1), tablespace = row.oid(2), file = row.oid(3);
	if (!OidIsValid(file))
		file = pg::call([&] { return pg::file_of_mapped(oid); });
	return {.oid = oid,
			.files = pg::locator(OidIsValid(tablespace) ? tablespace : MyDatabaseTableSpace, MyDatabaseId, file),
			.is_permanent = row.boolean(4),
			.is_standard = row.boolean(5)};
}

} // namespace

std::vector<Stored> read_relations()
{
	std::vector<Stored> found;
	each(select_stored, {}, [&](const Row &row) { found.push_back(stored_from(row)); });
	return found;
}

bool TableLocks::take()
{
	blocked_ = InvalidOid;
	each(select_lockable, {}, [&](const Row &row) {
		Oid table = row.oid(1);
		LOCKMODE mode = row.boolean(2) ? ShareLock : ShareUpdateExclusiveLock;
		if (held_.count(table) != 0)
			return;
		if (pg::call([&] { return ConditionalLockRelationOid(table, mode); }))
			held_.insert(table);
		else if (!OidIsValid(blocked_))
			blocked_ = table;
	});
	return !OidIsValid(blocked_);
}

void check_lock_table()
{
	int64 tables = 0;
	each("SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 't', 'm') AND relpersistence <> 't'", {},
		 [&](const Row &row) { tables = row.bigint(1); });
	int64 room = (int64) max_locks_per_xact * (MaxBackends + max_prepared_xacts);
	if (tables * 10 > room * 8)
		throw pg::Failure({.sqlstate = "53200",
						   .message = "a snapshot of " + std::to_string(tables) + " tables needs as many locks",
						   .detail = "The server has room for about " + std::to_string(room) + ".",
						   .hint = "Increase max_locks_per_transaction in postgresql.conf and restart the server."});
}

} // namespace pgbraid::branch
