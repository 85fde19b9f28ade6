#include "pg/transaction.h"

extern "C" {
#include "access/xact.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
}

namespace pgbraid::pg::detail {

void start_transaction(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, activity);
	// No object of a user can stand in for one of PostgreSQL's in what we run.
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true,
							 0, false);
}

void take_snapshot()
{
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void commit()
{
	// An error of the commit itself must not be copied into a context that SPI_finish has deleted.
	MemoryContextSwitchTo(TopMemoryContext);
	call([] {
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, nullptr);
	});
}

} // namespace pgbraid::pg::detail
