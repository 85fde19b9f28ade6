CREATE VIEW pgbraid.stat_branch AS
SELECT d.datname AS database, o.operation, o.name, o.phase, o.attempt, o.bytes_done, o.bytes_total,
       CASE WHEN o.phase = 'copying' AND o.bytes_done > 0
            THEN (clock_timestamp() - o.started_at) * ((o.bytes_total - o.bytes_done)::float8 / o.bytes_done) END AS eta,
       o.started_at, o.pid, o.client
  FROM pgbraid.branch_operations() o LEFT JOIN pg_database d ON d.oid = o.database;
COMMENT ON VIEW pgbraid.stat_branch IS 'operations on branches that are going on in the cluster';
COMMENT ON COLUMN pgbraid.stat_branch.database IS 'that was named in the call';
COMMENT ON COLUMN pgbraid.stat_branch.operation IS 'snapshot, create, checkout, reset, drop, ...; spare: another copy of a snapshot, in the background';
COMMENT ON COLUMN pgbraid.stat_branch.name IS 'branch or snapshot that it is about';
COMMENT ON COLUMN pgbraid.stat_branch.phase IS 'starting, locking, draining (waits for transactions that write), copying, syncing, switching, removing, retrying (pauses, since something was in the way), or held (by pgbraid.branch_hold_at)';
COMMENT ON COLUMN pgbraid.stat_branch.attempt IS 'how often it has tried to bring the database to rest';
COMMENT ON COLUMN pgbraid.stat_branch.bytes_done IS 'copied';
COMMENT ON COLUMN pgbraid.stat_branch.bytes_total IS 'to be copied';
COMMENT ON COLUMN pgbraid.stat_branch.eta IS 'how long the copy will still take, at its pace so far';
COMMENT ON COLUMN pgbraid.stat_branch.started_at IS 'when it was asked for';
COMMENT ON COLUMN pgbraid.stat_branch.pid IS 'of the process that does it';
COMMENT ON COLUMN pgbraid.stat_branch.client IS 'of the session that waits for it; null if none does';
