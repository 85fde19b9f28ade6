#include "job/command/session.h"

#include "pg/boundary.h"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type_d.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/rel.h"
}

namespace pgbraid::job {

namespace {

void set_local(const char *name, const char *value, GucContext context, int level)
{
	(void) set_config_option(name, value, context, PGC_S_SESSION, GUC_ACTION_LOCAL, true, level, false);
}

// As in process_settings() of PostgreSQL, but for this transaction. A setting that is wrong is a warning.
void apply_array(ArrayType *settings)
{
	Datum *elements;
	int count;
	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, &elements, nullptr, &count);
	for (int i = 0; i < count; i++) {
		char *name, *value;
		ParseLongOption(TextDatumGetCString(elements[i]), &name, &value);
		if (value != nullptr)
			set_local(name, value, PGC_SUSET, WARNING);
	}
}

void apply_stored(Relation table, Oid database, Oid role)
{
	ScanKeyData keys[2];
	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	SysScanDesc scan = systable_beginscan(table, DbRoleSettingDatidRolidIndexId, true, nullptr, 2, keys);
	for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
		bool is_null;
		Datum settings = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig, RelationGetDescr(table), &is_null);
		if (!is_null)
			apply_array(DatumGetArrayTypeP(settings));
	}
	systable_endscan(scan);
}

// What is set for a role in a database counts more than what is set for the role, and that more than what is set for
// the database.
void apply_role_settings(Oid role)
{
	Relation table = table_open(DbRoleSettingRelationId, AccessShareLock);
	apply_stored(table, InvalidOid, InvalidOid);
	apply_stored(table, MyDatabaseId, InvalidOid);
	apply_stored(table, InvalidOid, role);
	apply_stored(table, MyDatabaseId, role);
	table_close(table, AccessShareLock);
}

bool has_temporary_tables()
{
	Oid tables, toast;
	GetTempNamespaceState(&tables, &toast);
	return OidIsValid(tables);
}

} // namespace

void apply_settings(const catalog::Work &work)
{
	pg::call([&] {
		set_local("search_path", GetConfigOptionResetString("search_path"), PGC_USERSET, 0);
		if (synchronous_commit == SYNCHRONOUS_COMMIT_ON)
			set_local("synchronous_commit", "off", PGC_USERSET, 0);
		apply_role_settings(work.run_as);
		for (const catalog::Setting &setting : work.settings)
			set_local(setting.name.c_str(), setting.value.c_str(), PGC_USERSET, 0);
	});
}

void set_synchronous_commit(const char *value)
{
	pg::call([&] { set_local("synchronous_commit", value, PGC_USERSET, 0); });
}

void take_session_back()
{
	pg::call([] {
		set_local("search_path", "pg_catalog, pg_temp", PGC_USERSET, 0);
		if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
			set_local("session_replication_role", "origin", PGC_SUSET, 0); // our triggers shall fire
	});
}

void reset_session()
{
	pg::call([] {
		HOLD_INTERRUPTS(); // a cancel is for a run
		PortalHashTableDeleteAll();
		ResetAllOptions();
		DropAllPreparedStatements();
		Async_UnlistenAll();
		LockReleaseAll(USER_LOCKMETHOD, true);
		if (has_temporary_tables()) {
			StartTransactionCommand();
			ResetTempTableNamespace();
			CommitTransactionCommand();
		}
		RESUME_INTERRUPTS();
	});
}

} // namespace pgbraid::job
