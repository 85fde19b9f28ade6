// Background processes of ours: what they have in common.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "miscadmin.h"
#include "postmaster/bgworker.h"
}

namespace pgbraid::pg {

// One that is connected to a database, starts when the server takes writes, and is not started again by the postmaster.
// `main` is an exported function; `type` and `name` are what pg_stat_activity and the log show. Whoever starts it is
// notified of its start and end. Allocates nothing and raises no error.
inline BackgroundWorker background_worker(const char *main, const char *type, const char *name)
{
	BackgroundWorker worker;
	MemSet(&worker, 0, sizeof worker);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pgbraid", sizeof worker.bgw_library_name);
	strlcpy(worker.bgw_function_name, main, sizeof worker.bgw_function_name);
	strlcpy(worker.bgw_type, type, sizeof worker.bgw_type);
	strlcpy(worker.bgw_name, name, sizeof worker.bgw_name);
	worker.bgw_notify_pid = MyProcPid;
	return worker;
}

} // namespace pgbraid::pg
