-- Runs that applications execute which do not ask for them: over NATS, and by webhooks. What the dispatcher calls for each
-- run or message is PL/pgSQL, since a function in SQL that can't be inlined is planned again by each statement that calls
-- it, and goes by the search_path of the dispatcher, which is pg_catalog.

CREATE FUNCTION pgbraid.webhook_validator(options text[], catalog oid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key text;
	said text;
BEGIN
	FOR key, said IN SELECT split_part(o, '=', 1), substr(o, strpos(o, '=') + 1) FROM unnest(options) o LOOP
		IF catalog = 'pg_foreign_server'::regclass AND key = 'url' THEN
			IF said !~ '^https?://[^[:space:][:cntrl:]/]+[^[:space:][:cntrl:]]*$' THEN
				RAISE EXCEPTION 'option "url" must be a URL of http or https'
					USING ERRCODE = 'fdw_invalid_attribute_value', HINT = 'Write OPTIONS (url ''https://app.example.com/jobs'').';
			END IF;
		ELSIF catalog = 'pg_user_mapping'::regclass AND key = 'secret' THEN
			IF said = '' THEN
				RAISE EXCEPTION 'option "secret" is empty'
					USING ERRCODE = 'fdw_invalid_attribute_value', HINT = 'Leave it out instead.';
			END IF;
		ELSE
			RAISE EXCEPTION 'invalid option "%"', key
				USING ERRCODE = 'fdw_invalid_option_name', HINT = 'A server has the option url, a user mapping the option secret.';
		END IF;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION pgbraid.webhook_validator(text[], oid) IS 'checks the options of servers and user mappings of pgbraid_webhook';

CREATE FOREIGN DATA WRAPPER pgbraid_webhook NO HANDLER VALIDATOR pgbraid.webhook_validator;
COMMENT ON FOREIGN DATA WRAPPER pgbraid_webhook IS 'HTTP servers that runs of jobs are sent to; holds addresses and secrets, reads no tables';

-- Who restores a dump passes, since grants come last in it; whether the owner may use the server is looked at again
-- before each use.
CREATE FUNCTION pgbraid.check_job_server(name text, wrapper name, example text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	server oid := (SELECT s.oid FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
	                WHERE s.srvname = name AND w.fdwname = wrapper);
BEGIN
	IF server IS NULL THEN
		RAISE EXCEPTION 'server "%" does not exist', name
			USING ERRCODE = 'undefined_object', HINT = format('CREATE SERVER %I FOREIGN DATA WRAPPER %I OPTIONS (url %L);', name, wrapper, example);
	END IF;
	IF NOT has_server_privilege(server, 'USAGE') THEN
		RAISE EXCEPTION 'permission denied for server "%"', name
			USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT USAGE ON FOREIGN SERVER %I TO %s;', name, quote_ident(current_user));
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_job_server(text, name, text) IS 'raises an error for a server that is not there, or that its user may not use';

-- The API of JetStream and answers to others are subjects too.
CREATE FUNCTION pgbraid.check_job_dispatch() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	hook jsonb := NEW.options->'webhook';
BEGIN
	IF NEW.subject !~ '^[^[:space:][:cntrl:].*>]+(\.[^[:space:][:cntrl:].*>]+)*$' OR NEW.subject ~ '^(\$|_INBOX\.|pgbraid\.jobs\.)' THEN
		RAISE EXCEPTION 'runs can''t be offered on subject "%"', NEW.subject
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a subject without wildcards and blanks, such as jobs.mail.';
	END IF;
	IF NEW.options ? 'server' THEN
		IF NEW.subject IS NULL OR jsonb_typeof(NEW.options->'server') <> 'string' THEN
			RAISE EXCEPTION 'option "server" must name the NATS server of a job with a subject'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Write subject => ''jobs.mail'', options => ''{"server": "events"}''.';
		END IF;
		PERFORM pgbraid.check_job_server(NEW.options->>'server', 'pgbraid_nats', 'nats://host:4222');
	END IF;
	IF hook IS NOT NULL THEN
		IF NOT (CASE jsonb_typeof(hook) WHEN 'string' THEN true
		            WHEN 'object' THEN jsonb_typeof(hook->'server') IS NOT DISTINCT FROM 'string' AND hook - '{server,path}'::text[] = '{}'
		                               AND coalesce(hook->>'path', '/') ~ '^/[^[:space:][:cntrl:]]*$'
		            ELSE false END)
		THEN
			RAISE EXCEPTION 'option "webhook" must name a server, and may give a path'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Write options => ''{"webhook": {"server": "app", "path": "/jobs/mail"}}''.';
		END IF;
		PERFORM pgbraid.check_job_server(CASE jsonb_typeof(hook) WHEN 'string' THEN hook #>> '{}' ELSE hook->>'server' END,
			'pgbraid_webhook', 'https://app.example.com');
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_job_dispatch() IS 'raises an error for a job whose runs could not be sent';
CREATE TRIGGER check_job_dispatch BEFORE INSERT OR UPDATE OF subject, options ON pgbraid.jobs FOR EACH ROW
	EXECUTE FUNCTION pgbraid.check_job_dispatch();
COMMENT ON TRIGGER check_job_dispatch ON pgbraid.jobs IS 'raises an error for a job whose runs could not be sent';

CREATE FUNCTION pgbraid.offer_of(run pgbraid.job_runs, job text) RETURNS text
LANGUAGE sql STABLE
RETURN json_build_object('v', 1, 'run', run.id, 'token', run.token, 'job', job, 'payload', run.payload, 'attempt', run.attempt,
	'due_at', to_char(run.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text;
COMMENT ON FUNCTION pgbraid.offer_of(pgbraid.job_runs, text) IS 'what an application is told of a run';

-- Row by row, and with conditions that are of no use for the partial indexes: statistics of a table that was all but empty
-- a moment ago would have the planner read all of it for each row.
CREATE FUNCTION pgbraid.offer_run(run bigint, OUT id bigint, OUT job bigint, OUT subject text, OUT offer text, OUT patience bigint,
	OUT priority integer, OUT run_at timestamptz) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
	mine pgbraid.jobs;
	offered pgbraid.job_runs;
BEGIN
	UPDATE pgbraid.job_runs r SET token = gen_random_uuid() WHERE r.id = offer_run.run AND r.state || '' = 'ready' RETURNING r.* INTO offered;
	SELECT j.* INTO mine FROM pgbraid.jobs j WHERE j.id = offered.job;
	id := offered.id;
	job := offered.job;
	subject := mine.subject;
	offer := pgbraid.offer_of(offered, mine.job);
	patience := extract(epoch FROM coalesce((mine.options->>'offer_timeout')::interval, '2 s')) * 1000000;
	priority := offered.priority;
	run_at := offered.run_at;
END;
$$;
COMMENT ON FUNCTION pgbraid.offer_run(bigint) IS 'gives a run that is ready a new token, and says how to offer it';

CREATE FUNCTION pgbraid.send_run(run bigint, worker text, pid integer, OUT id bigint, OUT token uuid, OUT url text, OUT body text,
	OUT secret text, OUT permitted boolean, OUT attempt integer, OUT timeout bigint) RETURNS record
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mine pgbraid.jobs := (SELECT j FROM pgbraid.jobs j WHERE j.id = (SELECT r.job FROM pgbraid.job_runs r WHERE r.id = send_run.run));
	patience interval := coalesce(mine.timeout, '30 s');
	sent pgbraid.job_runs;
BEGIN
	UPDATE pgbraid.job_runs r
	   SET state = 'running', token = gen_random_uuid(), liveness = 'lease', worker = send_run.worker, pid = send_run.pid,
	       pickups = r.pickups + 1, picked_at = clock_timestamp(), started_at = clock_timestamp(),
	       deadline_at = clock_timestamp() + patience, lease_until = clock_timestamp() + patience + interval '10 s'
	 WHERE r.id = send_run.run AND r.state || '' = 'ready' RETURNING r.* INTO sent;
	SELECT w.url, w.secret, w.permitted INTO url, secret, permitted FROM pgbraid.webhook_of(mine) w;
	id := sent.id;
	token := sent.token;
	body := pgbraid.offer_of(sent, mine.job);
	permitted := coalesce(permitted, false);
	attempt := sent.attempt;
	timeout := extract(epoch FROM patience) * 1000000;
END;
$$;
COMMENT ON FUNCTION pgbraid.send_run(bigint, text, integer) IS 'takes a run that is ready for its webhook, and says what to send where';

CREATE FUNCTION pgbraid.webhook_of(job pgbraid.jobs, OUT url text, OUT secret text, OUT permitted boolean) RETURNS record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT u.option_value || coalesce(job.options->'webhook'->>'path', ''),
	       (SELECT o.option_value FROM pg_user_mapping m, pg_options_to_table(m.umoptions) o
	         WHERE m.umserver = s.oid AND m.umuser IN (job.owner::oid, 0) AND o.option_name = 'secret' ORDER BY m.umuser = 0 LIMIT 1),
	       has_server_privilege(job.owner::oid, s.oid, 'USAGE')
	  FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'pgbraid_webhook',
	       pg_options_to_table(s.srvoptions) u
	 WHERE u.option_name = 'url'
	   AND s.srvname = CASE jsonb_typeof(job.options->'webhook')
	                   WHEN 'string' THEN job.options->>'webhook' ELSE job.options->'webhook'->>'server' END;
END;
COMMENT ON FUNCTION pgbraid.webhook_of(pgbraid.jobs) IS 'where runs of a job are sent, what they are signed with, and whether its owner may use that server';

-- What applications say (docs/jobs-protocol.md).

CREATE FUNCTION pgbraid.refusal(run bigint, token uuid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN jsonb_build_object('ok', false, 'reason', coalesce((
	SELECT CASE WHEN r.state = 'running' AND r.token = refusal.token THEN 'the run was cancelled'
	            WHEN r.state = 'running' THEN 'another worker executes the run'
	            WHEN r.state = 'ready' AND r.token = refusal.token THEN 'the run has not been picked'
	            WHEN r.state = 'ready' THEN 'the run was offered again since'
	            ELSE concat_ws(': ', 'the run is ' || r.state, r.reason) END
	  FROM pgbraid.job_runs r WHERE r.id = refusal.run), 'there is no such run'))::text;
COMMENT ON FUNCTION pgbraid.refusal(bigint, uuid) IS 'the answer to who presents a token that does not count';

CREATE FUNCTION pgbraid.take_offer(run bigint, token uuid, worker text, OUT job bigint, OUT lease interval) RETURNS record
LANGUAGE plpgsql
AS $$
BEGIN
	IF coalesce(worker, '') = '' THEN
		RAISE EXCEPTION 'a worker needs a name' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	UPDATE pgbraid.job_runs r
	   SET state = 'running', liveness = 'lease', worker = left(take_offer.worker, 200), pid = NULL, pickups = r.pickups + 1,
	       picked_at = clock_timestamp(), started_at = clock_timestamp(),
	       deadline_at = clock_timestamp() + (SELECT j.timeout FROM pgbraid.jobs j WHERE j.id = r.job),
	       lease_until = clock_timestamp() + (SELECT coalesce((j.options->>'lease')::interval, '30 s') FROM pgbraid.jobs j WHERE j.id = r.job)
	 WHERE r.id = take_offer.run AND r.token = take_offer.token AND r.state || '' = 'ready' AND r.handler = 'nats'
	RETURNING r.job, (SELECT coalesce((j.options->>'lease')::interval, '30 s') FROM pgbraid.jobs j WHERE j.id = r.job) INTO job, lease;
	IF NOT FOUND THEN	-- the answer was lost, and it asks again
		SELECT r.job, r.lease_until - clock_timestamp() INTO job, lease FROM pgbraid.job_runs r
		 WHERE r.id = take_offer.run AND r.token = take_offer.token AND r.state || '' = 'running' AND r.handler = 'nats'
		   AND r.worker = left(take_offer.worker, 200) AND NOT r.cancel_requested;
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.take_offer(bigint, uuid, text) IS
	'gives a run to the worker that picked it; null if it is no longer offered with that token';

CREATE FUNCTION pgbraid.keep_lease(run bigint, token uuid, line text, OUT job bigint, OUT lease interval) RETURNS record
LANGUAGE plpgsql
AS $$
BEGIN
	UPDATE pgbraid.job_runs r
	   SET lease_until = clock_timestamp() + (SELECT coalesce((j.options->>'lease')::interval, '30 s') FROM pgbraid.jobs j WHERE j.id = r.job),
	       log = CASE WHEN keep_lease.line IS NULL THEN r.log
	                  ELSE left(concat(r.log, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z "'), keep_lease.line, E'\n'), 65536) END
	 WHERE r.id = keep_lease.run AND r.token = keep_lease.token AND r.state || '' = 'running' AND r.handler = 'nats' AND NOT r.cancel_requested
	RETURNING r.job, (SELECT coalesce((j.options->>'lease')::interval, '30 s') FROM pgbraid.jobs j WHERE j.id = r.job) INTO job, lease;
END;
$$;
COMMENT ON FUNCTION pgbraid.keep_lease(bigint, uuid, text) IS
	'notes that the worker of a run lives, and a line for its log; null if it is no longer its run';

CREATE FUNCTION pgbraid.end_offered(run bigint, token uuid, outcome text, said jsonb) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	ended bigint;
BEGIN
	UPDATE pgbraid.job_runs r
	   SET state = outcome, finished_at = clock_timestamp(), output = left(said->>'output', 65536),
	       error = CASE WHEN outcome = 'failed' THEN left(coalesce(said->>'error', 'the worker gave no reason'), 65536) END,
	       sqlstate = CASE WHEN outcome = 'failed' THEN substring(said->>'sqlstate' FROM '^[0-9A-Z]{5}$') END,
	       deadline_at = NULL, lease_until = NULL
	 WHERE r.id = end_offered.run AND r.token = end_offered.token AND r.state || '' = 'running' AND r.handler = 'nats' AND NOT r.cancel_requested
	RETURNING r.job INTO ended;
	IF NOT FOUND THEN	-- the answer was lost, and it says so again
		SELECT r.job INTO ended FROM pgbraid.job_runs r
		 WHERE r.id = end_offered.run AND r.token = end_offered.token AND r.state || '' = outcome AND r.handler = 'nats';
	END IF;
	RETURN ended;
END;
$$;
COMMENT ON FUNCTION pgbraid.end_offered(bigint, uuid, text, jsonb) IS 'ends a run as its worker says; null if it is no longer its run';

CREATE FUNCTION pgbraid.job_message(message text, OUT reply text, OUT run bigint, OUT job bigint, OUT kind text, OUT token uuid) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
	said jsonb := message;
	lease interval;
BEGIN
	run := said->>'run';
	token := said->>'token';
	kind := said->>'type';
	CASE kind
	WHEN 'picked' THEN
		SELECT t.job, t.lease INTO job, lease FROM pgbraid.take_offer(run, token, said->>'worker') t;
	WHEN 'heartbeat' THEN
		SELECT t.job, t.lease INTO job, lease FROM pgbraid.keep_lease(run, token, NULL) t;
	WHEN 'log' THEN
		SELECT t.job, t.lease INTO job, lease FROM pgbraid.keep_lease(run, token, coalesce(said->>'line', '')) t;
	WHEN 'progress' THEN
		SELECT t.job, t.lease INTO job, lease FROM pgbraid.keep_lease(run, token, concat('progress: ', said->'progress')) t;
	WHEN 'succeeded', 'failed' THEN
		job := pgbraid.end_offered(run, token, kind, said);
	ELSE
		RAISE EXCEPTION 'unknown type of message' USING ERRCODE = 'invalid_parameter_value';
	END CASE;
	IF job IS NULL THEN
		kind := 'refused';
		reply := pgbraid.refusal(run, token);
	ELSIF lease IS NOT NULL THEN
		reply := concat('{"ok":true,"lease_ms":', ceil(extract(epoch FROM lease) * 1000), '}');
	ELSE
		reply := '{"ok":true}';
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.job_message(text) IS 'does what an application says of a run that was offered to it over NATS, and gives the answer';
