#include "worker/pause.h"

#include "worker/registry.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"
}

namespace pgbraid::worker {

namespace {

constexpr int patience_ms = 5000; // as long as PostgreSQL itself waits for sessions to go

ProcessUtility_hook_type next_hook = nullptr;

const DefElem *option(const List *options, const char *name)
{
	ListCell *cell;
	foreach (cell, options) {
		auto *element = static_cast<DefElem *>(lfirst(cell));
		if (strcmp(element->defname, name) == 0)
			return element;
	}
	return nullptr;
}

// The database that the statement needs for itself, or null.
const char *database_wanted_by(Node *statement)
{
	switch (nodeTag(statement)) {
		case T_DropdbStmt: return reinterpret_cast<DropdbStmt *>(statement)->dbname;
		case T_CreatedbStmt: {
			const DefElem *source = option(reinterpret_cast<CreatedbStmt *>(statement)->options, "template");
			return source && source->arg ? defGetString(const_cast<DefElem *>(source)) : "template1";
		}
		case T_RenameStmt: {
			auto *rename = reinterpret_cast<RenameStmt *>(statement);
			return rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr;
		}
		case T_AlterDatabaseStmt: {
			auto *alter = reinterpret_cast<AlterDatabaseStmt *>(statement);
			return option(alter->options, "tablespace") ? alter->dbname : nullptr;
		}
		default: return nullptr;
	}
}

// have_createdb_privilege() is no part of every minor release's interface.
bool may_create_databases()
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	bool allowed = superuser() || reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return allowed;
}

// Who may not run the statement shall not disturb our workers with it either.
bool may_disturb(Oid database, Node *statement)
{
	if (IsA(statement, CreatedbStmt) && !may_create_databases())
		return false;
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(tuple))
		return false;
	auto *row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
	bool allowed = superuser() || row->datistemplate || has_privs_of_role(GetUserId(), row->datdba);
	ReleaseSysCache(tuple);
	return allowed;
}

bool stop_workers(Oid database)
{
	Lock lock(Lock::shared);
	bool any = false;
	for (int i = 0; i < entry_count(); i++) {
		const Entry &entry = entries()[i];
		if (entry.kind != Kind::none && entry.database == database && entry.pid != 0) {
			kill(entry.pid, SIGTERM);
			any = true;
		}
	}
	return any;
}

void clear_of_workers(Oid database)
{
	for (int waited = 0; stop_workers(database) && waited < patience_ms; waited += 10) {
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void process_utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
					 ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
					 QueryCompletion *completion)
{
	auto run = [&] {
		(next_hook ? next_hook : standard_ProcessUtility)(statement, query, read_only, context, parameters, environment,
														  destination, completion);
	};
	const char *name = database_wanted_by(statement->utilityStmt);
	Oid database = name ? get_database_oid(name, true) : InvalidOid;
	if (!OidIsValid(database) || !may_disturb(database, statement->utilityStmt) || !hold(database)) {
		run();
		return;
	}
	PG_TRY();
	{
		clear_of_workers(database);
		run();
	}
	PG_FINALLY();
	{
		release(database);
		wake_launcher();
	}
	PG_END_TRY();
}

} // namespace

void install_pause()
{
	next_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

void evict(Oid database)
{
	pg::call([&] { clear_of_workers(database); });
}

} // namespace pgbraid::worker
