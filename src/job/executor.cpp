// Executes the commands of jobs, one after the other. The work of a run and its completion are one transaction, so that
// neither is there without the other; who has lost the run meanwhile finds that its token is no longer the run's, and
// what it did is undone.
#include "catalog/runs.h"
#include "job/command/notices.h"
#include "job/command/role.h"
#include "job/command/session.h"
#include "job/command/statements.h"
#include "job/detached/launch.h"
#include "job/hold.h"
#include "pg/transaction.h"
#include "pg/wait.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
}

namespace pgbraid::job {

namespace {

using catalog::ClaimedRun;
using catalog::RunEnd;
using worker::Lock;
using worker::self;

constexpr long idle_ms = 60 * 1000;
constexpr Size most_memory = 256 * 1024 * 1024; // caches grow with what commands touch; a new process begins anew
constexpr int runs_between_checks = 64;

void set_current_run(int64 run)
{
	Lock lock(Lock::exclusive);
	self().run = run;
}

// From here on nobody cancels us, and who did so before is too late.
void ignore_cancels()
{
	set_current_run(0);
	pqsignal(SIGINT, SIG_IGN);
	QueryCancelPending = false;
}

std::optional<ClaimedRun> claim()
{
	std::optional<ClaimedRun> run;
	pg::in_transaction("looking for a run", [&] {
		pg::call([] { // what a crash forgets was not begun
			(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
									 false);
		});
		Oid class_id = run_class();
		if (OidIsValid(class_id))
			run = catalog::claim_command(MyBgworkerEntry->bgw_name);
		if (!run)
			return;
		lock_run(class_id, run->id);
		if (!run->in_transaction) // what it does can't be undone, so that it must be known that it was begun
			pg::call([] {
				(void) set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
										 true, 0, false);
			});
		pqsignal(SIGINT, StatementCancelHandler);
		set_current_run(run->id);
	});
	return run;
}

void require_role(const ClaimedRun &run)
{
	if (!run.role_exists)
		throw pg::Failure({.sqlstate = "42704",
						   .message = "the role that the job runs as does not exist any more",
						   .hint = "Give it another one: pgjob_alter(job, run_as => ...)."});
	if (!run.is_permitted)
		throw pg::Failure({.sqlstate = "42501",
						   .message = "the owner of the job may no longer act as the role that it runs as",
						   .hint = "GRANT that role to the owner, or give the job another one."});
}

// The least of the job's own and that of the role; 0: none.
int timeout_ms(const ClaimedRun &run)
{
	int64 own = (run.timeout + 999) / 1000;
	if (own == 0 || (StatementTimeout > 0 && StatementTimeout < own))
		own = StatementTimeout;
	return (int) Min(own, (int64) PG_INT32_MAX);
}

Parameters parameters_of(const ClaimedRun &run)
{
	return {run.payload ? run.payload->c_str() : nullptr, run.attempt, run.due_at};
}

CommandResult run_as_role(const ClaimedRun &run)
{
	start_listening();
	become(run.run_as);
	apply_settings(run);
	if (int limit = timeout_ms(run); limit > 0)
		pg::call([&] { enable_timeout_after(STATEMENT_TIMEOUT, limit); });
	CommandResult result = run_statements(run.command, parameters_of(run));
	pg::call([] {
		disable_timeout(STATEMENT_TIMEOUT, false);
		PortalHashTableDeleteAll(); // a cursor WITH HOLD would be read at commit, by us
	});
	become_ourselves();
	take_search_path_back();
	return result;
}

// Nothing if it succeeded.
std::optional<pg::Caught> execute_in_transaction(const ClaimedRun &run, RunEnd &end)
{
	auto trouble = pg::attempt(run.command.c_str(), [&] {
		require_role(run);
		CommandResult result = run_as_role(run);
		end.rows = result.rows;
		end.output = result.output;
		end.log = stop_listening();
		if (!catalog::complete_run(run, end))
			throw pg::Failure({.sqlstate = "57014", .message = "the run was cancelled or given to somebody else"});
	});
	if (trouble) {
		disable_timeout(STATEMENT_TIMEOUT, false);
		end.log = stop_listening();
		become_ourselves();
	}
	return trouble;
}

void note_failure(RunEnd &end, pg::Caught &trouble)
{
	if (trouble.sqlstate == "25001" && trouble.hint.empty()) // active_sql_transaction
		trouble.hint = "Let it run without a transaction around it: "
					   "pgjob_alter(job, options => '{\"transaction\": false}').";
	end.sqlstate = trouble.sqlstate;
	end.error = clip(pg::told(trouble));
}

// False if it has not begun, and shall be tried again soon.
bool execute_detached(const ClaimedRun &run, RunEnd &end)
{
	try {
		require_role(run);
		return run_detached(run, end) == Detached::done;
	} catch (const pg::Failure &failure) {
		end.sqlstate = failure.sqlstate();
		end.error = std::string(failure.what()) + "\nHINT: " + failure.hint();
		return true;
	}
}

void end_run(const ClaimedRun &run, RunEnd &end)
{
	pg::in_transaction("noting the end of a run", [&] {
		bool is_ended = end.sqlstate.empty() && catalog::complete_run(run, end);
		if (!is_ended)
			(void) catalog::fail_run(run, end);
	});
}

void execute(const ClaimedRun &run)
{
	RunEnd end{.started_at = GetCurrentTimestamp()};
	if (run.in_transaction) {
		auto trouble = execute_in_transaction(run, end);
		ignore_cancels();
		if (trouble)
			note_failure(end, *trouble);
		if (trouble)
			end_run(run, end);
	} else {
		bool has_begun = execute_detached(run, end);
		ignore_cancels();
		if (has_begun)
			end_run(run, end);
		else
			pg::in_transaction("putting a run off",
							   [&] { catalog::put_off(run, "no background worker slot was free"); });
	}
	reset_session(); // and with it goes the lock of the run
}

bool has_grown()
{
	static int runs = 0;
	return ++runs % runs_between_checks == 0 && MemoryContextMemAllocated(TopMemoryContext, true) > most_memory;
}

// False after a while without work.
bool wait_for_work(pg::Waiter &waiter)
{
	bool is_kept = self().object == 1;
	return waiter.wait(is_kept ? -1 : idle_ms) || is_kept;
}

void run()
{
	worker::set_state(worker::State::running);
	ignore_cancels();
	pg::Waiter waiter("PgbraidExecutor");
	bool is_idle = false;
	while (!worker::stop_requested()) {
		pg_atomic_write_u32(&self().wants_wake, 1); // before looking, so that nothing that comes later goes unseen
		if (auto next = claim()) {
			pg_atomic_write_u32(&self().wants_wake, 0);
			execute(*next);
			worker::recovered();
			is_idle = false;
			if (has_grown())
				break;
			pg::check_interrupts();
		} else if (is_idle) {
			break;
		} else {
			is_idle = !wait_for_work(waiter);
		}
	}
	worker::leave(worker::State::stopped);
}

} // namespace

} // namespace pgbraid::job

PGBRAID_EXPORT void pgbraid_executor_main(Datum argument)
{
	pgbraid::worker::attach(argument);
	pgbraid::pg::enter(pgbraid::job::run);
}
