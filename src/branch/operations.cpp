#include "branch/operations.h"

#include "pg/compat.h"
#include "pg/wait.h"
#include "settings/settings.h"
#include "worker/registry.h"

extern "C" {
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <iterator>
#include <utility>

namespace pgbraid::branch {

namespace {

constexpr int most_operations = 16;
constexpr char tranche[] = "pgbraid branches";
constexpr long look_again_ms = 200; // whether the process is still there

struct Table {
	LWLock *lock;
	Operation operations[most_operations];
};
Table *table = nullptr;
Operation *own = nullptr;
Operation *waited_for = nullptr;			   // by this session
constexpr int64 patience = 30 * USECS_PER_SEC; // until a process that was asked for has shown up
bool has_finished = false;
shmem_request_hook_type next_request = nullptr;
shmem_startup_hook_type next_startup = nullptr;

constexpr const char *verbs[] = {"init",	"snapshot",	 "create",	 "checkout", "reset", "drop", "rename",
								 "protect", "unprotect", "describe", "spares",	 "undo",  "spare"};

void request_memory()
{
	if (next_request)
		next_request();
	RequestAddinShmemSpace(sizeof(Table));
	RequestNamedLWLockTranche(tranche, 1);
}

void startup()
{
	if (next_startup)
		next_startup();
	bool found;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = static_cast<Table *>(ShmemInitStruct("pgbraid branches", sizeof(Table), &found));
	if (!found) {
		MemSet(static_cast<void *>(table), 0, sizeof(Table));
		table->lock = &GetNamedLWLockTranche(tranche)->lock;
		for (Operation &operation : table->operations) {
			for (pg_atomic_uint32 *counter : {&operation.is_cancelled, &operation.phase, &operation.attempts})
				pg_atomic_init_u32(counter, 0);
			pg_atomic_init_u64(&operation.bytes_done, 0);
			pg_atomic_init_u64(&operation.bytes_total, 0);
			ConditionVariableInit(&operation.changed);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

// Its process could not be started: nobody else will ever free it.
bool is_stillborn(const Operation &operation)
{
	return operation.status == Operation::Status::posted && !operation.has_client &&
		   GetCurrentTimestamp() > operation.started_at + patience;
}

Operation *post(const Request &request, bool has_client)
{
	Lock lock(true);
	for (Operation &operation : table->operations)
		if (is_stillborn(operation))
			operation.status = Operation::Status::free;
	auto *operation = std::find_if(std::begin(table->operations), std::end(table->operations),
								   [](const Operation &one) { return one.status == Operation::Status::free; });
	if (operation == std::end(table->operations))
		return nullptr;
	operation->status = Operation::Status::posted;
	operation->serial++;
	operation->has_client = has_client;
	operation->client = MyProcPid;
	operation->client_database = has_client ? MyDatabaseId : InvalidOid;
	operation->pid = 0;
	operation->request = request;
	operation->started_at = GetCurrentTimestamp();
	operation->result = InvalidOid;
	operation->sqlstate[0] = operation->message[0] = operation->detail[0] = operation->hint[0] = '\0';
	operation->notice[0] = '\0';
	for (pg_atomic_uint32 *counter : {&operation->is_cancelled, &operation->phase, &operation->attempts})
		pg_atomic_write_u32(counter, 0);
	pg_atomic_write_u64(&operation->bytes_done, 0);
	pg_atomic_write_u64(&operation->bytes_total, 0);
	return operation;
}

void free_operation(Operation &operation)
{
	Lock lock(true);
	waited_for = nullptr;
	operation.status = Operation::Status::free;
}

bool start_process(const Operation &operation, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;
	MemSet(&worker, 0, sizeof worker);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pgbraid", sizeof worker.bgw_library_name);
	strlcpy(worker.bgw_function_name, "pgbraid_branch_main", sizeof worker.bgw_function_name);
	snprintf(worker.bgw_name, sizeof worker.bgw_name, "pgbraid %s", name_of(operation.request.verb));
	strlcpy(worker.bgw_type, "pgbraid branch", sizeof worker.bgw_type);
	worker.bgw_main_arg = Int32GetDatum((int32) (&operation - table->operations));
	memcpy(worker.bgw_extra, &operation.serial, sizeof operation.serial);
	worker.bgw_notify_pid = MyProcPid;
	return pg::call([&] { return RegisterDynamicBackgroundWorker(&worker, handle); });
}

// Left to itself: the process frees it, unless it is done already.
void abandon(Operation &operation)
{
	waited_for = nullptr;
	pg_atomic_write_u32(&operation.is_cancelled, 1);
	Lock lock(true);
	operation.has_client = false;
	if (operation.status != Operation::Status::running && operation.status != Operation::Status::posted)
		operation.status = Operation::Status::free;
}

// A session that is terminated passes no catch block.
void abandon_waited_for(int, Datum)
{
	if (waited_for != nullptr)
		abandon(*std::exchange(waited_for, nullptr));
}

void abandon_at_exit()
{
	static bool is_first = true;
	if (std::exchange(is_first, false))
		before_shmem_exit(abandon_waited_for, 0);
}

bool is_done(Operation &operation)
{
	Lock lock(false);
	return operation.status == Operation::Status::done;
}

bool has_ended(BackgroundWorkerHandle *handle)
{
	pid_t pid;
	return pg::call([&] { return GetBackgroundWorkerPid(handle, &pid); }) == BGWH_STOPPED;
}

// False when the process ended without a word.
bool await_end(Operation &operation, BackgroundWorkerHandle *handle)
{
	static uint32 wait_event = pg::call([] { return pg::wait_event("PgbraidBranch"); });
	while (!is_done(operation)) {
		if (has_ended(handle))
			return is_done(operation);
		pg::call([&] {
			ConditionVariablePrepareToSleep(&operation.changed);
			if (operation.status != Operation::Status::done)
				(void) ConditionVariableTimedSleep(&operation.changed, look_again_ms, wait_event);
			ConditionVariableCancelSleep();
			CHECK_FOR_INTERRUPTS();
		});
	}
	return true;
}

Oid read_result(Operation &operation)
{
	core::Error error{.message = operation.message, .detail = operation.detail, .hint = operation.hint};
	char sqlstate[6];
	strlcpy(sqlstate, operation.sqlstate, sizeof sqlstate);
	error.sqlstate = sqlstate;
	Oid result = operation.result;
	char notice[sizeof operation.notice];
	strlcpy(notice, operation.notice, sizeof notice);
	free_operation(operation);
	if (sqlstate[0] != '\0')
		throw pg::Failure(error);
	if (notice[0] != '\0')
		pg::call([&] { ereport(NOTICE, (errmsg("%s", notice))); });
	return result;
}

// For the keeper.
bool leaves_work(const Request &request)
{
	switch (request.verb) {
		case Verb::reset:
		case Verb::drop:
		case Verb::undo:
		case Verb::set_spares:
		case Verb::spare: return true;
		case Verb::snapshot: return request.number > 0;
		default: return false;
	}
}

void end_of_process(int, Datum)
{
	Operation &operation = *std::exchange(own, nullptr);
	bool has_failed = !has_finished || operation.sqlstate[0] != '\0';
	if (has_failed && !operation.has_client)
		ereport(LOG, (errmsg("%s \"%s\" of branches has failed: %s", name_of(operation.request.verb),
							 operation.request.name, operation.message)));
	{
		Lock lock(true);
		operation.pid = 0;
		if (!has_finished) { // a crash in the midst of it says nothing, either: the keeper finds what is left
			strlcpy(operation.sqlstate, "57P01", sizeof operation.sqlstate);
			strlcpy(operation.message, "the process that worked on it was terminated", sizeof operation.message);
			strlcpy(operation.hint, "What it had begun is undone soon. Try again.", sizeof operation.hint);
		}
		operation.status = operation.has_client ? Operation::Status::done : Operation::Status::free;
	}
	ConditionVariableBroadcast(&operation.changed);
	// What fails in the background is not tried again at once.
	if (has_failed || leaves_work(operation.request))
		worker::want_keeper(has_failed && !operation.has_client ? GetCurrentTimestamp() + patience : 0);
}

} // namespace

const char *name_of(Verb verb)
{
	return verbs[static_cast<int>(verb)];
}

std::optional<Verb> verb_of(const char *name)
{
	for (size_t i = 0; i < std::size(verbs); i++)
		if (strcmp(verbs[i], name) == 0)
			return static_cast<Verb>(i);
	return std::nullopt;
}

const char *name_of(Phase phase)
{
	static constexpr const char *names[] = {"starting",	 "locking",	 "draining", "copying", "syncing",
											"switching", "removing", "retrying", "held"};
	return names[static_cast<int>(phase)];
}

void install_operations()
{
	next_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	next_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

Oid perform(const Request &request)
{
	worker::require_preload();
	Operation *operation = post(request, true);
	if (operation == nullptr)
		throw pg::Failure({.sqlstate = "53000",
						   .message = "too many operations on branches are going on",
						   .hint = "Try again when one of them is done: pgbraid.stat_branch shows them."});
	pg::call([] { abandon_at_exit(); });
	waited_for = operation;
	BackgroundWorkerHandle *handle;
	bool is_started;
	try {
		is_started = start_process(*operation, &handle);
	} catch (const pg::Error &) {
		free_operation(*operation);
		throw;
	}
	if (!is_started) {
		free_operation(*operation);
		throw pg::Failure({.sqlstate = "53400",
						   .message = "no background worker slot is free",
						   .hint = "Increase max_worker_processes in postgresql.conf and restart the server."});
	}
	bool has_ended_well;
	try {
		has_ended_well = await_end(*operation, handle);
	} catch (const pg::Error &) {
		abandon(*operation);
		throw;
	}
	if (!has_ended_well) {
		free_operation(*operation);
		throw pg::Failure({.sqlstate = "58000",
						   .message = "the process for it could not work",
						   .hint = "Look for the reason in the server's log."});
	}
	return read_result(*operation);
}

bool perform_in_background(const Request &request)
{
	Operation *operation = post(request, false);
	if (operation == nullptr)
		return false;
	BackgroundWorkerHandle *handle;
	if (start_process(*operation, &handle))
		return true;
	free_operation(*operation);
	return false;
}

bool is_any_at_work()
{
	Lock lock(false);
	return std::any_of(std::begin(table->operations), std::end(table->operations), [](const Operation &operation) {
		return operation.status == Operation::Status::running ||
			   (operation.status == Operation::Status::posted && !is_stillborn(operation));
	});
}

Operation &begin(Datum argument)
{
	Operation &operation = table->operations[DatumGetInt32(argument)];
	uint32 serial;
	memcpy(&serial, MyBgworkerEntry->bgw_extra, sizeof serial);
	bool is_ours = false;
	{
		Lock lock(true);
		is_ours = operation.status == Operation::Status::posted && operation.serial == serial;
		if (is_ours) {
			operation.status = Operation::Status::running;
			operation.pid = MyProcPid;
		}
	}
	if (!is_ours)
		proc_exit(0);
	own = &operation;
	before_shmem_exit(end_of_process, 0);
	return operation;
}

Operation &current() noexcept
{
	return *own;
}

void finish(Oid result, const std::optional<pg::Caught> &trouble, const char *notice)
{
	Lock lock(true);
	has_finished = true; // who waits is told when the process has let go of all
	own->result = result;
	strlcpy(own->notice, notice, sizeof own->notice);
	if (!trouble)
		return;
	strlcpy(own->sqlstate, trouble->sqlstate.c_str(), sizeof own->sqlstate);
	strlcpy(own->message, trouble->message.c_str(), sizeof own->message);
	strlcpy(own->detail, trouble->detail.c_str(), sizeof own->detail);
	strlcpy(own->hint, trouble->hint.c_str(), sizeof own->hint);
}

void show(Phase phase) noexcept
{
	if (own != nullptr)
		pg_atomic_write_u32(&own->phase, static_cast<uint32>(phase));
}

void reach(const char *step)
{
	auto is_held = [&] { return strcmp(settings::branch_hold_at(), step) == 0; };
	if (!is_held())
		return;
	for (show(Phase::held); is_held(); check_cancelled())
		pg::call([] {
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		});
}

void check_cancelled()
{
	pg::check_interrupts();
	if (own != nullptr && pg_atomic_read_u32(&own->is_cancelled) != 0)
		throw pg::Failure({.sqlstate = "57014", .message = "the session that asked for it has cancelled it"});
}

int operation_count() noexcept
{
	return table ? most_operations : 0;
}

Operation *operations() noexcept
{
	return table->operations;
}

Lock::Lock(bool exclusive)
{
	LWLockAcquire(table->lock, exclusive ? LW_EXCLUSIVE : LW_SHARED);
}

Lock::~Lock()
{
	if (LWLockHeldByMe(table->lock))
		LWLockRelease(table->lock);
}

} // namespace pgbraid::branch
