#include "job/command/session.h"

#include "pg/boundary.h"

extern "C" {
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/portal.h"
}

namespace pgbraid::job {

namespace {

void set_local(const char *name, const char *value, GucContext context, int level)
{
	(void) set_config_option(name, value, context, PGC_S_SESSION, GUC_ACTION_LOCAL, true, level, false);
}

bool has_temporary_tables()
{
	Oid tables, toast;
	GetTempNamespaceState(&tables, &toast);
	return OidIsValid(tables);
}

} // namespace

void apply_settings(const catalog::ClaimedRun &run)
{
	pg::call([&] {
		set_local("search_path", GetConfigOptionResetString("search_path"), PGC_USERSET, 0);
		for (const catalog::Setting &setting : run.role_settings)
			set_local(setting.name.c_str(), setting.value.c_str(), PGC_SUSET, WARNING);
		for (const catalog::Setting &setting : run.settings)
			set_local(setting.name.c_str(), setting.value.c_str(), PGC_USERSET, 0);
	});
}

void take_search_path_back()
{
	pg::call([] { set_local("search_path", "pg_catalog, pg_temp", PGC_USERSET, 0); });
}

void reset_session()
{
	pg::call([] {
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
	});
}

} // namespace pgbraid::job
