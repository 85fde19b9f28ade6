// Executes the commands of jobs, one after the other.
#include "job/command/session.h"
#include "job/current_run.h"
#include "job/execution.h"
#include "pg/transaction.h"
#include "pg/wait.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "utils/memutils.h"
}

namespace pgbraid::job {

namespace {

using catalog::ClaimedRun;
using worker::self;

constexpr long idle_ms = 60 * 1000;
constexpr Size most_memory = 256 * 1024 * 1024; // caches grow with what commands touch; a new process begins anew
constexpr int runs_between_checks = 64;

bool has_grown()
{
	static int runs = 0;
	return ++runs % runs_between_checks == 0 && MemoryContextMemAllocated(TopMemoryContext, true) > most_memory;
}

std::optional<ClaimedRun> claim()
{
	std::optional<ClaimedRun> run;
	auto trouble = pg::attempt("looking for a run", [&] {
		set_synchronous_commit("off"); // a run that nobody remembers to have been taken is taken again
		if ((run = claim_run()))
			hold_run(run->id);
	});
	if (!trouble)
		return run;
	let_go_of_run();
	ignore_cancels();
	ereport(LOG, (errmsg("executor of jobs: %s", trouble->message.c_str())));
	return std::nullopt;
}

// One run after the other, until there is none.
void execute_all(ClaimedRun first)
{
	if (pg_atomic_exchange_u32(&self().wants_wake, 0) == 0)
		worker::wake_executors(MyDatabaseId, 1); // somebody has woken us for something else meanwhile
	std::optional<ClaimedRun> next = std::move(first);
	while (next) {
		ClaimedRun run = std::move(*next);
		bool may_go_on = !worker::stop_requested() && !has_grown();
		next = execute(run, may_go_on);
		worker::recovered();
		if (!may_go_on)
			worker::leave(worker::State::stopped);
		pg::reload_if_pending(); // an interrupt is for the next run
	}
	ignore_cancels();
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
	while (!worker::stop_requested() && !is_idle) {
		pg_atomic_write_u32(&self().wants_wake, 1); // before looking, so that nothing that comes later goes unseen
		if (auto first = claim())
			execute_all(std::move(*first));
		else
			is_idle = !wait_for_work(waiter);
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
