-- What the extension consists of, and whom it lets in.
CREATE EXTENSION pgbraid;
\pset format unaligned
\pset footer off

-- The functions, as they are called.
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
  FROM pg_proc p
 WHERE p.proname ~ '^pg(flow|job|branch)_' AND pronamespace = 'public'::regnamespace
 ORDER BY 1;

-- They are in the schema of CREATE EXTENSION; all else is in the schema pgbraid. No row may come.
SELECT pg_describe_object(classid, objid, 0) FROM pg_depend d
 WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgbraid') AND deptype = 'e'
   AND (classid = 'pg_proc'::regclass AND (SELECT pronamespace::regnamespace::text <> 'pgbraid' AND proname !~ '^pg(flow|job|branch|tenant)_' AND proname <> 'me' FROM pg_proc WHERE oid = objid)
     OR classid = 'pg_class'::regclass AND (SELECT relnamespace::regnamespace::text <> 'pgbraid' FROM pg_class WHERE oid = objid));

-- Everything has a comment: no row may come.
SELECT pg_describe_object(classid, objid, 0) FROM pg_depend d
 WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgbraid') AND deptype = 'e'
   AND classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass, 'pg_foreign_data_wrapper'::regclass)
   AND NOT (classid = 'pg_class'::regclass AND (SELECT relkind NOT IN ('r', 'v') FROM pg_class WHERE oid = objid))
   AND obj_description(objid, classid::regclass::name) IS NULL;
SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
 WHERE relnamespace = 'pgbraid'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
   AND col_description(attrelid, attnum) IS NULL;

-- Nothing is for everybody: no row may come.
SELECT pg_describe_object(classid, objid, 0) FROM pg_depend d
 WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgbraid') AND deptype = 'e'
   AND CASE classid
       WHEN 'pg_proc'::regclass THEN has_function_privilege('public', objid, 'EXECUTE')
       WHEN 'pg_class'::regclass THEN (SELECT CASE WHEN relkind = 'S' THEN has_sequence_privilege('public', oid, 'USAGE, SELECT, UPDATE')
                                                   ELSE has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') END
                                         FROM pg_class WHERE oid = objid AND relkind IN ('r', 'v', 'S'))
       WHEN 'pg_namespace'::regclass THEN has_schema_privilege('public', objid, 'USAGE, CREATE')
       WHEN 'pg_foreign_data_wrapper'::regclass THEN has_foreign_data_wrapper_privilege('public', objid, 'USAGE')
       ELSE false END;

-- Functions do not depend on the search_path of the caller: no row may come.
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = prolang
 WHERE (pronamespace = 'pgbraid'::regnamespace OR proname ~ '^pg(flow|job|branch)_') AND lanname IN ('sql', 'plpgsql')
   AND NOT coalesce(proconfig::text ~ 'search_path=pg_catalog', false)
 ORDER BY p.oid::regprocedure::text COLLATE "C";

-- What pg_dump takes along: configuration, and not the progress of slots, which are not dumped either.
SELECT c.oid::regclass FROM pg_extension, unnest(extconfig) AS c(oid) WHERE extname = 'pgbraid' ORDER BY c.oid::regclass::text COLLATE "C";

-- The settings.
SELECT name, context, unit FROM pg_settings WHERE name LIKE 'pgbraid.%' AND name IN ('pgbraid.nats_url', 'pgbraid.max_workers', 'pgbraid.flow_memory', 'pgbraid.flow_save_interval', 'pgbraid.job_executors', 'pgbraid.job_concurrency', 'pgbraid.restart_delay_max') ORDER BY name COLLATE "C";

DROP EXTENSION pgbraid;
SELECT count(*) FROM pg_namespace WHERE nspname = 'pgbraid';
