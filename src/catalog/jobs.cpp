#include "catalog/jobs.h"

#include "pg/spi.h"
#include "settings/settings.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
}

#include <algorithm>

namespace pgbraid::catalog {

namespace {

using namespace pg::spi;

#define FOLLOWED_JOBS                                                                                                  \
	"SELECT j.id, j.job, j.schedule, j.time_zone, j.options->>'day_match', j.options->>'dst_gap', "                    \
	"       j.options->>'dst_overlap', j.overlap, j.misfire, "                                                         \
	"       coalesce(extract(epoch FROM (j.options->>'grace')::interval) * 1000000, -1)::bigint, "                     \
	"       coalesce(extract(epoch FROM (j.options->>'misfire_window')::interval) * 1000000, -1)::bigint, "            \
	"       coalesce(extract(epoch FROM j.jitter) * 1000000, 0)::bigint, "                                             \
	"       coalesce((j.options->>'misfire_limit')::integer, 100), coalesce((j.options->>'queue_limit')::integer, "    \
	"100), "                                                                                                           \
	"       (j.options->>'starts_at')::timestamptz, (j.options->>'ends_at')::timestamptz, "                            \
	"       j.created_at, p.decided_until, j.concurrency "                                                             \
	"  FROM pgbraid.jobs j JOIN pgbraid.job_progress p ON p.job = j.id "                                               \
	" WHERE j.schedule IS NOT NULL AND j.enabled AND NOT j.paused AND j.home = (SELECT pgbraid.here()) "

constinit Statement select_jobs{FOLLOWED_JOBS " ORDER BY j.id"};
constinit Statement select_job{FOLLOWED_JOBS " AND j.id = $1"}; // of its own, so that its plan goes by the number

#undef FOLLOWED_JOBS

Job job_from(const Row &row)
{
	return {.id = row.bigint(1),
			.name = row.text(2),
			.schedule = row.text(3),
			.time_zone = row.text(4),
			.day_match = row.text(5),
			.dst_gap = row.text(6),
			.dst_overlap = row.text(7),
			.overlap = row.text(8),
			.misfire = row.text(9),
			.grace = row.bigint(10),
			.window = row.bigint(11),
			.jitter = row.bigint(12),
			.most_late = row.integer(13),
			.concurrency = row.integer(19),
			.queue_limit = row.integer(14),
			.starts_at = row.timestamp(15),
			.ends_at = row.timestamp(16),
			.created_at = row.timestamp(17),
			.decided_until = row.timestamp(18)};
}

constinit Statement select_job_ids{"SELECT j.id FROM pgbraid.jobs j WHERE j.schedule IS NOT NULL ORDER BY j.id"};

// A run that was made while its job was dropped.
constinit Statement delete_without_job{
	"DELETE FROM pgbraid.job_runs r WHERE r.job = $1 AND NOT EXISTS (SELECT FROM pgbraid.jobs j WHERE j.id = $1)"};

// By the index, which remembers what is dead of its entries: the table holds as many as there were since its last
// vacuum.
constinit Statement delete_changes{"DELETE FROM pgbraid.job_changes WHERE id > 0 RETURNING job",
								   Statement::Scan::plain};

constinit Statement update_note{
	"UPDATE pgbraid.job_progress SET note = nullif($2, '') WHERE job = $1 AND note IS DISTINCT FROM nullif($2, '')"};

constinit Statement select_loads{
	"SELECT j.id, a.active, (SELECT count(*) FROM pgbraid.job_runs r WHERE r.job = j.id AND r.state = 'waiting'), "
	"       a.executing "
	"  FROM pgbraid.jobs j, "
	"       LATERAL (SELECT count(*) AS active, "
	"                       count(*) FILTER (WHERE r.state = 'running' AND r.handler = 'sql') AS executing "
	"                  FROM pgbraid.job_runs r WHERE r.job = j.id AND r.state IN ('ready', 'running')) a "
	" WHERE j.id = ANY ($1)"};

constinit Statement insert_runs{
	"INSERT INTO pgbraid.job_runs (job, due_at, due_until, run_at, origin, state, reason, handler, limited, priority, "
	"                              payload, deadline_at, finished_at) "
	"SELECT j.id, d.due, nullif(d.until, d.due), d.start, 'schedule', "
	"       CASE WHEN d.state = 'ready' AND (l.limited OR d.start > $7) THEN 'waiting' ELSE d.state END, "
	"       nullif(d.reason, ''), j.handler, l.limited, j.priority, j.payload, "
	"       CASE WHEN d.state = 'ready' AND NOT l.limited AND d.start <= $7 THEN clock_timestamp() + j.pickup_timeout "
	"END, "
	"       CASE WHEN d.state <> 'ready' THEN clock_timestamp() END "
	"  FROM unnest($1, $2, $3, $4, $5, $6) d(job, due, until, start, state, reason) JOIN pgbraid.jobs j ON j.id = "
	"d.job, "
	"       LATERAL (SELECT j.concurrency IS NOT NULL OR j.job_group IS NOT NULL OR $8 > 0 AS limited) l "
	"ON CONFLICT (job, due_at, attempt, serial) DO NOTHING"};

constinit Statement update_progress{
	"UPDATE pgbraid.job_progress p SET decided_until = d.until "
	"  FROM (SELECT job, max(until) AS until FROM unnest($1, $2) u(job, until) GROUP BY job) d "
	" WHERE p.job = d.job AND p.decided_until < d.until"};

constinit Statement cancel_active{
	"SELECT pgbraid.cancel_run(r.id, 'a later run took its place') FROM pgbraid.job_runs r "
	" WHERE r.job = $1 AND r.state IN ('waiting', 'ready', 'running') AND NOT r.cancel_requested"};

// By job, so that the many runs that one job has in waiting don't hide those of others.
constinit Statement select_waiting{
	"WITH RECURSIVE queue(job) AS ("
	"    (SELECT r.job FROM pgbraid.job_runs r WHERE r.state = 'waiting' ORDER BY r.job LIMIT 1) "
	"    UNION ALL "
	"    SELECT (SELECT r.job FROM pgbraid.job_runs r WHERE r.state = 'waiting' AND r.job > queue.job "
	"             ORDER BY r.job LIMIT 1) "
	"      FROM queue WHERE queue.job IS NOT NULL) "
	"SELECT r.id, r.job, j.concurrency, j.owner::oid || ' ' || j.job_group, "
	"       (SELECT min(g.group_concurrency) FROM pgbraid.jobs g WHERE g.job_group = j.job_group AND g.owner = "
	"j.owner), "
	"       r.priority, r.run_at "
	"  FROM queue JOIN pgbraid.jobs j ON j.id = queue.job AND j.home = (SELECT pgbraid.here()), "
	"       LATERAL (SELECT w.id, w.job, w.priority, w.run_at FROM pgbraid.job_runs w "
	"                 WHERE w.job = queue.job AND w.state = 'waiting' AND w.run_at <= $1 "
	"                 ORDER BY w.priority DESC, w.run_at, w.id LIMIT coalesce(j.concurrency, 1000)) r "
	" ORDER BY r.priority DESC, r.run_at, r.id LIMIT 10000"};

constinit Statement select_active{"SELECT r.job, j.owner::oid || ' ' || j.job_group, count(*) "
								  "  FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job "
								  " WHERE r.state IN ('ready', 'running') GROUP BY r.job, j.owner, j.job_group"};

constinit Statement update_ready{
	"UPDATE pgbraid.job_runs r SET state = 'ready', deadline_at = clock_timestamp() + j.pickup_timeout "
	"  FROM pgbraid.jobs j "
	" WHERE j.id = r.job AND r.id IN (SELECT w.id FROM pgbraid.job_runs w "
	"                                  WHERE w.id = ANY ($1) AND w.state = 'waiting' FOR UPDATE SKIP LOCKED)"};

constinit Statement select_overdue{
	"SELECT o.id FROM pgbraid.job_runs o "
	" WHERE o.state IN ('ready', 'running') AND least(o.deadline_at, o.lease_until) <= $1 "
	" ORDER BY least(o.deadline_at, o.lease_until) LIMIT 1000"};

constinit Statement update_overdue{
	"UPDATE pgbraid.job_runs r "
	"   SET state = CASE WHEN r.state = 'ready' THEN 'expired' WHEN r.deadline_at <= $1 THEN 'failed' ELSE 'lost' END, "
	"       reason = CASE WHEN r.state = 'ready' THEN 'nobody picked it up' WHEN r.deadline_at <= $1 THEN 'timeout' "
	"                     ELSE 'its worker was silent' END, "
	"       sqlstate = CASE WHEN r.state = 'running' AND r.deadline_at <= $1 THEN '57014' END, "
	"       error = CASE WHEN r.state = 'running' AND r.deadline_at <= $1 THEN 'it took longer than its timeout' END, "
	"       finished_at = clock_timestamp(), deadline_at = NULL, lease_until = NULL "
	" WHERE r.id IN (SELECT o.id FROM pgbraid.job_runs o WHERE o.id = ANY ($2) AND o.state IN ('ready', 'running') "
	"                   AND least(o.deadline_at, o.lease_until) <= $1 FOR UPDATE SKIP LOCKED)"};

// Who ends a run holds its row until the lock is free.
constinit Statement select_claimed{
	"SELECT r.id FROM pgbraid.job_runs r WHERE r.state = 'running' AND r.liveness = 'lock' ORDER BY r.id LIMIT 10000"};

constinit Statement update_orphans{
	"WITH free AS MATERIALIZED ("
	"    SELECT r.id FROM pgbraid.job_runs r WHERE r.id = ANY ($1) AND r.state = 'running' AND r.liveness = 'lock' "
	"       AND pg_try_advisory_xact_lock('pgbraid.job_runs'::regclass::oid::integer, (r.id & 2147483647)::integer)), "
	"orphan AS MATERIALIZED ("
	"    SELECT r.id FROM pgbraid.job_runs r JOIN free ON free.id = r.id "
	"     WHERE r.state = 'running' AND r.liveness = 'lock' FOR UPDATE OF r SKIP LOCKED) "
	"UPDATE pgbraid.job_runs r "
	"   SET state = 'lost', reason = 'its worker is gone', token = NULL, deadline_at = NULL, finished_at = "
	"clock_timestamp() "
	"  FROM orphan WHERE r.id = orphan.id"};

constinit Statement select_executed{"SELECT r.id, r.cancel_requested FROM pgbraid.job_runs r "
									" WHERE r.state = 'running' AND r.liveness IN ('transaction', 'executor')"};

// The effect of a command in a transaction is gone with its executor, so that it can be executed as if for the first
// time; a few times, since it may be what ends its executors.
constinit Statement update_abandoned{
	"WITH abandoned AS MATERIALIZED ("
	"    SELECT r.id, r.liveness = 'transaction' AND r.pickups < 3 AND NOT r.cancel_requested AS again "
	"      FROM pgbraid.job_runs r "
	"     WHERE r.id = ANY ($1) AND r.state = 'running' AND r.liveness IN ('transaction', 'executor') FOR UPDATE SKIP "
	"LOCKED) "
	"UPDATE pgbraid.job_runs r "
	"   SET state = CASE WHEN a.again THEN 'ready' WHEN r.cancel_requested THEN 'cancelled' ELSE 'lost' END, "
	"       reason = 'its worker is gone', token = NULL, finished_at = CASE WHEN NOT a.again THEN clock_timestamp() "
	"END "
	"  FROM abandoned a WHERE r.id = a.id"};

constinit Statement select_held{"SELECT EXISTS (SELECT FROM pgbraid.job_runs r WHERE r.state = 'running' AND "
								"r.liveness <> 'lease')"};

constinit Statement select_next_moment{
	"SELECT least((SELECT min(r.run_at) FROM pgbraid.job_runs r WHERE r.state = 'waiting' AND r.run_at > $1), "
	"             (SELECT min(least(r.deadline_at, r.lease_until)) FROM pgbraid.job_runs r "
	"               WHERE r.state IN ('ready', 'running') AND least(r.deadline_at, r.lease_until) IS NOT NULL))"};

constinit Statement select_ready_commands{
	"SELECT count(*) FROM (SELECT FROM pgbraid.job_runs r WHERE r.state = 'ready' AND r.handler = 'sql' "
	"    AND EXISTS (SELECT FROM pgbraid.jobs j WHERE j.id = r.job AND j.home = (SELECT pgbraid.here())) LIMIT $1) r"};

constinit Statement select_commands{
	"SELECT EXISTS (SELECT FROM pgbraid.jobs j WHERE j.handler = 'sql' AND j.home = (SELECT pgbraid.here()))",
	Statement::Scan::plain};

constinit Statement select_slice{
	"SELECT j.id, true, 0 FROM (SELECT id FROM pgbraid.jobs WHERE id > $1 ORDER BY id LIMIT 500) j "
	"UNION ALL "
	"SELECT r.job, false, max(r.id) FROM pgbraid.job_runs r WHERE r.id > $2 GROUP BY r.job"};

// Of each job: those that come before the ones that it keeps, and those that ended too long ago. Where the surplus
// begins is found once for each job, whatever the planner knows of how many runs there are.
constinit Statement delete_runs{
	"WITH slice AS MATERIALIZED ("
	"    SELECT j.id, coalesce((j.options->>'keep_runs')::integer, 10000) AS most, "
	"           clock_timestamp() - coalesce((j.options->>'keep')::interval, '7 days') AS horizon "
	"      FROM pgbraid.jobs j WHERE j.id = ANY ($1)), "
	"surplus AS MATERIALIZED ("
	"    SELECT slice.id, e.* FROM slice, LATERAL ("
	"        SELECT r.due_at, r.attempt, r.serial FROM pgbraid.job_runs r WHERE r.job = slice.id "
	"         ORDER BY r.due_at DESC, r.attempt DESC, r.serial DESC OFFSET slice.most LIMIT 1) e), "
	"old AS ("
	"    SELECT o.* FROM surplus s, LATERAL ("
	"        SELECT r.id FROM pgbraid.job_runs r "
	"         WHERE r.job = s.id AND (r.due_at, r.attempt, r.serial) <= (s.due_at, s.attempt, s.serial) "
	"         ORDER BY r.due_at, r.attempt, r.serial LIMIT 10000) o "
	"    UNION ALL "
	"    SELECT o.* FROM slice, LATERAL ("
	"        SELECT r.id FROM pgbraid.job_runs r "
	"         WHERE r.job = slice.id AND r.due_at < slice.horizon AND r.finished_at < slice.horizon "
	"         ORDER BY r.due_at, r.attempt, r.serial LIMIT 10000) o) "
	"DELETE FROM pgbraid.job_runs r "
	" WHERE r.id IN (SELECT old.id FROM old) AND r.state NOT IN ('waiting', 'ready', 'running')"};

std::vector<int64> ids_of(Statement &statement, std::initializer_list<Parameter> parameters = {})
{
	std::vector<int64> runs;
	statement.each(parameters, [&](const Row &row) { runs.push_back(row.bigint(1)); });
	return runs;
}

} // namespace

bool has_jobs()
{
	if (pg::call([] { return get_extension_oid("pgbraid", true); }) == InvalidOid)
		return false;
	bool any = false;
	each("SELECT to_regclass('pgbraid.jobs') IS NOT NULL", {}, [&](const Row &row) { any = row.boolean(1); });
	if (any)
		each("SELECT EXISTS (SELECT FROM pgbraid.jobs j WHERE j.home = (SELECT pgbraid.here()))", {},
			 [&](const Row &row) { any = row.boolean(1); });
	return any;
}

std::vector<Job> read_jobs()
{
	std::vector<Job> jobs;
	select_jobs.each({}, [&](const Row &row) { jobs.push_back(job_from(row)); });
	return jobs;
}

std::vector<int64> read_job_ids()
{
	return ids_of(select_job_ids);
}

void delete_runs_without_job(int64 id)
{
	delete_without_job.execute({bigint(id)});
}

std::optional<Job> read_job(int64 id)
{
	std::optional<Job> job;
	select_job.each({bigint(id)}, [&](const Row &row) { job = job_from(row); });
	return job;
}

std::vector<int64> take_job_changes()
{
	std::vector<int64> jobs;
	delete_changes.each({}, [&](const Row &row) { jobs.push_back(row.bigint(1)); });
	std::sort(jobs.begin(), jobs.end());
	jobs.erase(std::unique(jobs.begin(), jobs.end()), jobs.end());
	return jobs;
}

void note_on_job(int64 job, const std::string &note)
{
	update_note.execute({bigint(job), text(note)});
}

std::vector<JobLoad> read_loads(std::span<const int64> jobs)
{
	std::vector<JobLoad> loads;
	select_loads.each({bigints(jobs)}, [&](const Row &row) {
		loads.push_back({row.bigint(1), (int) row.bigint(2), (int) row.bigint(3), (int) row.bigint(4)});
	});
	return loads;
}

void add_runs(const Decisions &decisions, TimestampTz now)
{
	insert_runs.execute({bigints(decisions.jobs), timestamps(decisions.due), timestamps(decisions.until),
						 timestamps(decisions.start), texts(decisions.states), texts(decisions.reasons), timestamp(now),
						 bigint(settings::job_concurrency())});
}

void advance_jobs(std::span<const int64> jobs, std::span<const TimestampTz> decided_until)
{
	update_progress.execute({bigints(jobs), timestamps(decided_until)});
}

void replace_runs(int64 job)
{
	cancel_active.execute({bigint(job)});
}

std::vector<WaitingRun> read_waiting(TimestampTz now)
{
	std::vector<WaitingRun> waiting;
	select_waiting.each({timestamp(now)}, [&](const Row &row) {
		waiting.push_back({row.bigint(1), row.bigint(2), row.integer(3), row.text(4), row.integer(5), row.integer(6),
						   row.timestamp(7)});
	});
	return waiting;
}

std::vector<ActiveRuns> read_active()
{
	std::vector<ActiveRuns> active;
	select_active.each({}, [&](const Row &row) {
		active.push_back({row.bigint(1), row.text(2), (int) row.bigint(3)});
	});
	return active;
}

uint64 make_ready(std::span<const int64> runs)
{
	return update_ready.execute({bigints(runs)});
}

std::vector<int64> read_overdue(TimestampTz now)
{
	return ids_of(select_overdue, {timestamp(now)});
}

uint64 end_overdue(std::span<const int64> runs, TimestampTz now)
{
	return update_overdue.execute({timestamp(now), bigints(runs)});
}

std::vector<int64> read_claimed()
{
	return ids_of(select_claimed);
}

uint64 end_orphans(std::span<const int64> runs)
{
	return update_orphans.execute({bigints(runs)});
}

std::vector<ExecutedRun> read_executed()
{
	std::vector<ExecutedRun> runs;
	select_executed.each({}, [&](const Row &row) { runs.push_back({row.bigint(1), row.boolean(2)}); });
	return runs;
}

uint64 end_abandoned(std::span<const int64> runs)
{
	return update_abandoned.execute({bigints(runs)});
}

bool has_held_runs()
{
	bool any = false;
	select_held.each({}, [&](const Row &row) { any = row.boolean(1); });
	return any;
}

TimestampTz next_moment(TimestampTz now)
{
	TimestampTz next = 0;
	select_next_moment.each({timestamp(now)}, [&](const Row &row) { next = row.timestamp(1); });
	return next;
}

int64 count_ready_commands(int most)
{
	int64 count = 0;
	select_ready_commands.each({bigint(most)}, [&](const Row &row) { count = row.bigint(1); });
	return count;
}

bool has_commands()
{
	bool any = false;
	select_commands.each({}, [&](const Row &row) { any = row.boolean(1); });
	return any;
}

bool delete_old_runs(int64 &after, int64 &seen)
{
	std::vector<int64> jobs;
	int64 last = 0;
	select_slice.each({bigint(after), bigint(seen)}, [&](const Row &row) {
		jobs.push_back(row.bigint(1));
		if (row.boolean(2))
			last = row.bigint(1);
		seen = Max(seen, row.bigint(3));
	});
	after = last;
	return delete_runs.execute({bigints(jobs)}) >= 10000;
}

} // namespace pgbraid::catalog
