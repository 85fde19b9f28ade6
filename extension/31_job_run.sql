-- Runs: how one comes to be, who takes it, and what its end leads to.

CREATE FUNCTION pgbraid.run_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'pgbraid_run_changed';
COMMENT ON FUNCTION pgbraid.run_changed() IS 'wakes, at commit, who waits for a run in that state, interrupts who executes one that is to be cancelled, and calls run_ended where the end of one leads to something';
CREATE TRIGGER run_changed AFTER INSERT OR UPDATE OF state, cancel_requested ON pgbraid.job_runs
	FOR EACH ROW EXECUTE FUNCTION pgbraid.run_changed();
COMMENT ON TRIGGER run_changed ON pgbraid.job_runs IS 'wakes who waits for it, and does what its end leads to';

-- Rows of roles that see their own jobs alone (pgjob_grant) may say no more than the functions make of them.
CREATE FUNCTION pgbraid.check_run() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mine pgbraid.jobs;
BEGIN
	SELECT j.* INTO mine FROM pgbraid.jobs j WHERE j.id = NEW.job;
	IF TG_OP = 'INSERT' THEN
		IF NEW.serial <> NEW.id OR NEW.attempt <> 1 OR NEW.origin <> 'request'
		   OR NEW.state NOT IN ('waiting', 'ready') OR NEW.handler IS DISTINCT FROM mine.handler OR NEW.limited <> pgbraid.must_wait(mine)
		   OR (NEW.limited AND NEW.state = 'ready') OR NEW.run_at NOT BETWEEN '1900-01-01' AND '9000-01-01'
		   OR NEW.due_at <> NEW.run_at OR NEW.due_until IS NOT NULL OR NEW.pickups <> 0 OR NEW.cancel_requested
		   OR num_nonnulls(NEW.token, NEW.liveness, NEW.worker, NEW.pid, NEW.lease_until, NEW.picked_at, NEW.started_at, NEW.finished_at,
		                   NEW.rows, NEW.output, NEW.sqlstate, NEW.error, NEW.log, NEW.reason) > 0
		   OR NEW.id <> currval('pgbraid.job_runs_id_seq')
		THEN
			RAISE EXCEPTION 'runs are made by pgjob_run'
				USING ERRCODE = 'insufficient_privilege', HINT = format('SELECT pgjob_run(%L);', mine.job);
		END IF;
		RETURN NEW;
	END IF;
	IF (NEW.id, NEW.job, NEW.due_at, NEW.due_until, NEW.attempt, NEW.serial, NEW.origin, NEW.handler, NEW.limited, NEW.priority, NEW.run_at,
	    NEW.payload, NEW.idempotency_key, NEW.created_at, NEW.rows)
	   IS DISTINCT FROM
	   (OLD.id, OLD.job, OLD.due_at, OLD.due_until, OLD.attempt, OLD.serial, OLD.origin, OLD.handler, OLD.limited, OLD.priority, OLD.run_at,
	    OLD.payload, OLD.idempotency_key, OLD.created_at, OLD.rows)
	   OR NEW.sqlstate IS DISTINCT FROM OLD.sqlstate
	   OR NOT (NEW.state = OLD.state AND NEW.state IN ('waiting', 'ready', 'running')
	           OR NEW.state = 'cancelled' AND OLD.state IN ('waiting', 'ready', 'running')
	           OR NEW.handler = 'claim' AND OLD.state = 'ready' AND NEW.state = 'running' AND NEW.liveness IN ('lock', 'lease')
	           OR NEW.handler IN ('claim', 'nats') AND OLD.state = 'running' AND NEW.state IN ('succeeded', 'failed'))
	   OR (OLD.state = NEW.state AND (NEW.token, NEW.pickups) IS DISTINCT FROM (OLD.token, OLD.pickups))
	   OR (NEW.handler <> 'claim' AND NEW.liveness IS DISTINCT FROM OLD.liveness)
	   OR greatest(octet_length(NEW.output), octet_length(NEW.error), octet_length(NEW.log)) > 300000
	   OR NEW.lease_until > clock_timestamp() + interval '101 years' OR NEW.deadline_at > clock_timestamp() + interval '101 years'
	THEN
		RAISE EXCEPTION 'runs are changed by pgjob_claim, pgjob_complete and pgjob_cancel'
			USING ERRCODE = 'insufficient_privilege', HINT = format('SELECT pgjob_cancel(%s);', OLD.id);
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_run() IS 'raises an error for what a role must not make of a run';
CREATE TRIGGER check_run BEFORE INSERT OR UPDATE ON pgbraid.job_runs FOR EACH ROW
	WHEN (row_security_active('pgbraid.job_runs'::regclass)) EXECUTE FUNCTION pgbraid.check_run();
COMMENT ON TRIGGER check_run ON pgbraid.job_runs IS 'judges what is written by roles that see their own jobs alone';

CREATE FUNCTION pgbraid.must_wait(job pgbraid.jobs) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN job.concurrency IS NOT NULL OR job.job_group IS NOT NULL OR current_setting('pgbraid.job_concurrency')::integer > 0;
COMMENT ON FUNCTION pgbraid.must_wait(pgbraid.jobs) IS 'its runs wait for a place that the scheduler gives them';

CREATE FUNCTION pgbraid.add_run(job pgbraid.jobs, origin text, payload jsonb DEFAULT NULL, run_at timestamptz DEFAULT NULL,
	priority integer DEFAULT NULL, idempotency_key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	number bigint := nextval('pgbraid.job_runs_id_seq');
	at timestamptz := clock_timestamp();
	begins timestamptz := coalesce(add_run.run_at, at);
	is_limited boolean := pgbraid.must_wait(job);
	is_ready boolean := NOT is_limited AND begins <= at;
BEGIN
	INSERT INTO pgbraid.job_runs (id, job, due_at, serial, origin, state, handler, limited, priority, run_at, payload,
		idempotency_key, deadline_at)
	VALUES (number, job.id, begins, number, add_run.origin, CASE WHEN is_ready THEN 'ready' ELSE 'waiting' END, job.handler,
		is_limited, coalesce(add_run.priority, job.priority), begins, coalesce(add_run.payload, job.payload),
		add_run.idempotency_key, CASE WHEN is_ready THEN begins + job.pickup_timeout END)
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		SELECT r.id INTO number FROM pgbraid.job_runs r
		 WHERE r.job = add_run.job.id AND r.idempotency_key = add_run.idempotency_key AND r.attempt = 1;
	END IF;
	RETURN number;
END;
$$;
COMMENT ON FUNCTION pgbraid.add_run(pgbraid.jobs, text, jsonb, timestamptz, integer, text) IS 'makes a run that no schedule asked for';

CREATE FUNCTION @extschema@.pgjob_run(job text, payload jsonb DEFAULT NULL, idempotency_key text DEFAULT NULL,
	run_at timestamptz DEFAULT NULL, priority integer DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	asked pgbraid.jobs := pgbraid.find_job(job);
BEGIN
	IF asked.home <> pgbraid.here() THEN
		RAISE EXCEPTION 'job "%" was made in the database that this one is a copy of', job
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('SELECT pgjob_resume(%L) lets it run here.', job);
	END IF;
	RETURN pgbraid.add_run(asked, 'request', payload, run_at, priority, idempotency_key);
END;
$$;
COMMENT ON FUNCTION @extschema@.pgjob_run(text, jsonb, text, timestamptz, integer) IS
	'runs a job once, when the transaction commits or at run_at; returns the number of the run. The same idempotency_key again is the same run';

-- What the end of a run leads to: another attempt, or, after the last one, those who wait for it.

CREATE FUNCTION pgbraid.retry_delay(job pgbraid.jobs, attempt integer) RETURNS interval
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
RETURN (
	-- Exponential ones are spread, so that many that failed together do not come back together.
	SELECT CASE WHEN job.options->>'retry_backoff' = 'exponential'
	            THEN least(extract(epoch FROM job.retry_delay) * power(2, least(attempt - 1, 30)),
	                       extract(epoch FROM coalesce((job.options->>'retry_delay_max')::interval, '1 hour')))
	                 * (0.75 + random() / 4) * interval '1 second'
	            ELSE job.retry_delay END);
COMMENT ON FUNCTION pgbraid.retry_delay(pgbraid.jobs, integer) IS 'time between the end of an attempt and the next one';

CREATE FUNCTION pgbraid.may_retry(job pgbraid.jobs, run pgbraid.job_runs) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN CASE run.state
	WHEN 'failed' THEN run.attempt <= job.retries AND NOT EXISTS (
		SELECT FROM jsonb_array_elements_text(job.options->'no_retry') code WHERE starts_with(coalesce(run.sqlstate, ''), code))
	-- What a command did outside of a transaction may be done already: only who says so has it done again.
	WHEN 'lost' THEN run.attempt <= greatest(job.retries, coalesce((job.options->>'redeliveries')::integer,
		CASE WHEN run.handler = 'sql' THEN 0 ELSE 3 END))
	ELSE false END;
COMMENT ON FUNCTION pgbraid.may_retry(pgbraid.jobs, pgbraid.job_runs) IS 'the job wants another attempt after that one';

CREATE FUNCTION pgbraid.alert(job pgbraid.jobs, event text, run pgbraid.job_runs) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT job.muted THEN
		PERFORM pg_notify('pgbraid_job_alerts', jsonb_build_object('job', job.job, 'event', event, 'run', run.id,
			'state', run.state, 'sqlstate', left(run.sqlstate, 5))::text);
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.alert(pgbraid.jobs, text, pgbraid.job_runs) IS
	'tells listeners of pgbraid_job_alerts that a job has begun to fail, failed again after it was paused for that, or works again';

CREATE FUNCTION pgbraid.count_outcome(job pgbraid.jobs, run pgbraid.job_runs) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before integer;
	bound integer := (job.options->>'pause_after_failures')::integer;
BEGIN
	IF run.state NOT IN ('succeeded', 'failed', 'lost', 'expired') THEN
		RETURN;
	END IF;
	SELECT p.failures INTO before FROM pgbraid.job_progress p WHERE p.job = count_outcome.job.id FOR UPDATE;
	IF run.state = 'succeeded' THEN
		IF before > 0 THEN
			UPDATE pgbraid.job_progress p SET failures = 0 WHERE p.job = count_outcome.job.id;
			PERFORM pgbraid.alert(job, 'recovered', run);
		END IF;
		RETURN;
	END IF;
	UPDATE pgbraid.job_progress p SET failures = before + 1 WHERE p.job = count_outcome.job.id;
	IF before = 0 THEN
		PERFORM pgbraid.alert(job, 'failed', run);
	END IF;
	IF before + 1 >= bound AND NOT job.paused THEN
		UPDATE pgbraid.job_progress p SET note = format('paused after %s failures in a row', before + 1) WHERE p.job = count_outcome.job.id;
		UPDATE pgbraid.jobs j SET paused = true WHERE j.id = count_outcome.job.id;
		PERFORM pgbraid.alert(job, 'paused', run);
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.count_outcome(pgbraid.jobs, pgbraid.job_runs) IS 'counts failures in a row, tells of the first, and pauses a job that has had enough';

-- Two jobs that a third one waits for may end at the same time; each must see that the other has.
CREATE FUNCTION pgbraid.start_followers(run pgbraid.job_runs) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	follower pgbraid.jobs;
BEGIN
	FOR follower IN
		SELECT j.* FROM pgbraid.job_dependencies d JOIN pgbraid.jobs j ON j.id = d.job
		 WHERE d.upstream = run.job
		   AND CASE d.outcome WHEN 'success' THEN run.state = 'succeeded' WHEN 'failure' THEN run.state IN ('failed', 'lost', 'expired')
		            ELSE run.state NOT IN ('skipped', 'missed') END
		 ORDER BY j.id
	LOOP
		PERFORM FROM pgbraid.job_progress p WHERE p.job = follower.id FOR UPDATE;
		UPDATE pgbraid.job_dependencies d SET arrived_at = clock_timestamp() WHERE d.job = follower.id AND d.upstream = run.job;
		CONTINUE WHEN EXISTS (SELECT FROM pgbraid.job_dependencies d WHERE d.job = follower.id AND d.arrived_at IS NULL);
		UPDATE pgbraid.job_dependencies d SET arrived_at = NULL WHERE d.job = follower.id;
		IF follower.enabled AND NOT follower.paused AND follower.home = pgbraid.here() THEN
			PERFORM pgbraid.add_run(follower, 'chain');
		END IF;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION pgbraid.start_followers(pgbraid.job_runs) IS 'runs the jobs that come after the one whose run has ended, once all that they come after have';

-- Called by the trigger run_changed, as the owner of the extension.
CREATE FUNCTION pgbraid.run_ended(run bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ended pgbraid.job_runs;
	mine pgbraid.jobs;
	begins timestamptz;
BEGIN
	SELECT r.* INTO ended FROM pgbraid.job_runs r WHERE r.id = run_ended.run;
	SELECT j.* INTO mine FROM pgbraid.jobs j WHERE j.id = ended.job;
	IF mine.id IS NULL THEN
		RETURN;
	END IF;
	IF pgbraid.may_retry(mine, ended) THEN
		begins := clock_timestamp() + CASE WHEN ended.state = 'lost' THEN interval '0' ELSE pgbraid.retry_delay(mine, ended.attempt) END;
		INSERT INTO pgbraid.job_runs (job, due_at, attempt, serial, origin, state, handler, limited, priority, run_at, payload)
		VALUES (ended.job, ended.due_at, ended.attempt + 1, ended.serial, ended.origin, 'waiting', mine.handler, ended.limited,
			ended.priority, begins, ended.payload)
		ON CONFLICT DO NOTHING;
		RETURN;
	END IF;
	PERFORM pgbraid.count_outcome(mine, ended);
	PERFORM pgbraid.start_followers(ended);
END;
$$;
COMMENT ON FUNCTION pgbraid.run_ended(bigint) IS 'what the end of a run leads to';

-- Work that an application does.

CREATE FUNCTION pgbraid.hold_run(run bigint, worker text) RETURNS text
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgbraid_hold_run';
COMMENT ON FUNCTION pgbraid.hold_run(bigint, text) IS
	'takes the advisory lock that says that the worker of a run lives: "lock"; or "lease", in a backend that several workers share';

CREATE FUNCTION pgbraid.release_run(run bigint) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgbraid_release_run';
COMMENT ON FUNCTION pgbraid.release_run(bigint) IS 'gives the lock of hold_run back, if this backend has it';

CREATE FUNCTION pgbraid.held_runs() RETURNS SETOF bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'pgbraid_held_runs';
COMMENT ON FUNCTION pgbraid.held_runs() IS 'the runs whose locks this backend has';

CREATE FUNCTION pgbraid.await_ready(patience interval) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgbraid_await_ready';
COMMENT ON FUNCTION pgbraid.await_ready(interval) IS 'sleeps until a run for pgjob_claim is ready in this database, or so long';

CREATE FUNCTION pgbraid.lease_of(options jsonb) RETURNS interval
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN coalesce((options->>'lease')::interval, '30 s');
COMMENT ON FUNCTION pgbraid.lease_of(jsonb) IS 'how long a worker whose session does not tell of its death may be silent';

CREATE FUNCTION pgbraid.take_run(jobs text[], worker text) RETURNS pgbraid.job_runs
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	taken pgbraid.job_runs;
	mine pgbraid.jobs;
	kind text;
BEGIN
	SELECT r.* INTO taken FROM pgbraid.job_runs r
	 WHERE r.state = 'ready' AND r.handler = 'claim'
	   AND r.job IN (SELECT j.id FROM pgbraid.jobs j WHERE (take_run.jobs IS NULL OR j.job = ANY (take_run.jobs)) AND j.home = pgbraid.here())
	 ORDER BY r.priority DESC, r.run_at, r.id LIMIT 1 FOR UPDATE SKIP LOCKED;
	IF taken.id IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT j.* INTO mine FROM pgbraid.jobs j WHERE j.id = taken.job;
	kind := pgbraid.hold_run(taken.id, take_run.worker);
	IF kind = 'lease' THEN	-- what this backend holds says nothing about its clients
		UPDATE pgbraid.job_runs r SET liveness = 'lease', lease_until = clock_timestamp() + pgbraid.lease_of(j.options)
		  FROM pgbraid.jobs j WHERE j.id = r.job AND r.id IN (SELECT pgbraid.held_runs()) AND r.state = 'running' AND r.liveness = 'lock';
	END IF;
	UPDATE pgbraid.job_runs r
	   SET state = 'running', token = gen_random_uuid(), liveness = kind, worker = take_run.worker, pid = pg_backend_pid(),
	       pickups = r.pickups + 1, picked_at = clock_timestamp(), started_at = clock_timestamp(),
	       deadline_at = clock_timestamp() + mine.timeout,
	       lease_until = CASE WHEN kind = 'lease' THEN clock_timestamp() + pgbraid.lease_of(mine.options) END
	 WHERE r.id = taken.id RETURNING r.* INTO taken;
	RETURN taken;
END;
$$;
COMMENT ON FUNCTION pgbraid.take_run(text[], text) IS 'the run that comes first, now taken by this worker, or null';

CREATE FUNCTION @extschema@.pgjob_claim(jobs text[], worker text, wait interval DEFAULT '0')
RETURNS TABLE (run bigint, token uuid, job text, payload jsonb, attempt integer, due_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	taken pgbraid.job_runs;
	until timestamptz := clock_timestamp() + least(wait, interval '1 hour');
BEGIN
	IF coalesce(worker, '') = '' THEN
		RAISE EXCEPTION 'a worker needs a name'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT * FROM pgjob_claim(''{my_job}'', ''host-1'', wait => ''30 s'');';
	END IF;
	IF cardinality(jobs) = 0 OR num_nulls(VARIADIC jobs) > 0 THEN
		RAISE EXCEPTION 'jobs must be names of jobs, at least one'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give null, and no array, to take runs of any job.';
	END IF;
	PERFORM pgbraid.release_run(h) FROM pgbraid.held_runs() h
	  WHERE NOT EXISTS (SELECT FROM pgbraid.job_runs r WHERE r.id = h AND r.state = 'running');
	LOOP
		taken := pgbraid.take_run(jobs, worker);
		EXIT WHEN taken.id IS NOT NULL OR clock_timestamp() >= until;
		PERFORM pgbraid.await_ready(until - clock_timestamp());
	END LOOP;
	RETURN QUERY SELECT taken.id, taken.token, j.job, taken.payload, taken.attempt, taken.due_at
	               FROM pgbraid.jobs j WHERE j.id = taken.job;
END;
$$;
COMMENT ON FUNCTION @extschema@.pgjob_claim(text[], text, interval) IS
	'takes the next run of one of these jobs (null: of any), waiting for one as long as asked; nobody else gets it';

CREATE FUNCTION pgbraid.run_in_hand(run bigint, token uuid) RETURNS pgbraid.job_runs
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found pgbraid.job_runs;
BEGIN
	SELECT r.* INTO found FROM pgbraid.job_runs r
	 WHERE r.id = run_in_hand.run AND r.token = run_in_hand.token AND r.state = 'running' AND NOT r.cancel_requested FOR UPDATE;
	IF found.id IS NOT NULL AND found.pid <> pg_backend_pid() THEN	-- a pool lies between: its backends outlive their clients
		UPDATE pgbraid.job_runs r
		   SET liveness = 'lease', lease_until = clock_timestamp() + pgbraid.lease_of((SELECT j.options FROM pgbraid.jobs j WHERE j.id = r.job))
		 WHERE r.id = found.id RETURNING r.* INTO found;
	END IF;
	RETURN found;
END;
$$;
COMMENT ON FUNCTION pgbraid.run_in_hand(bigint, uuid) IS 'the run, if the token is that of who executes it now, else null';

CREATE FUNCTION pgbraid.refuse_late(run bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	said text := (SELECT r.state FROM pgbraid.job_runs r WHERE r.id = refuse_late.run);
BEGIN
	RAISE EXCEPTION 'run % is not yours', run
		USING ERRCODE = 'object_not_in_prerequisite_state',
		      DETAIL = CASE WHEN said IS NULL THEN 'There is no such run.' ELSE format('It is %s, or was given to another worker.', said) END,
		      HINT = 'Roll back what was done for it: it timed out, was cancelled, or its worker was taken for dead.';
END;
$$;
COMMENT ON FUNCTION pgbraid.refuse_late(bigint) IS 'the error for who presents a token that no longer counts';

CREATE FUNCTION @extschema@.pgjob_heartbeat(run bigint, token uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mine pgbraid.job_runs := pgbraid.run_in_hand(run, token);
BEGIN
	IF mine.lease_until IS NOT NULL THEN
		UPDATE pgbraid.job_runs r
		   SET lease_until = clock_timestamp() + pgbraid.lease_of((SELECT j.options FROM pgbraid.jobs j WHERE j.id = r.job))
		 WHERE r.id = mine.id;
	END IF;
	RETURN mine.id IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION @extschema@.pgjob_heartbeat(bigint, uuid) IS 'says that the worker lives; false: the run is no longer its own, or was cancelled, so stop';

CREATE FUNCTION @extschema@.pgjob_log(run bigint, token uuid, line text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mine pgbraid.job_runs := pgbraid.run_in_hand(run, token);
BEGIN
	IF mine.id IS NULL THEN
		PERFORM pgbraid.refuse_late(run);
	END IF;
	UPDATE pgbraid.job_runs r
	   SET log = left(concat(r.log, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z "'), line, E'\n'), 65536),
	       lease_until = CASE WHEN r.lease_until IS NOT NULL
	                          THEN clock_timestamp() + pgbraid.lease_of((SELECT j.options FROM pgbraid.jobs j WHERE j.id = r.job)) END
	 WHERE r.id = mine.id;
END;
$$;
COMMENT ON FUNCTION @extschema@.pgjob_log(bigint, uuid, text) IS 'adds a line to the log of a run; counts as a heartbeat';

CREATE FUNCTION @extschema@.pgjob_complete(run bigint, token uuid, output text DEFAULT NULL, error text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mine pgbraid.job_runs := pgbraid.run_in_hand(run, token);
BEGIN
	IF mine.id IS NULL THEN
		PERFORM pgbraid.refuse_late(run);
	END IF;
	UPDATE pgbraid.job_runs r
	   SET state = CASE WHEN pgjob_complete.error IS NULL THEN 'succeeded' ELSE 'failed' END, finished_at = clock_timestamp(),
	       output = left(pgjob_complete.output, 65536), error = left(pgjob_complete.error, 65536), deadline_at = NULL, lease_until = NULL
	 WHERE r.id = mine.id;
	PERFORM pgbraid.release_run(mine.id);
END;
$$;
COMMENT ON FUNCTION @extschema@.pgjob_complete(bigint, uuid, text, text) IS
	'ends a run, as failed if there is an error; in a transaction with its effects, both are there or neither. An error if it is too late';

-- An executor learns of it by a signal (from the trigger run_changed), and notes the end itself, since what it does is undone first.
CREATE FUNCTION pgbraid.cancel_run(run bigint, reason text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	state text;
BEGIN
	UPDATE pgbraid.job_runs r
	   SET state = CASE WHEN r.state = 'running' AND r.handler = 'sql' THEN 'running' ELSE 'cancelled' END,
	       cancel_requested = true, reason = cancel_run.reason,
	       finished_at = CASE WHEN r.state = 'running' AND r.handler = 'sql' THEN NULL ELSE clock_timestamp() END,
	       deadline_at = NULL, lease_until = NULL
	 WHERE r.id = cancel_run.run AND r.state IN ('waiting', 'ready', 'running') RETURNING r.state INTO state;
	RETURN state IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION pgbraid.cancel_run(bigint, text) IS 'ends a run that has not ended; false if it has';

CREATE FUNCTION @extschema@.pgjob_cancel(run bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pgbraid.job_runs r WHERE r.id = pgjob_cancel.run) THEN
		RAISE EXCEPTION 'run % does not exist', run
			USING ERRCODE = 'undefined_object', HINT = 'SELECT id, state FROM pgbraid.job_runs lists the runs that you may see.';
	END IF;
	RETURN pgbraid.cancel_run(run, format('by %s', current_user));
END;
$$;
COMMENT ON FUNCTION @extschema@.pgjob_cancel(bigint) IS 'ends a run that waits or is executed; false if it has ended before';
