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

// Left to itself: the process frees it, unless it is done already.
void abandon(Operation &operation)
{
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

// The operation that this session waits for. However the waiting ends, who goes last frees the operation.
class Awaited {
public:
	explicit Awaited(Operation &operation) : operation_(operation) { waited_for = &operation; }
	~Awaited()
	{
		waited_for = nullptr;
		if (handle_ != nullptr)
			abandon(operation_);
		else
			release(operation_);
	}
	Awaited(const Awaited &) = delete;
	Awaited &operator=(const Awaited &) = delete;

	void start_process();
	void await_end();

private:
	bool is_done() const;
	bool has_process() const;
	bool sees_end() const; // false when the process ended without a word

	Operation &operation_;
	BackgroundWorkerHandle *handle_ = nullptr; // of the process, while it may be there
};

void Awaited::start_process()
{
	BackgroundWorkerHandle *handle;
	if (!register_process(operation_, &handle))
		throw pg::Failure({.sqlstate = "53400",
						   .message = "no background worker slot is free",
						   .hint = "Increase max_worker_processes in postgresql.conf and restart the server."});
	handle_ = handle;
}

bool Awaited::is_done() const
{
	Lock lock(Lock::shared);
	return operation_.status == Operation::Status::done;
}

bool Awaited::has_process() const
{
	pid_t pid;
	return pg::call([&] { return GetBackgroundWorkerPid(handle_, &pid); }) != BGWH_STOPPED;
}

bool Awaited::sees_end() const
{
	static uint32 wait_event = pg::call([] { return pg::wait_event("PgbraidBranch"); });
	while (!is_done()) {
		if (!has_process())
			return is_done();
		pg::call([&] {
			ConditionVariablePrepareToSleep(&operation_.changed);
			if (operation_.status != Operation::Status::done)
				(void) ConditionVariableTimedSleep(&operation_.changed, look_again_ms, wait_event);
			ConditionVariableCancelSleep();
			CHECK_FOR_INTERRUPTS();
		});
	}
	return true;
}

void Awaited::await_end()
{
	bool has_ended_well = sees_end();
	handle_ = nullptr;
	if (!has_ended_well)
		throw pg::Failure({.sqlstate = "58000",
						   .message = "the process for it could not work",
						   .hint = "Look for the reason in the server's log."});
}

// Throws what the process has failed with.
Oid result_of(const Operation &operation)
{
	if (operation.sqlstate[0] != '\0')
		throw pg::Failure({.sqlstate = operation.sqlstate,
						   .message = operation.message,
						   .detail = operation.detail,
						   .hint = operation.hint});
	if (operation.notice[0] != '\0')
		pg::call([&] { ereport(NOTICE, (errmsg("%s", operation.notice))); });
	return operation.result;
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
	Awaited awaited(*operation);
	pg::call([] { abandon_at_exit(); });
	awaited.start_process();
	awaited.await_end();
	return result_of(*operation);
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
