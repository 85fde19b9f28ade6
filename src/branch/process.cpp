#include "branch/process.h"

#include "branch/gate.h"
#include "branch/verbs.h"
#include "pg/wait.h"
#include "settings/settings.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
}

#include <utility>

namespace pgbraid::branch {

namespace {

constexpr int64 pause = 30 * USECS_PER_SEC; // before the keeper tries again what has failed in the background

Operation *own = nullptr;
bool has_finished = false;

// Is there something for the keeper to do afterwards?
bool leaves_work(const Request &request)
{
	return traits_of(request.verb).leaves_work && (request.verb != Verb::snapshot || request.spares > 0);
}

void end_of_process(int, Datum)
{
	Operation &operation = *std::exchange(own, nullptr);
	bool has_failed = !has_finished || operation.sqlstate[0] != '\0';
	bool is_keeper_wanted = has_failed || leaves_work(operation.request); // once it is done it may be another one's
	bool was_asked_for = operation.has_client;
	if (has_failed && !was_asked_for)
		ereport(LOG, (errmsg("%s \"%s\" of branches has failed: %s", name_of(operation.request.verb),
							 operation.request.name, operation.message)));
	{
		Lock lock(Lock::exclusive);
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
	if (is_keeper_wanted)
		worker::want_keeper(has_failed && !was_asked_for ? GetCurrentTimestamp() + pause : 0);
}

Operation &begin(Datum argument)
{
	Operation &operation = operation_at(DatumGetInt32(argument));
	uint32 serial;
	memcpy(&serial, MyBgworkerEntry->bgw_extra, sizeof serial);
	bool is_ours = false;
	{
		Lock lock(Lock::exclusive);
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

void finish(Oid result, const std::optional<pg::Caught> &trouble, const char *notice)
{
	Lock lock(Lock::exclusive);
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

void run()
{
	Outcome outcome;
	std::optional<pg::Caught> trouble;
	try {
		const Request &request = current().request;
		outcome = traits_of(request.verb).carry_out(request);
	} catch (const pg::Failure &failure) {
		trouble = pg::detail::copy(failure);
	} catch (const pg::Error &error) {
		trouble = pg::detail::copy(error);
	}
	finish(outcome.database, trouble, outcome.notice.c_str());
}

} // namespace

Operation &current() noexcept
{
	return *own;
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
	for (show(Phase::held); is_held();)
		nap(10);
}

void nap(long milliseconds)
{
	static pg::Waiter waiter("PgbraidBranch");
	(void) waiter.wait(milliseconds);
	check_cancelled();
}

void check_cancelled()
{
	pg::check_interrupts();
	if (own != nullptr && pg_atomic_read_u32(&own->is_cancelled) != 0)
		throw pg::Failure({.sqlstate = "57014", .message = "the session that asked for it has cancelled it"});
}

} // namespace pgbraid::branch

PGBRAID_EXPORT void pgbraid_branch_main(Datum argument)
{
	using namespace pgbraid;
	worker::unblock_signals();
	branch::Operation &operation = branch::begin(argument);
	BackgroundWorkerInitializeConnectionByOid(operation.request.connect, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	worker::pin_settings();
	branch::exempt_from_gate();
	pg::enter(branch::run);
}
