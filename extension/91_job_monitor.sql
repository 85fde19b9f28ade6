-- How the jobs do.

CREATE VIEW pgbraid.stat_job WITH (security_invoker = true) AS
	SELECT j.job,
	       CASE WHEN j.home <> pgbraid.here() THEN 'copy' WHEN j.paused THEN 'paused' WHEN NOT j.enabled THEN 'disabled'
	            WHEN r.running > 0 THEN 'running' WHEN r.ready + r.waiting > 0 THEN 'queued' ELSE 'idle' END AS state,
	       j.owner, j.handler, j.schedule,
	       CASE WHEN j.enabled AND NOT j.paused AND j.home = pgbraid.here() THEN (
	           SELECT t
	             FROM pgbraid.schedule_times(j.schedule, greatest(p.decided_until, (j.options->>'starts_at')::timestamptz - interval '1 us'),
	                                         j.time_zone, 1, j.options, j.created_at) t
	            WHERE (t < (j.options->>'ends_at')::timestamptz) IS NOT FALSE) END AS next_run_at,
	       r.running, r.ready, r.waiting,
	       l.due_at AS last_due_at, l.state AS last_state, l.finished_at AS last_finished_at, l.error AS last_error,
	       r.succeeded, r.failed, r.skipped, r.missed, r.expired, r.cancelled, r.lost,
	       p.failures AS failures_in_a_row, p.note,
	       r.lateness[1] AS lateness_p50, r.lateness[2] AS lateness_p95, r.lateness[3] AS lateness_p99,
	       r.duration[1] AS duration_p50, r.duration[2] AS duration_p95, r.duration[3] AS duration_p99,
	       r.workers
	  FROM pgbraid.jobs j
	  JOIN pgbraid.job_progress p ON p.job = j.id
	 CROSS JOIN LATERAL (
		SELECT count(*) FILTER (WHERE h.state = 'running') AS running, count(*) FILTER (WHERE h.state = 'ready') AS ready,
		       count(*) FILTER (WHERE h.state = 'waiting') AS waiting, count(*) FILTER (WHERE h.state = 'succeeded') AS succeeded,
		       count(*) FILTER (WHERE h.state = 'failed') AS failed, count(*) FILTER (WHERE h.state = 'skipped') AS skipped,
		       count(*) FILTER (WHERE h.state = 'missed') AS missed, count(*) FILTER (WHERE h.state = 'expired') AS expired,
		       count(*) FILTER (WHERE h.state = 'cancelled') AS cancelled, count(*) FILTER (WHERE h.state = 'lost') AS lost,
		       percentile_disc('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP (ORDER BY h.picked_at - h.run_at) AS lateness,
		       percentile_disc('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP (ORDER BY h.finished_at - h.started_at) AS duration,
		       count(DISTINCT h.worker) FILTER (WHERE h.state = 'running' OR h.finished_at > clock_timestamp() - interval '1 min') AS workers
		  FROM (SELECT * FROM pgbraid.job_runs r WHERE r.job = j.id
		         ORDER BY r.due_at DESC, r.attempt DESC, r.serial DESC LIMIT 10000) h) r
	  LEFT JOIN LATERAL (
		SELECT * FROM pgbraid.job_runs r WHERE r.job = j.id AND r.finished_at IS NOT NULL
		 ORDER BY r.due_at DESC, r.attempt DESC, r.serial DESC LIMIT 1) l ON true;
COMMENT ON VIEW pgbraid.stat_job IS 'the jobs of this database that the role may see; counts and times are of their latest 10,000 runs';
COMMENT ON COLUMN pgbraid.stat_job.job IS 'name of the job';
COMMENT ON COLUMN pgbraid.stat_job.state IS 'idle, queued, running, paused, disabled, or copy: it was made in the database that this one is a copy of';
COMMENT ON COLUMN pgbraid.stat_job.owner IS 'role whose job it is';
COMMENT ON COLUMN pgbraid.stat_job.handler IS 'who executes it: sql, nats, webhook or claim';
COMMENT ON COLUMN pgbraid.stat_job.schedule IS 'when it runs';
COMMENT ON COLUMN pgbraid.stat_job.next_run_at IS 'the next time of its schedule, without jitter';
COMMENT ON COLUMN pgbraid.stat_job.running IS 'runs that are executed';
COMMENT ON COLUMN pgbraid.stat_job.ready IS 'runs that nobody has picked up yet';
COMMENT ON COLUMN pgbraid.stat_job.waiting IS 'runs that wait for their time or for a place';
COMMENT ON COLUMN pgbraid.stat_job.last_due_at IS 'of the last run that has ended: when it was due';
COMMENT ON COLUMN pgbraid.stat_job.last_state IS 'how it ended';
COMMENT ON COLUMN pgbraid.stat_job.last_finished_at IS 'when it ended';
COMMENT ON COLUMN pgbraid.stat_job.last_error IS 'its error';
COMMENT ON COLUMN pgbraid.stat_job.succeeded IS 'runs that succeeded';
COMMENT ON COLUMN pgbraid.stat_job.failed IS 'runs that failed, timeouts included';
COMMENT ON COLUMN pgbraid.stat_job.skipped IS 'times that an earlier run took';
COMMENT ON COLUMN pgbraid.stat_job.missed IS 'times, or spans of them, that nobody was there for';
COMMENT ON COLUMN pgbraid.stat_job.expired IS 'runs that nobody picked up in time';
COMMENT ON COLUMN pgbraid.stat_job.cancelled IS 'runs that were cancelled';
COMMENT ON COLUMN pgbraid.stat_job.lost IS 'runs whose worker went away';
COMMENT ON COLUMN pgbraid.stat_job.failures_in_a_row IS 'runs that failed since one succeeded';
COMMENT ON COLUMN pgbraid.stat_job.note IS 'why its schedule is not followed, or why it was paused';
COMMENT ON COLUMN pgbraid.stat_job.lateness_p50 IS 'from the time that a run might have begun at to its pick-up: half of them took no longer';
COMMENT ON COLUMN pgbraid.stat_job.lateness_p95 IS 'the same for 95 % of them';
COMMENT ON COLUMN pgbraid.stat_job.lateness_p99 IS 'the same for 99 % of them';
COMMENT ON COLUMN pgbraid.stat_job.duration_p50 IS 'from the begin of a run to its end: half of them took no longer';
COMMENT ON COLUMN pgbraid.stat_job.duration_p95 IS 'the same for 95 % of them';
COMMENT ON COLUMN pgbraid.stat_job.duration_p99 IS 'the same for 99 % of them';
COMMENT ON COLUMN pgbraid.stat_job.workers IS 'distinct workers that execute runs of it, or did in the last minute';
