// pgbraid.jobs and pgbraid.job_runs, as the scheduler reads and writes them. In an open transaction.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pgbraid::catalog {

// A job whose schedule is to be followed: enabled, not paused, at home, and with a schedule.
struct Job {
	int64 id;
	std::string name, schedule, time_zone; // "": the server's
	std::string day_match, dst_gap, dst_overlap, overlap, misfire;
	int64 grace, window, jitter;	// microseconds; -1: the default
	int most_late;					// of misfire all
	int concurrency;				// 0: none
	int queue_limit;				// of overlap queue_all
	TimestampTz starts_at, ends_at; // 0: none
	TimestampTz created_at, decided_until;
};

// Is there any job that is at home in this database? False too where the extension is not installed.
bool has_jobs();

// All of them, in order of their numbers.
std::vector<Job> read_jobs();
std::vector<int64> read_job_ids(); // of those with a schedule, followed or not
// What a race with the drop of a job can leave.
void delete_runs_without_job(int64 id);
// One; nothing if it is not to be followed.
std::optional<Job> read_job(int64 id);

// The jobs that were changed since they were last taken; each once.
std::vector<int64> take_job_changes();

void note_on_job(int64 job, const std::string &note); // "" for none

// What is known of a job's runs when one is due: ready or running, and waiting.
struct JobLoad {
	int64 job;
	int active, waiting;
	int executing; // of the active ones: by an executor, which stops when it is told to
};
std::vector<JobLoad> read_loads(std::span<const int64> jobs);

// Times of schedules, decided; one row each.
struct Decisions {
	std::vector<int64> jobs;
	std::vector<TimestampTz> due, until, start; // until is due for a single time
	std::vector<const char *> states;  // ready (waiting where the job has limits), skipped, missed or cancelled
	std::vector<const char *> reasons; // "" for none
	size_t size() const { return jobs.size(); }
};
// Nothing where there is a row already. What starts later than `now` waits until then.
void add_runs(const Decisions &decisions, TimestampTz now);
void advance_jobs(std::span<const int64> jobs, std::span<const TimestampTz> decided_until);

// Ends what the job does and waits for, in favour of a run to come.
void replace_runs(int64 job);

// Runs that wait for their time or a place. Some of each job, those that come first.
struct WaitingRun {
	int64 id, job;
	int concurrency;   // 0: no limit
	std::string group; // "": none
	int group_concurrency;
	int priority;
	TimestampTz run_at;
};
std::vector<WaitingRun> read_waiting(TimestampTz now);
struct ActiveRuns {
	int64 job;
	std::string group;
	int count;
};
// Of jobs with limits. The total is asked for where there is a limit for all.
std::vector<ActiveRuns> read_active();
uint64 make_ready(std::span<const int64> runs); // how many: not those that somebody else is at

// Runs that nobody picked up in time, that took too long, or whose worker is silent; a part of them, the first. And
// ends those of them for which that is still so and nobody is at it. How many.
std::vector<int64> read_overdue(TimestampTz now);
uint64 end_overdue(std::span<const int64> runs, TimestampTz now);
// Runs whose workers hold a lock; and ends those of them whose lock is free now.
std::vector<int64> read_claimed();
uint64 end_orphans(std::span<const int64> runs);
// Runs that an executor has taken, as far as their rows say.
struct ExecutedRun {
	int64 id;
	bool is_cancelled; // somebody wants it to stop
};
std::vector<ExecutedRun> read_executed();
// Ends those of them that no executor has, or has them executed again.
uint64 end_abandoned(std::span<const int64> runs);
// True if there are runs whose workers may go without a word.
bool has_held_runs();

// When something is to be done next; 0: never.
TimestampTz next_moment(TimestampTz now);

int64 count_ready_commands(int most);

// Are there jobs whose command an executor of this database runs?
bool has_commands();

// Runs beyond what their jobs keep, a part of them at a time: of the jobs that come after `after` (500 of them; `after`
// moves on, and to 0 after the last), and of those that have had a run since `seen`, which moves on too. True if there
// may be more of them.
bool delete_old_runs(int64 &after, int64 &seen);

} // namespace pgbraid::catalog
