\echo Use "CREATE EXTENSION pgbraid" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- Without IF NOT EXISTS: the extension owns the schema, and nobody else has put anything in it.
CREATE SCHEMA pgbraid;
COMMENT ON SCHEMA pgbraid IS 'tables, views and internal functions of the extension pgbraid';

CREATE FUNCTION pgbraid.here() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgbraid_here';
COMMENT ON FUNCTION pgbraid.here() IS
	'names this database among all: system identifier of the cluster and oid of the database';

CREATE FUNCTION pgbraid.catalog_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'pgbraid_catalog_changed';
COMMENT ON FUNCTION pgbraid.catalog_changed() IS 'tells the background workers, at commit, to read the catalog again';

CREATE FUNCTION pgbraid.check_options(given jsonb, known text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key text;
BEGIN
	IF jsonb_typeof(given) <> 'object' THEN
		RAISE EXCEPTION 'options must be a JSON object'
			USING ERRCODE = 'invalid_parameter_value', HINT = format('Known keys are %s.', array_to_string(known, ', '));
	END IF;
	FOR key IN SELECT jsonb_object_keys(given) LOOP
		IF key <> ALL (known) THEN
			RAISE EXCEPTION 'unknown option "%"', key
				USING ERRCODE = 'invalid_parameter_value', HINT = format('Known options are %s.', array_to_string(known, ', '));
		END IF;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_options(jsonb, text[]) IS 'raises an error for an option that is not known, naming those that are';

-- Where events go.

CREATE FUNCTION pgbraid.fdw_validator(options text[], catalog oid) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgbraid_fdw_validator';
COMMENT ON FUNCTION pgbraid.fdw_validator(text[], oid) IS 'checks the options of servers and user mappings of pgbraid_nats';

CREATE FOREIGN DATA WRAPPER pgbraid_nats NO HANDLER VALIDATOR pgbraid.fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER pgbraid_nats IS 'NATS servers that flows publish to and jobs are offered over; holds addresses and credentials, reads no tables';
