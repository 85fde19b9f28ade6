-- What runs, how far it has come, and what went wrong.

CREATE FUNCTION pgbraid.workers(
	OUT kind text, OUT database oid, OUT object bigint, OUT name text, OUT database_name text, OUT state text,
	OUT pid integer, OUT started_at timestamptz, OUT next_start_at timestamptz, OUT restarts bigint,
	OUT events_published bigint, OUT rows_snapshotted bigint, OUT events_filtered bigint, OUT retries bigint,
	OUT sent_lsn pg_lsn, OUT acknowledged_lsn pg_lsn, OUT last_event_at timestamptz, OUT acknowledged_at timestamptz,
	OUT last_sqlstate text, OUT last_error text, OUT last_hint text, OUT last_error_at timestamptz) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pgbraid_workers';
COMMENT ON FUNCTION pgbraid.workers() IS 'the registry of workers in shared memory; the stat_* views show it';

CREATE VIEW pgbraid.stat_worker AS
	SELECT kind, database_name AS database, name AS object, state, pid, started_at, next_start_at, restarts,
	       last_sqlstate, last_error, last_hint, last_error_at
	  FROM pgbraid.workers();
COMMENT ON VIEW pgbraid.stat_worker IS 'every worker of pgbraid in the cluster, running or waiting to be started again';
COMMENT ON COLUMN pgbraid.stat_worker.kind IS 'launcher, manager, flow, scheduler, executor or dispatcher';
COMMENT ON COLUMN pgbraid.stat_worker.database IS 'database that it works in';
COMMENT ON COLUMN pgbraid.stat_worker.object IS 'name of the flow; else of the database, for an executor with its number';
COMMENT ON COLUMN pgbraid.stat_worker.state IS 'what it is doing';
COMMENT ON COLUMN pgbraid.stat_worker.pid IS 'process, if there is one';
COMMENT ON COLUMN pgbraid.stat_worker.started_at IS 'when its latest process started';
COMMENT ON COLUMN pgbraid.stat_worker.next_start_at IS 'when it will be started again, after a failure';
COMMENT ON COLUMN pgbraid.stat_worker.restarts IS 'how often it has been started again since the server started';
COMMENT ON COLUMN pgbraid.stat_worker.last_sqlstate IS 'SQLSTATE of its latest error';
COMMENT ON COLUMN pgbraid.stat_worker.last_error IS 'its latest error';
COMMENT ON COLUMN pgbraid.stat_worker.last_hint IS 'what mends it';
COMMENT ON COLUMN pgbraid.stat_worker.last_error_at IS 'when that happened';

CREATE VIEW pgbraid.stat_flow AS
	SELECT f.flow,
	       CASE WHEN f.paused THEN 'paused'
	            WHEN b.is_resting THEN 'resting'
	            WHEN b.is_left_alone THEN 'paused'
	            WHEN w.state IS NULL OR w.state = 'stopped' THEN 'starting'
	            ELSE w.state END AS state,
	       pgbraid.slot_name(f.id) AS slot_name,
	       f.stream,
	       coalesce(w.events_published, 0) AS events_published,
	       coalesce(w.rows_snapshotted, 0) AS rows_snapshotted,
	       coalesce(w.events_filtered, 0) AS events_filtered,
	       coalesce(w.retries, 0) AS retries,
	       s.confirmed_flush_lsn AS confirmed_lsn,
	       w.sent_lsn,
	       greatest(now_lsn - coalesce(w.acknowledged_lsn, s.confirmed_flush_lsn), 0)::bigint AS lag_bytes,
	       CASE WHEN w.acknowledged_lsn >= now_lsn THEN interval '0'
	            ELSE greatest(clock_timestamp() - w.acknowledged_at, interval '0') END AS lag,
	       w.last_event_at,
	       CASE WHEN NOT b.is_resting THEN w.last_sqlstate END AS last_sqlstate,
	       CASE WHEN b.is_resting THEN format('branch "%s" is not checked out', b.name)
	            ELSE coalesce(w.last_error, CASE WHEN b.is_left_alone THEN 'this database is a copy of the one that the flow was made in' END) END AS last_error,
	       CASE WHEN b.is_resting THEN format('It goes on after SELECT pgbranch_checkout(%L).', b.name)
	            ELSE coalesce(w.last_hint, CASE WHEN b.is_left_alone THEN format('SELECT pgflow_resume(%L) lets it run here, into the same stream.', f.flow) END) END AS last_hint,
	       CASE WHEN NOT b.is_resting THEN w.last_error_at END AS last_error_at,
	       w.pid,
	       (now_lsn - s.restart_lsn)::bigint AS retained_bytes
	  FROM pgbraid.flows f
	  LEFT JOIN pgbraid.workers() w
	    ON w.kind = 'flow' AND w.object = f.id AND w.database = split_part(pgbraid.here(), '/', 2)::oid
	  LEFT JOIN pg_replication_slots s ON s.slot_name = pgbraid.slot_name(f.id)
	 CROSS JOIN LATERAL (
		SELECT m.name, follows_here AND NOT m.checked_out AND NOT f.paused AS is_resting, NOT at_home AND NOT follows_here AS is_left_alone
		  FROM pgbraid.branches m, LATERAL (SELECT f.home = pgbraid.here() AS at_home) h,
		       LATERAL (SELECT coalesce(f.options->>'follow' = 'family' AND (at_home OR pgbraid.is_of_family(f.home)), false) AS follows_here) k
		 WHERE m.database_oid = split_part(pgbraid.here(), '/', 2)::oid) b
	 CROSS JOIN LATERAL (
		SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END AS now_lsn) wal;
COMMENT ON VIEW pgbraid.stat_flow IS 'the flows of this database; counters start at 0 with the server';
COMMENT ON COLUMN pgbraid.stat_flow.flow IS 'name of the flow';
COMMENT ON COLUMN pgbraid.stat_flow.state IS 'starting, snapshotting, streaming, paused, resting, failed or lost';
COMMENT ON COLUMN pgbraid.stat_flow.slot_name IS 'its replication slot';
COMMENT ON COLUMN pgbraid.stat_flow.stream IS 'its JetStream stream';
COMMENT ON COLUMN pgbraid.stat_flow.events_published IS 'messages that the stream has acknowledged';
COMMENT ON COLUMN pgbraid.stat_flow.rows_snapshotted IS 'rows sent by the initial snapshot';
COMMENT ON COLUMN pgbraid.stat_flow.events_filtered IS 'changes that the publication keeps in';
COMMENT ON COLUMN pgbraid.stat_flow.retries IS 'attempts after a failure: connections and publishes';
COMMENT ON COLUMN pgbraid.stat_flow.confirmed_lsn IS 'what the slot does not give again';
COMMENT ON COLUMN pgbraid.stat_flow.sent_lsn IS 'end of the last commit handed over for publishing';
COMMENT ON COLUMN pgbraid.stat_flow.lag_bytes IS 'WAL between what is stored in the stream and now';
COMMENT ON COLUMN pgbraid.stat_flow.lag IS 'how old the newest change is that is stored, if something is not; else 0';
COMMENT ON COLUMN pgbraid.stat_flow.last_event_at IS 'commit time of the last event handed over';
COMMENT ON COLUMN pgbraid.stat_flow.last_sqlstate IS 'SQLSTATE of the latest error';
COMMENT ON COLUMN pgbraid.stat_flow.last_error IS 'the latest error; it may be over, see state';
COMMENT ON COLUMN pgbraid.stat_flow.last_hint IS 'what mends it';
COMMENT ON COLUMN pgbraid.stat_flow.last_error_at IS 'when that happened';
COMMENT ON COLUMN pgbraid.stat_flow.pid IS 'background worker, if it runs';
COMMENT ON COLUMN pgbraid.stat_flow.retained_bytes IS 'WAL that its slot keeps from being removed';
