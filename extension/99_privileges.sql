-- Nothing is for everybody; pg_monitor may look.

DO $$
DECLARE
	made regprocedure;
BEGIN
	FOR made IN SELECT objid FROM pg_depend d
	             WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	               AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgbraid')
	LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
	END LOOP;
END;
$$;
REVOKE ALL ON ALL TABLES IN SCHEMA pgbraid FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbraid TO pg_monitor;
GRANT SELECT ON pgbraid.stat_flow, pgbraid.stat_worker, pgbraid.stat_job, pgbraid.stat_branch TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.pgbranch_list, @extschema@.pgbranch_log, @extschema@.pgbranch_status TO pg_monitor;
GRANT SELECT ON pgbraid.jobs, pgbraid.job_runs, pgbraid.job_progress TO pg_monitor;
CREATE POLICY monitors ON pgbraid.jobs FOR SELECT TO pg_monitor USING (true);
COMMENT ON POLICY monitors ON pgbraid.jobs IS 'pg_monitor sees all';
CREATE POLICY monitors ON pgbraid.job_runs FOR SELECT TO pg_monitor USING (true);
COMMENT ON POLICY monitors ON pgbraid.job_runs IS 'pg_monitor sees all';
CREATE POLICY monitors ON pgbraid.job_progress FOR SELECT TO pg_monitor USING (true);
COMMENT ON POLICY monitors ON pgbraid.job_progress IS 'pg_monitor sees all';
GRANT EXECUTE ON FUNCTION pgbraid.schedule_times(text, timestamptz, text, integer, jsonb, timestamptz) TO pg_monitor;
GRANT EXECUTE ON FUNCTION pgbraid.branch_operations(), pgbraid.workers(), pgbraid.here(), pgbraid.slot_name(bigint),
	pgbraid.is_of_family(text) TO pg_monitor;
