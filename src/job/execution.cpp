#include "job/execution.h"

#include "job/command/notices.h"
#include "job/command/role.h"
#include "job/command/session.h"
#include "job/command/statements.h"
#include "job/current_run.h"
#include "job/detached/launch.h"
#include "job/hold.h"
#include "pg/compat.h"
#include "pg/transaction.h"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/proc.h"
#include "utils/portal.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
}

namespace pgbraid::job {

using catalog::ClaimedRun;
using catalog::RunEnd;
using catalog::Work;

namespace {

void require_role(const Work &work)
{
	if (!pg::call([&] { return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(work.run_as)); }))
		throw pg::Failure({.sqlstate = "42704",
						   .message = "the role that the job runs as does not exist any more",
						   .hint = "Give it another one: pgjob_alter(job, run_as => ...)."});
	if (!pg::call([&] { return pg::may_act_as(work.owner, work.run_as); }))
		throw pg::Failure({.sqlstate = "42501",
						   .message = "the owner of the job may no longer act as the role that it runs as",
						   .hint = "GRANT that role to the owner, or give the job another one."});
}

// The least of the job's own and that of the role; 0: none.
int timeout_ms(const Work &work)
{
	int64 own = (work.timeout + 999) / 1000;
	if (own == 0 || (StatementTimeout > 0 && StatementTimeout < own))
		own = StatementTimeout;
	return (int) Min(own, (int64) PG_INT32_MAX);
}

CommandResult run_as_role(const ClaimedRun &run)
{
	start_listening();
	become(run.work->run_as);
	apply_settings(*run.work);
	if (int limit = timeout_ms(*run.work); limit > 0)
		pg::call([&] { enable_timeout_after(STATEMENT_TIMEOUT, limit); });
	CommandResult result =
		run_statements(run.work->command, {run.payload ? run.payload->c_str() : nullptr, run.attempt, run.due_at});
	pg::call([] {
		disable_timeout(STATEMENT_TIMEOUT, false);
		PortalHashTableDeleteAll(); // a cursor WITH HOLD would be read at commit, by us
	});
	become_ourselves();
	take_session_back();
	return result;
}

// The work and its completion are one transaction, so that neither is there without the other. Who has lost the run
// meanwhile finds that its token is no longer the run's, and what it did is undone.
std::optional<pg::Caught> execute_in_transaction(const ClaimedRun &run, bool may_go_on, RunEnd &end,
												 std::optional<ClaimedRun> &next)
{
	auto trouble = pg::attempt(run.work->command.c_str(), [&] {
		require_role(*run.work);
		CommandResult result = run_as_role(run);
		end.rows = result.rows;
		end.output = result.output;
		end.log = stop_listening();
		if (!catalog::complete_run(run, end))
			throw pg::Failure({.sqlstate = "57014", .message = "the run was cancelled or given to somebody else"});
		if (may_go_on && (next = claim_run()))
			hold_next_run(next->id);
	});
	if (trouble) {
		disable_timeout(STATEMENT_TIMEOUT, false);
		end.log = stop_listening();
		become_ourselves();
		hold_next_run(0);
		next.reset();
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
	if (auto trouble = pg::attempt("looking up the role of a run", [&] { require_role(*run.work); })) {
		note_failure(end, *trouble);
		return true;
	}
	try {
		return run_detached(run, end) == Detached::done;
	} catch (const pg::Failure &failure) {
		pg::Caught trouble = pg::detail::copy(failure);
		note_failure(end, trouble);
	} catch (const pg::Error &error) {
		pg::Caught trouble = pg::detail::copy(error);
		note_failure(end, trouble);
		pg::detail::abort();
	}
	return true;
}

void end_run(const ClaimedRun &run, RunEnd &end)
{
	ignore_cancels();
	pg::in_transaction("noting the end of a run", [&] {
		bool is_ended = end.sqlstate.empty() && catalog::complete_run(run, end);
		if (!is_ended)
			(void) catalog::fail_run(run, end);
	});
}

} // namespace

std::optional<ClaimedRun> claim_run()
{
	if (!OidIsValid(run_class()))
		return std::nullopt;
	auto run = catalog::claim_command(MyBgworkerEntry->bgw_name);
	// That it was begun must not be forgotten of one whose effect can't be undone.
	if (run && !run->work->in_transaction && synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		set_synchronous_commit("local");
	return run;
}

std::optional<ClaimedRun> execute(const ClaimedRun &run, bool may_go_on)
{
	RunEnd end{.started_at = GetCurrentTimestamp()};
	std::optional<ClaimedRun> next;
	if (run.work->in_transaction) {
		if (auto trouble = execute_in_transaction(run, may_go_on, end, next)) {
			note_failure(end, *trouble);
			end_run(run, end);
		}
	} else if (execute_detached(run, end)) {
		end_run(run, end);
	} else {
		ignore_cancels();
		pg::in_transaction("putting a run off", [&] { catalog::put_off(run, "no background worker slot was free"); });
	}
	reset_session();
	let_go_of_run();
	return next;
}

} // namespace pgbraid::job
