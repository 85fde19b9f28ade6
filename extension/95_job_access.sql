-- Whose jobs are whose: a role sees and changes the jobs, and their runs, that belong to it or to a role whose
-- rights it has. The functions run as their caller, so that this holds for them too.

ALTER TABLE pgbraid.jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY owners ON pgbraid.jobs USING (pg_has_role(owner, 'USAGE'));
COMMENT ON POLICY owners ON pgbraid.jobs IS 'the jobs of the role, and of those that it is a member of';

ALTER TABLE pgbraid.job_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY owners ON pgbraid.job_runs
	USING (EXISTS (SELECT FROM pgbraid.jobs j WHERE j.id = job_runs.job AND pg_has_role(j.owner, 'USAGE')));
COMMENT ON POLICY owners ON pgbraid.job_runs IS 'the runs of jobs that the role may see';

ALTER TABLE pgbraid.job_progress ENABLE ROW LEVEL SECURITY;
CREATE POLICY owners ON pgbraid.job_progress FOR SELECT
	USING (EXISTS (SELECT FROM pgbraid.jobs j WHERE j.id = job_progress.job AND pg_has_role(j.owner, 'USAGE')));
COMMENT ON POLICY owners ON pgbraid.job_progress IS 'the progress of jobs that the role may see';

CREATE FUNCTION pgbraid.job_functions() RETURNS SETOF regprocedure
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT p.oid::regprocedure
	  FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	   AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'pgbraid')
	   AND (p.proname ~ '^pgjob_' AND p.proname NOT IN ('pgjob_grant', 'pgjob_revoke')
	        OR p.pronamespace = 'pgbraid'::regnamespace AND p.proname IN (
	           'here', 'check_options', 'check_job_options', 'check_job_number', 'check_job_word', 'check_job_moment', 'is_sane', 'may_act_as', 'check_schedule',
	           'schedule_times', 'find_job', 'must_wait', 'add_run', 'hold_run', 'release_run', 'held_runs', 'await_ready',
	           'lease_of', 'take_run', 'run_in_hand', 'refuse_late', 'cancel_run'));
END;
COMMENT ON FUNCTION pgbraid.job_functions() IS 'what pgjob_grant lets a role call: the pgjob_* functions, and what they call as their caller';

CREATE FUNCTION pgbraid.change_job_access(verb text, preposition text, role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	called regprocedure;
BEGIN
	EXECUTE format('%s SELECT, INSERT, UPDATE, DELETE ON pgbraid.jobs %s %s', verb, preposition, role);
	EXECUTE format('%s SELECT, INSERT, UPDATE ON pgbraid.job_runs %s %s', verb, preposition, role);
	EXECUTE format('%s USAGE ON SEQUENCE pgbraid.jobs_id_seq, pgbraid.job_runs_id_seq %s %s', verb, preposition, role);
	EXECUTE format('%s SELECT ON pgbraid.job_progress, pgbraid.stat_job %s %s', verb, preposition, role);
	FOR called IN SELECT f FROM pgbraid.job_functions() f LOOP
		EXECUTE format('%s EXECUTE ON FUNCTION %s %s %s', verb, called, preposition, role);
	END LOOP;
	EXECUTE format('%s USAGE ON SCHEMA pgbraid %s %s', verb, preposition, role);
END;
$$;
COMMENT ON FUNCTION pgbraid.change_job_access(text, text, regrole) IS 'grants or revokes what a role needs for jobs of its own';

CREATE FUNCTION @extschema@.pgjob_grant(role regrole) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
RETURN pgbraid.change_job_access('GRANT', 'TO', role);
COMMENT ON FUNCTION @extschema@.pgjob_grant(regrole) IS 'lets a role have jobs: its own and those of roles that it is a member of, no others';

CREATE FUNCTION @extschema@.pgjob_revoke(role regrole) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
RETURN pgbraid.change_job_access('REVOKE', 'FROM', role);
COMMENT ON FUNCTION @extschema@.pgjob_revoke(regrole) IS 'takes back what pgjob_grant gave; the jobs of the role stay, and run';
