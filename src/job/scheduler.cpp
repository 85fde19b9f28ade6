// One per database that has jobs: decides what is due, gives places to what waits, ends what takes too long or has lost
// its worker, and starts executors. Sleeps until the first of these, or until somebody tells it of a change.
#include "catalog/dispatch.h"
#include "job/decider.h"
#include "job/dispatch/keeper.h"
#include "job/executors.h"
#include "job/promotion.h"
#include "job/server_zone.h"
#include "pg/wait.h"
#include "settings/settings.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

namespace pgbraid::job {

namespace {

using worker::self;

constexpr int64 clock_check = 5 * USECS_PER_SEC; // a machine that slept does not know that its sleep was longer
constexpr int64 sweep_interval = 5 * USECS_PER_SEC;
constexpr int64 retention_interval = 60 * USECS_PER_SEC;
constexpr int64 try_again = USECS_PER_SEC;
constexpr TimestampTz never = PG_INT64_MAX;

class Scheduler {
public:
	void run();

private:
	void pass();
	void follow_jobs();
	void decide();
	void look_after_runs();
	void delete_old_runs();
	void leave_without_jobs(uint32 touched);
	bool note(const Trouble &trouble);
	TimestampTz clock() const { return GetCurrentTimestamp() + (int64) settings::job_clock_shift_ms() * 1000; }
	int64 patience() const;

	Decider decider_;
	TimestampTz now_ = 0;
	uint32 touched_ = 0, nudged_ = 0; // what was seen of the counters of our entry
	bool is_new_ = true, has_commands_ = false, has_dispatched_ = false, has_held_runs_ = false, has_failed_ = false;
	bool has_changed_ = true;		  // runs are to be looked after
	TimestampTz next_moment_ = never; // when they are again
	TimestampTz dispatcher_moment_ = 0;
	TimestampTz next_sweep_ = 0, next_retention_ = 0;
	int64 retained_job_ = 0, retained_run_ = 0;
};

// What went wrong is shown by pgbraid.stat_worker until all goes well again.
bool Scheduler::note(const Trouble &trouble)
{
	if (!trouble)
		return true;
	has_failed_ = true;
	worker::set_trouble(self(), trouble->sqlstate.c_str(), trouble->message.c_str(), trouble->hint.c_str());
	ereport(LOG, (errmsg("scheduler of jobs: %s", trouble->message.c_str())));
	return false;
}

void Scheduler::follow_jobs()
{
	uint32 touched = pg_atomic_read_u32(&self().touched);
	if (!is_new_ && touched == touched_ && !decider_.has_stale_jobs())
		return;
	bool has_jobs = false;
	if (!note(pg::attempt("looking for jobs", lock_wait, [&] {
			has_jobs = catalog::has_jobs();
			has_commands_ = has_jobs && catalog::has_commands();
			has_dispatched_ = has_jobs && catalog::has_dispatched_jobs();
		})))
		return;
	if (!has_jobs)
		leave_without_jobs(touched);
	if (!note(decider_.take_changes()))
		return;
	touched_ = touched;
	is_new_ = false;
	has_changed_ = true;
}

// The manager, which starts us, is told: it must not go by what it has read before.
void Scheduler::leave_without_jobs(uint32 touched)
{
	stop_executors();
	(void) keep_dispatcher(false);
	worker::touch(MyDatabaseId);
	worker::retire(touched);
}

void Scheduler::decide()
{
	bool more = true;
	while (more && decider_.next_wake() && *decider_.next_wake() <= to_instant(now_)) {
		if (!note(decider_.decide(to_instant(now_), more)))
			return;
		has_changed_ = true;
	}
}

// An executor says what it has taken before the row does; so the rows are read first.
void end_abandoned()
{
	std::vector<int64> abandoned = catalog::read_executed();
	std::erase_if(abandoned, [](int64 run) { return worker::is_executed(MyDatabaseId, run); });
	if (!abandoned.empty())
		catalog::end_abandoned(abandoned);
}

void Scheduler::look_after_runs()
{
	uint32 nudged = pg_atomic_read_u32(&self().nudged);
	bool is_nudged = nudged != nudged_;
	bool is_sweep_due = is_nudged || next_sweep_ == 0 || (has_held_runs_ && now_ >= next_sweep_);
	if (!has_changed_ && !is_sweep_due && now_ < next_moment_)
		return;
	int64 ready = 0;
	bool done = note(pg::attempt("looking after runs", lock_wait, [&] {
		catalog::end_overdue(now_);
		if (is_sweep_due) {
			catalog::end_orphans();
			end_abandoned();
		}
		promote_waiting(now_);
		TimestampTz next = catalog::next_moment(now_);
		next_moment_ = next == 0 ? never : next;
		has_held_runs_ = catalog::has_held_runs();
		ready = catalog::count_ready_commands(settings::job_executors());
	}));
	if (!done)
		return;
	nudged_ = nudged;
	has_changed_ = false;
	if (is_sweep_due)
		next_sweep_ = now_ + sweep_interval;
	start_executors((int) ready, has_commands_);
}

void Scheduler::delete_old_runs()
{
	if (now_ < next_retention_)
		return;
	bool more = true;
	while (more && note(pg::attempt("deleting old runs", lock_wait,
									[&] { more = catalog::delete_old_runs(retained_job_, retained_run_); })))
		pg::check_interrupts();
	next_retention_ = now_ + retention_interval;
}

void Scheduler::pass()
{
	has_failed_ = false;
	now_ = clock();
	follow_jobs();
	decide();
	look_after_runs();
	dispatcher_moment_ = keep_dispatcher(has_dispatched_);
	delete_old_runs();
	if (!has_failed_ && self().trouble.happened_at != 0) {
		worker::clear_trouble(self());
		worker::recovered();
	}
}

int64 Scheduler::patience() const
{
	if (has_failed_)
		return try_again;
	int64 until = Min(next_moment_, next_retention_);
	if (dispatcher_moment_ != 0)
		until = Min(until, dispatcher_moment_);
	if (has_held_runs_)
		until = Min(until, next_sweep_);
	if (auto wake = decider_.next_wake())
		until = Min(until, to_timestamp(*wake));
	return Min(Max(until - clock(), 0), clock_check);
}

void Scheduler::run()
{
	worker::set_state(worker::State::running);
	// What a crash forgets is decided again: who does the work makes sure of its own commit, which comes later.
	pg::call([] { SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE); });
	pg::Waiter waiter("PgbraidScheduler");
	for (;;) {
		if (worker::stop_requested())
			worker::leave(worker::State::stopped);
		pass();
		bool is_news = pg_atomic_read_u32(&self().touched) != touched_ || pg_atomic_read_u32(&self().nudged) != nudged_;
		if (!is_news || has_failed_)
			waiter.wait((patience() + 999) / 1000);
	}
}

} // namespace

} // namespace pgbraid::job

PGBRAID_EXPORT void pgbraid_scheduler_main(Datum argument)
{
	pgbraid::worker::attach(argument);
	pgbraid::pg::enter([] {
		pgbraid::job::Scheduler scheduler;
		scheduler.run();
	});
}
