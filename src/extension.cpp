// Where PostgreSQL meets the module: one line for each part of it.
#include "branch/connections.h"
#include "branch/gate.h"
#include "branch/labels.h"
#include "branch/operations.h"
#include "pg/prelude.h"
#include "settings/settings.h"
#include "worker/commit.h"
#include "worker/launcher.h"
#include "worker/pause.h"
#include "worker/registry.h"

extern "C" {
#include "miscadmin.h"

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "pgbraid", .version = PGBRAID_VERSION);
#else
PG_MODULE_MAGIC;
#endif
}

// In the postmaster where the library is preloaded: no thread, no socket, no call of libnats here.
PGBRAID_EXPORT void _PG_init()
{
	using namespace pgbraid;
	settings::define();
	if (!process_shared_preload_libraries_in_progress)
		return;
	worker::install_registry();
	worker::install_commit_hooks();
	worker::install_pause();
	branch::install_gate();
	branch::install_operations();
	branch::install_connections();
	branch::install_labels();
	worker::register_launcher();
}
