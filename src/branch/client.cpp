#include "branch/client.h"

#include "pg/background.h"
#include "pg/compat.h"
#include "pg/wait.h"
#include "worker/registry.h"

extern "C" {
#include "storage/ipc.h"
}

#include <utility>

namespace pgbraid::branch {

namespace {

constexpr long look_again_ms = 200; // whether the process is still there
Operation *waited_for = nullptr;	// by this session

bool register_process(const Operation &operation, BackgroundWorkerHandle **handle)
{
	char name[BGW_MAXLEN];
	snprintf(name, sizeof name, "pgbraid %s", name_of(operation.request.verb));
	BackgroundWorker worker = pg::background_worker("pgbraid_branch_main", "pgbraid branch", name);
	worker.bgw_main_arg = Int32GetDatum(number_of(operation));
	memcpy(worker.bgw_extra, &operation.serial, sizeof operation.serial);
	return pg::call([&] { return RegisterDynamicBackgroundWorker(&worker, handle); });
}

void forget(Operation &operation)
{
	waited_for = nullptr;
	release(operation);
}

BackgroundWorkerHandle *start_process(Operation &operation)
{
	BackgroundWorkerHandle *handle;
	bool is_started;
	try {
		is_started = register_process(operation, &handle);
	} catch (const pg::Error &) {
		forget(operation);
		throw;
	}
	if (is_started)
		return handle;
	forget(operation);
	throw pg::Failure({.sqlstate = "53400",
					   .message = "no background worker slot is free",
					   .hint = "Increase max_worker_processes in postgresql.conf and restart the server."});
}

// Left to itself: the process frees it, unless it is done already.
void abandon(Operation &operation)
{
	waited_for = nullptr;
	pg_atomic_write_u32(&operation.is_cancelled, 1);
	Lock lock(Lock::exclusive);
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
	Lock lock(Lock::shared);
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

void await_process(Operation &operation, BackgroundWorkerHandle *handle)
{
	bool has_ended_well;
	try {
		has_ended_well = await_end(operation, handle);
	} catch (const pg::Error &) {
		abandon(operation);
		throw;
	}
	if (has_ended_well)
		return;
	forget(operation);
	throw pg::Failure({.sqlstate = "58000",
					   .message = "the process for it could not work",
					   .hint = "Look for the reason in the server's log."});
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
	forget(operation);
	if (sqlstate[0] != '\0')
		throw pg::Failure(error);
	if (notice[0] != '\0')
		pg::call([&] { ereport(NOTICE, (errmsg("%s", notice))); });
	return result;
}

} // namespace

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
	await_process(*operation, start_process(*operation));
	return read_result(*operation);
}

bool perform_in_background(const Request &request)
{
	Operation *operation = post(request, false);
	if (operation == nullptr)
		return false;
	BackgroundWorkerHandle *handle;
	if (register_process(*operation, &handle))
		return true;
	release(*operation);
	return false;
}

} // namespace pgbraid::branch
