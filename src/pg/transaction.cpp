#include "pg/transaction.h"

extern "C" {
#include "access/xact.h"
#include "executor/spi.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
}

namespace pgbraid::pg::detail {

// A lock timeout reaches the process as SIGINT, which workers ignore otherwise.
static bool is_lock_wait_limited = false;

static void end_limit_of_lock_wait()
{
	if (!std::exchange(is_lock_wait_limited, false))
		return;
	pqsignal(SIGINT, SIG_IGN);
	QueryCancelPending = false;
}

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
	end_limit_of_lock_wait();
	call([] {
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, nullptr);
	});
}

// An error here is one of PostgreSQL itself, and ends the process.
void abort() noexcept
{
	end_limit_of_lock_wait();
	error_context_stack = nullptr;
	MemoryContextSwitchTo(TopMemoryContext);
	AbortCurrentTransaction();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, nullptr);
}

Caught copy(const Error &error)
{
	const ErrorData *data = error.data();
	auto said = [](const char *text) { return std::string(text ? text : ""); };
	return {unpack_sql_state(data->sqlerrcode), said(data->message), said(data->detail), said(data->hint)};
}

Caught copy(const Failure &failure)
{
	return {failure.sqlstate(), failure.what(), failure.detail(), failure.hint()};
}

} // namespace pgbraid::pg::detail

void pgbraid::pg::limit_lock_wait(const char *timeout)
{
	call([&] {
		(void) set_config_option("lock_timeout", timeout, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
		detail::is_lock_wait_limited = true;
		pqsignal(SIGINT, StatementCancelHandler);
	});
}
