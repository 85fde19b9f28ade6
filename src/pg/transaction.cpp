#include "pg/transaction.h"

extern "C" {
#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
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

// An error here is one of PostgreSQL itself, and ends the process.
void abort() noexcept
{
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

std::string pgbraid::pg::told(const Caught &error)
{
	std::string said = error.message;
	if (!error.detail.empty())
		said += "\nDETAIL: " + error.detail;
	if (!error.hint.empty())
		said += "\nHINT: " + error.hint;
	return said;
}

void pgbraid::pg::throw_again(const Caught &error)
{
	throw Failure(
		{.sqlstate = error.sqlstate.c_str(), .message = error.message, .detail = error.detail, .hint = error.hint});
}

namespace pgbraid::pg::detail {

void limit_lock_wait(const char *timeout)
{
	call([&] {
		(void) set_config_option("lock_timeout", timeout, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	});
}

// A timeout is a SIGINT to ourselves, which workers ignore otherwise.
void begin_to_listen_to_timeouts()
{
	pqsignal(SIGINT, StatementCancelHandler);
}

void end_listening_to_timeouts()
{
	pqsignal(SIGINT, SIG_IGN);
	QueryCancelPending = false;
}

} // namespace pgbraid::pg::detail
