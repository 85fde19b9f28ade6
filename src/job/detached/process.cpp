// The process that executes one command, each statement in a transaction of its own, as if a client had sent it.
#include "job/command/capture.h"
#include "job/command/notices.h"
#include "job/command/parameters.h"
#include "job/detached/request.h"
#include "pg/compat.h"
#include "pg/encoding.h"
#include "pg/transaction.h"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
}

namespace pgbraid::job {

namespace {

Request *request = nullptr;
emit_log_hook_type next_hook = nullptr;

// A role that may not log in, a database that allows no connections: there is no other way to tell of it.
void note_fatal(ErrorData *error)
{
	if (error->elevel >= FATAL) {
		strlcpy(request->message, error->message ? error->message : "", sizeof request->message);
		strlcpy(request->sqlstate, unpack_sql_state(error->sqlerrcode), sizeof request->sqlstate);
	}
	if (next_hook)
		next_hook(error);
}

uint64 run_portal(RawStmt *statement, const char *sql, ParamListInfo parameters, Capture *capture)
{
	bool needs_snapshot = analyze_requires_snapshot(statement);
	if (needs_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	List *queries = pg_analyze_and_rewrite_fixedparams(statement, sql, parameter_types, parameter_count, nullptr);
	List *plans = pg_plan_queries(queries, sql, CURSOR_OPT_PARALLEL_OK, parameters);
	if (needs_snapshot)
		PopActiveSnapshot();
	Portal portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, nullptr, sql, CreateCommandTag(statement->stmt), plans, nullptr);
	PortalStart(portal, parameters, 0, InvalidSnapshot);
	QueryCompletion completion;
	pg::run_portal(portal, &capture->receiver, &completion);
	PortalDrop(portal, false);
	return completion.nprocessed;
}

// In a context that outlives its transactions.
uint64 run_statements(const char *sql, const Parameters &given, Capture *capture)
{
	MemoryContext context = CurrentMemoryContext;
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	ParamListInfo parameters = parameter_list(given);
	List *statements = pg_parse_query(sql);
	CommitTransactionCommand();
	uint64 rows = 0;
	ListCell *cell;
	foreach (cell, statements) {
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		MemoryContextSwitchTo(context); // what is executed must outlive a commit on the way
		rows = run_portal(lfirst_node(RawStmt, cell), sql, parameters, capture);
		CommitTransactionCommand();
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(context);
	if (IsTransactionOrTransactionBlock())
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_STATE), errmsg("the command has left a transaction open"),
						errhint("End it with COMMIT.")));
	return rows;
}

// The session's. Who may set one is looked up.
void apply_settings(const std::string &all)
{
	for (size_t begin = 0; begin < all.size();) {
		size_t end = Min(all.find('\x01', begin), all.size());
		std::string one = all.substr(begin, end - begin);
		size_t equals = one.find('=');
		std::string name = one.substr(0, equals), value = one.substr(equals + 1);
		pg::call([&] { SetConfigOption(name.c_str(), value.c_str(), PGC_USERSET, PGC_S_SESSION); });
		begin = end + 1;
	}
}

void send(shm_mq_handle *queue, const ResultHeader &fixed, const std::string &first, const std::string &log)
{
	ResultHeader header = fixed;
	header.log_at = (uint32) first.size();
	header.length = header.log_at + (uint32) log.size();
	std::string message(reinterpret_cast<const char *>(&header), sizeof header);
	message += first + log;
	pg::call([&] { (void) shm_mq_send(queue, message.size(), message.data(), false, true); });
}

struct Ending {
	ResultHeader header{};
	std::string first, log;
};

void execute(Ending &ending)
{
	std::string sql, payload;
	pg::in_transaction("preparing a run", [&] {
		sql = pg::from_utf8(request->text(request->command_at));
		payload = pg::from_utf8(request->text(request->payload_at));
		apply_settings(pg::from_utf8(request->text(request->settings_at)));
	});
	pg::call(
		[] { MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "pgbraid run", ALLOCSET_DEFAULT_SIZES)); });
	Capture capture = make_capture(CurrentMemoryContext);
	Parameters given{request->has_payload ? payload.c_str() : nullptr, request->attempt, request->due_at};
	debug_query_string = pg::call([&] { return MemoryContextStrdup(TopMemoryContext, sql.c_str()); });
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	ending.header.rows = (int64) pg::call([&] { return run_statements(debug_query_string, given, &capture); });
	ending.header.has_output = capture.value != nullptr;
	ending.first = capture.value ? capture.value : "";
}

void run(shm_mq_handle *queue)
{
	Ending ending;
	start_listening();
	try {
		execute(ending);
	} catch (const pg::Error &error) {
		pg::Caught trouble = pg::detail::copy(error);
		strlcpy(ending.header.sqlstate, trouble.sqlstate.c_str(), sizeof ending.header.sqlstate);
		ending.first = clip(pg::told(trouble));
		pg::detail::abort();
	}
	ending.log = stop_listening();
	pg::in_transaction("telling the result", [&] {
		ending.first = pg::to_utf8(ending.first);
		ending.log = pg::to_utf8(ending.log);
	});
	send(queue, ending.header, ending.first, ending.log);
}

void set_signals()
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	BackgroundWorkerUnblockSignals();
}

} // namespace

} // namespace pgbraid::job

PGBRAID_EXPORT void pgbraid_detached_main(Datum argument)
{
	using namespace pgbraid;
	job::set_signals();
	dsm_segment *segment = dsm_attach(DatumGetUInt32(argument));
	if (segment == nullptr)
		proc_exit(0); // nobody waits any more
	job::request = static_cast<job::Request *>(dsm_segment_address(segment));
	job::next_hook = emit_log_hook;
	emit_log_hook = job::note_fatal;
	shm_mq_set_sender(job::request->queue(), MyProc);
	shm_mq_handle *handle = shm_mq_attach(job::request->queue(), segment, nullptr);
	pg::connect_as(job::request->database, job::request->role);
	pg::enter([](shm_mq_handle *queue) { job::run(queue); }, handle);
	proc_exit(0);
}
