// One per database that has jobs: decides what is due, gives places to what waits, ends what takes too long or has lost
// its worker, and starts executors. Sleeps until the first of these, or until somebody tells it of a change.
#include "catalog/dispatch.h"
#include "job/decider.h"
#include "job/dispatch/keeper.h"
#include "job/endings.h"
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

constexpr int64 clock_check = 10 * USECS_PER_SEC; // a machine that slept does not know that its sleep was longer
constexpr int64 sweep_interval = 5 * USECS_PER_SEC;
constexpr int64 retention_interval = 60 * USECS_PER_SEC;
constexpr int64 retention_pause = USECS_PER_SEC / 10; // where there is more to delete
constexpr int most_rounds = 20;
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

// A part, where there is much: there are other things to do.
void Scheduler::decide()
{
	bool more = true;
	for (int round = 0; round < most_rounds && more && decider_.is_due(to_instant(now_)); round++) {
		(void) note(decider_.decide(to_instant(now_), more));
		has_changed_ = true;
	}
}

void Scheduler::look_after_runs()
{
	uint32 nudged = pg_atomic_read_u32(&self().nudged);
	bool is_nudged = nudged != nudged_;
	bool is_sweep_due = is_nudged || next_sweep_ == 0 || (has_held_runs_ && now_ >= next_sweep_);
	if (!has_changed_ && !is_sweep_due && now_ < next_moment_)
		return;
	nudged_ = nudged;
	bool is_done = note(end_overdue(now_));
	if (is_sweep_due) {
		is_done = note(end_without_worker()) && is_done;
		next_sweep_ = now_ + sweep_interval;
	}
	Promotion promotion{0, 0};
	int64 ready = 0;
	is_done = note(pg::attempt("looking after runs", lock_wait,
							   [&] {
								   promotion = promote_waiting(now_);
								   next_moment_ = catalog::next_moment(now_);
								   has_held_runs_ = catalog::has_held_runs();
								   ready = catalog::count_ready_commands(settings::job_executors());
							   })) &&
			  is_done;
	if (next_moment_ == 0)
		next_moment_ = never;
	// What others are at, and what waits for an executor, is looked at again soon, in case that nobody tells of it.
	if (next_moment_ <= now_ || promotion.chosen > promotion.made_ready || ready > 0)
		next_moment_ = now_ + try_again;
	has_changed_ = !is_done || promotion.made_ready > 0;
	start_executors((int) ready, has_commands_);
}

// A part in each pass, since there are other things to do.
void Scheduler::delete_old_runs()
{
	if (now_ < next_retention_)
		return;
	bool more = false;
	(void) note(pg::attempt("deleting old runs", lock_wait,
							[&] { more = catalog::delete_old_runs(retained_job_, retained_run_); }));
	next_retention_ = now_ + (more ? retention_pause : retention_interval);
}

void Scheduler::pass()
{
	has_failed_ = false;
	now_ = clock();
	// The clock may have been put back.
	next_sweep_ = Min(next_sweep_, now_ + sweep_interval);
	next_retention_ = Min(next_retention_, now_ + retention_interval);
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
	TimestampTz now = clock();
	int64 until = Min(next_moment_, next_retention_);
	if (has_failed_ || has_changed_)
		until = Min(until, has_failed_ ? now + try_again : now);
	if (dispatcher_moment_ != 0)
		until = Min(until, dispatcher_moment_);
	if (has_held_runs_)
		until = Min(until, next_sweep_);
	if (auto wake = decider_.next_wake())
		until = Min(until, to_timestamp(*wake));
	return Min(Max(until - now, 0), clock_check);
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
