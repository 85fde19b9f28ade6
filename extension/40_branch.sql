-- Branches and snapshots of databases. What they are is in security labels, which src/catalog/branches.h describes.

CREATE FUNCTION pgbraid.branch_operation(verb text, database oid, connect oid, request jsonb) RETURNS oid
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgbraid_branch_operation';
COMMENT ON FUNCTION pgbraid.branch_operation(text, oid, oid, jsonb) IS
	'has a background process carry out an operation on the family of the database, and waits for it';

CREATE FUNCTION pgbraid.branch_operations(OUT database oid, OUT operation text, OUT name text, OUT phase text, OUT attempt integer,
	OUT bytes_done bigint, OUT bytes_total bigint, OUT started_at timestamptz, OUT pid integer, OUT client integer) RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgbraid_branch_operations';
COMMENT ON FUNCTION pgbraid.branch_operations() IS 'the operations on branches that are going on in the cluster';

CREATE VIEW pgbraid.branches AS
SELECT d.oid AS database_oid, d.datname AS database, coalesce(l.label->>'family', d.datname) AS family,
       coalesce(l.label->>'name', 'main') AS name, coalesce(l.label->>'kind', 'branch') AS kind,
       d.datname = coalesce(l.label->>'family', d.datname) AS checked_out,
       coalesce((l.label->>'first')::boolean, l.label IS NULL) AS is_first, l.label->>'parent' AS parent, l.label->>'parent_kind' AS parent_kind, (l.label->>'created')::timestamptz AS created_at,
       coalesce((l.label->>'switched')::timestamptz, (l.label->>'created')::timestamptz) AS used_at,
       coalesce((l.label->>'protected')::boolean, false) AS protected, l.label->>'description' AS description,
       coalesce((l.label->>'spares')::integer, 0) AS spares_wanted,
       CASE WHEN l.label->>'state' = 'copying' AND d.datconnlimit = -2 THEN 'copying' ELSE 'ready' END AS state,
       l.label->'trashed'->>'was' AS trashed_kind, l.label->'trashed'->>'by' AS trashed_by,
       (l.label->'trashed'->>'at')::timestamptz AS trashed_at, coalesce(l.label->'log', '[]') AS log, l.label IS NOT NULL AS labelled
  FROM pg_database d
  LEFT JOIN LATERAL (SELECT s.label::jsonb FROM pg_shseclabel s
                      WHERE s.objoid = d.oid AND s.classoid = 'pg_database'::regclass AND s.provider = 'pgbraid') l ON true;
COMMENT ON VIEW pgbraid.branches IS 'every database of the cluster, as branch or snapshot of its family';
COMMENT ON COLUMN pgbraid.branches.database_oid IS 'the database';
COMMENT ON COLUMN pgbraid.branches.database IS 'its name at present';
COMMENT ON COLUMN pgbraid.branches.family IS 'the name that the checked-out branch of its family has';
COMMENT ON COLUMN pgbraid.branches.name IS 'of the branch or snapshot';
COMMENT ON COLUMN pgbraid.branches.kind IS 'branch, snapshot, spare (a copy of a snapshot that waits for a reset) or trash';
COMMENT ON COLUMN pgbraid.branches.checked_out IS 'it has the family''s name';
COMMENT ON COLUMN pgbraid.branches.is_first IS 'the family has begun with it';
COMMENT ON COLUMN pgbraid.branches.parent IS 'branch or snapshot that it was copied from';
COMMENT ON COLUMN pgbraid.branches.parent_kind IS 'whether that is a branch or a snapshot';
COMMENT ON COLUMN pgbraid.branches.created_at IS 'when it was made';
COMMENT ON COLUMN pgbraid.branches.used_at IS 'when it was last checked out or reset, or made';
COMMENT ON COLUMN pgbraid.branches.protected IS 'it can be neither dropped nor reset';
COMMENT ON COLUMN pgbraid.branches.description IS 'what somebody has said about it';
COMMENT ON COLUMN pgbraid.branches.spares_wanted IS 'of a snapshot: how many copies are kept ready for pgbranch_reset';
COMMENT ON COLUMN pgbraid.branches.state IS 'copying while it is being made, then ready';
COMMENT ON COLUMN pgbraid.branches.trashed_kind IS 'of trash: what it was';
COMMENT ON COLUMN pgbraid.branches.trashed_by IS 'of trash: drop or reset';
COMMENT ON COLUMN pgbraid.branches.trashed_at IS 'of trash: when; it is removed after pgbraid.branch_trash_age';
COMMENT ON COLUMN pgbraid.branches.log IS 'the latest operations on it';
COMMENT ON COLUMN pgbraid.branches.labelled IS 'an operation has been done to it';

-- A copy by other means (CREATE DATABASE TEMPLATE) has a family of its own, as its own branches have, and what was
-- restored elsewhere is of another cluster.
CREATE FUNCTION pgbraid.is_of_family(home text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN split_part(home, '/', 1) = split_part(pgbraid.here(), '/', 1) AND EXISTS (
	SELECT FROM pgbraid.branches made JOIN pgbraid.branches here ON here.family = made.family
	 WHERE made.database_oid = split_part(is_of_family.home, '/', 2)::oid AND made.labelled
	   AND here.database_oid = split_part(pgbraid.here(), '/', 2)::oid AND here.labelled);
COMMENT ON FUNCTION pgbraid.is_of_family(text) IS 'is the database of a flow with that home of the same family as this one?';

CREATE FUNCTION pgbraid.find_database(database name) RETURNS oid
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found oid := coalesce((SELECT d.oid FROM pg_database d WHERE d.datname = find_database.database),
		-- A family whose checked-out branch was dropped.
		(SELECT b.database_oid FROM pgbraid.branches b WHERE b.family = find_database.database ORDER BY b.kind, b.created_at LIMIT 1));
BEGIN
	IF found IS NULL THEN
		RAISE EXCEPTION 'database "%" does not exist', database USING ERRCODE = 'invalid_catalog_name',
			HINT = 'The argument "database" is the name of a database; pgbranch_list shows those of branches.';
	END IF;
	RETURN found;
END;
$$;
COMMENT ON FUNCTION pgbraid.find_database(name) IS 'oid of a database, or an error';

CREATE FUNCTION pgbraid.caller() RETURNS oid
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'pgbraid_caller';
COMMENT ON FUNCTION pgbraid.caller() IS 'the role that has called, whatever function this is in: of SET ROLE, or of the session';

CREATE FUNCTION pgbraid.readable_branch(database name) RETURNS SETOF pgbraid.branches
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found oid := pgbraid.find_database(database);
BEGIN
	IF NOT has_database_privilege(pgbraid.caller(), found, 'CONNECT') AND NOT pg_has_role(pgbraid.caller(), 'pg_monitor', 'USAGE') THEN
		RAISE EXCEPTION 'permission denied for database "%"', database USING ERRCODE = 'insufficient_privilege',
			HINT = 'Who may connect to it may look at its branches, and pg_monitor.';
	END IF;
	RETURN QUERY SELECT b.* FROM pgbraid.branches b WHERE b.database_oid = found;
END;
$$;
COMMENT ON FUNCTION pgbraid.readable_branch(name) IS 'what a database is, for a caller who may look at its branches';

CREATE FUNCTION pgbraid.find_branch(database oid, name text, kinds text[]) RETURNS oid
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mine text := (SELECT b.family FROM pgbraid.branches b WHERE b.database_oid = find_branch.database);
	found oid := (SELECT b.database_oid FROM pgbraid.branches b
	               WHERE b.family = mine AND b.name = find_branch.name AND b.kind = ANY (kinds) ORDER BY array_position(kinds, b.kind) LIMIT 1);
BEGIN
	IF found IS NULL THEN
		RAISE EXCEPTION '% "%" of database "%" does not exist', array_to_string(kinds, ' or '), name, mine
			USING ERRCODE = 'undefined_object', HINT = 'SELECT name, kind FROM pgbranch_list() shows those that do.';
	END IF;
	RETURN found;
END;
$$;
COMMENT ON FUNCTION pgbraid.find_branch(oid, text, text[]) IS 'oid of the database of a branch or snapshot, or an error';

CREATE FUNCTION pgbraid.branch_options(options jsonb, known text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	made jsonb := '{"timeout": 60000, "gate_timeout": 1000, "deadline": 5000}' || coalesce(options, '{}');
	key text;
BEGIN
	PERFORM pgbraid.check_options(coalesce(options, '{}'), known);
	FOREACH key IN ARRAY ARRAY['timeout', 'gate_timeout', 'deadline'] LOOP
		IF jsonb_typeof(made->key) = 'string' THEN
			made := jsonb_set(made, ARRAY[key], to_jsonb(least(extract(epoch FROM (made->>key)::interval) * 1000, 2147483647)::integer));
		END IF;
		IF jsonb_typeof(made->key) <> 'number' OR (made->>key)::numeric < 0 THEN
			RAISE EXCEPTION 'invalid value for %: %', key, made->key
				USING ERRCODE = 'invalid_parameter_value', HINT = 'It is an interval, "10 s" say, or a number of milliseconds.';
		END IF;
	END LOOP;
	RETURN made;
END;
$$;
COMMENT ON FUNCTION pgbraid.branch_options(jsonb, text[]) IS 'options of operations on branches, checked, with times in milliseconds';

CREATE FUNCTION @extschema@.pgbranch_init(branch text DEFAULT 'main', database name DEFAULT current_database()) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pgbraid.branch_operation('init', d, d, jsonb_build_object('name', branch)) FROM pgbraid.find_database(database) d $$;
COMMENT ON FUNCTION @extschema@.pgbranch_init(text, name) IS
	'names the branch that a database is, before it has others; without it the name is main';

CREATE FUNCTION @extschema@.pgbranch_snapshot(snapshot text, database name DEFAULT current_database(), options jsonb DEFAULT '{}') RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('snapshot', d, d,
       pgbraid.branch_options(options, '{timeout,gate_timeout,mode,method,force,description,spares}') || jsonb_build_object('name', snapshot))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_snapshot(text, name, jsonb) IS
	'makes an immutable copy of the branch that the database is, while its sessions go on; its oid';

CREATE FUNCTION @extschema@.pgbranch_create(branch text, source text DEFAULT NULL, database name DEFAULT current_database(),
	checkout boolean DEFAULT false, options jsonb DEFAULT '{}') RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('create', d, CASE WHEN source IS NULL THEN d ELSE pgbraid.find_branch(d, source, '{branch,snapshot}') END,
       pgbraid.branch_options(options, '{timeout,gate_timeout,mode,method,force,description,sessions,deadline}')
       || jsonb_build_object('name', branch, 'switch', checkout))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_create(text, text, name, boolean, jsonb) IS
	'makes a branch from the one that the database is, or from another branch or a snapshot; its oid';

CREATE FUNCTION @extschema@.pgbranch_checkout(branch text, database name DEFAULT current_database(), "create" boolean DEFAULT false,
	options jsonb DEFAULT '{}') RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('checkout', d, d,
       pgbraid.branch_options(options, '{sessions,deadline,force,timeout,gate_timeout,mode,method,description}')
       || jsonb_build_object('name', branch, 'create', "create"))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_checkout(text, name, boolean, jsonb) IS
	'gives the family''s name to the database of that branch, in one transaction that copies nothing; its oid';

CREATE FUNCTION @extschema@.pgbranch_reset(snapshot text, database name DEFAULT current_database(), options jsonb DEFAULT '{}') RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('reset', d, pgbraid.find_branch(d, snapshot, '{snapshot}'),
       pgbraid.branch_options(options, '{sessions,deadline,force,timeout,gate_timeout,method}') || jsonb_build_object('name', snapshot))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_reset(text, name, jsonb) IS
	'puts a copy of the snapshot, ready-made if there is a spare, in the place of the branch that the database is; its oid';

CREATE FUNCTION @extschema@.pgbranch_drop(name text, database name DEFAULT current_database(), force boolean DEFAULT false, kind text DEFAULT NULL) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('drop', d, d,
       jsonb_build_object('name', name, 'force', force, 'kind', kind))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_drop(text, name, boolean, text) IS
	'drops a branch or snapshot: its name is free at once, pgbranch_undo has it back until pgbraid.branch_trash_age has passed';

CREATE FUNCTION @extschema@.pgbranch_undo(name text DEFAULT NULL, database name DEFAULT current_database()) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('undo', d, d, jsonb_build_object('name', name)) FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_undo(text, name) IS 'takes back the latest drop or reset, or that of the branch or snapshot of that name';

CREATE FUNCTION @extschema@.pgbranch_rename(name text, new_name text, database name DEFAULT current_database(), kind text DEFAULT NULL) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('rename', d, d, jsonb_build_object('name', name, 'new_name', new_name, 'kind', kind))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_rename(text, text, name, text) IS 'renames a branch or snapshot';

CREATE FUNCTION @extschema@.pgbranch_protect(name text, database name DEFAULT current_database(), kind text DEFAULT NULL) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('protect', d, d, jsonb_build_object('name', name, 'kind', kind)) FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_protect(text, name, text) IS 'keeps a branch or snapshot from being dropped, reset or pruned';

CREATE FUNCTION @extschema@.pgbranch_unprotect(name text, database name DEFAULT current_database(), kind text DEFAULT NULL) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('unprotect', d, d, jsonb_build_object('name', name, 'kind', kind)) FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_unprotect(text, name, text) IS 'takes the protection away';

CREATE FUNCTION @extschema@.pgbranch_describe(name text, description text, database name DEFAULT current_database(), kind text DEFAULT NULL) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('describe', d, d, jsonb_build_object('name', name, 'description', description, 'kind', kind))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_describe(text, text, name, text) IS 'says something about a branch or snapshot; null says nothing';

CREATE FUNCTION @extschema@.pgbranch_spares(snapshot text, count integer, database name DEFAULT current_database()) RETURNS oid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbraid.branch_operation('spares', d, d, jsonb_build_object('name', snapshot, 'kind', 'snapshot', 'spares', count))
  FROM pgbraid.find_database(database) d
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_spares(text, integer, name) IS
	'keeps so many copies of the snapshot ready for pgbranch_reset; they are made in the background and take their place on the disk';

CREATE FUNCTION @extschema@.pgbranch_list(database name DEFAULT current_database())
RETURNS TABLE (name text, kind text, checked_out boolean, parent text, created_at timestamptz, used_at timestamptz, protected boolean,
	state text, spares integer, size bigint, description text, database_name name)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT b.name, b.kind, b.checked_out, b.parent, b.created_at, b.used_at, b.protected, b.state,
       (SELECT count(*)::integer FROM pgbraid.branches s WHERE s.family = b.family AND s.kind = 'spare' AND b.kind = 'snapshot' AND s.parent = b.name),
       pg_database_size(b.database_oid), b.description, b.database
  FROM pgbraid.readable_branch(pgbranch_list.database) m JOIN pgbraid.branches b ON b.family = m.family
 WHERE b.kind IN ('branch', 'snapshot')
 ORDER BY b.kind, b.created_at, b.name
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_list(name) IS 'the branches and snapshots of a database''s family';

CREATE FUNCTION @extschema@.pgbranch_status(database name DEFAULT current_database())
RETURNS TABLE (family text, branch text, database_name name, checked_out_branch text, branches bigint, snapshots bigint, spares bigint, trash bigint, size bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT m.family, m.name, m.database, (SELECT b.name FROM pgbraid.branches b WHERE b.family = m.family AND b.checked_out),
       count(*) FILTER (WHERE b.kind = 'branch'), count(*) FILTER (WHERE b.kind = 'snapshot'),
       count(*) FILTER (WHERE b.kind = 'spare'), count(*) FILTER (WHERE b.kind = 'trash'), sum(pg_database_size(b.database_oid))::bigint
  FROM pgbraid.readable_branch(pgbranch_status.database) m JOIN pgbraid.branches b ON b.family = m.family
 GROUP BY m.family, m.name, m.database
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_status(name) IS 'which branch the database is, and how many there are; size is that of all of them, on a disk without sharing';

CREATE FUNCTION @extschema@.pgbranch_log(database name DEFAULT current_database())
RETURNS TABLE (at timestamptz, operation text, name text, kind text, detail text, role text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT (e->>'at')::timestamptz, e->>'operation', b.name, coalesce(b.trashed_kind, b.kind), e->>'detail', e->>'role'
  FROM pgbraid.readable_branch(pgbranch_log.database) m JOIN pgbraid.branches b ON b.family = m.family
       CROSS JOIN jsonb_array_elements(b.log) e
 ORDER BY 1 DESC
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_log(name) IS
	'what has been done to the branches and snapshots that there are, and to those in the trash; the latest first';

CREATE FUNCTION @extschema@.pgbranch_prune(age interval DEFAULT '7 days', keep text[] DEFAULT '{}', database name DEFAULT current_database(),
	dry_run boolean DEFAULT true, kinds text[] DEFAULT '{branch}')
RETURNS TABLE (name text, kind text, used_at timestamptz, size bigint, dropped boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found record;
	mine pgbraid.branches := pgbraid.readable_branch(pgbranch_prune.database);
BEGIN
	FOR found IN
		SELECT b.* FROM pgbraid.branches b
		 WHERE b.family = mine.family AND b.kind = ANY (kinds) AND b.kind IN ('branch', 'snapshot') AND b.labelled AND b.state = 'ready' AND NOT b.checked_out AND NOT b.protected
		   AND b.database_oid <> mine.database_oid AND NOT b.is_first AND b.used_at < clock_timestamp() - age AND b.name <> ALL (keep)
		   AND NOT EXISTS (SELECT FROM pgbraid.branches c WHERE c.family = b.family AND c.parent = b.name AND c.parent_kind = b.kind AND c.kind IN ('branch', 'snapshot'))
		 ORDER BY b.used_at
	LOOP
		name := found.name;
		kind := found.kind;
		used_at := found.used_at;
		size := pg_database_size(found.database_oid);
		dropped := false;
		IF NOT dry_run THEN
			BEGIN
				PERFORM pgbraid.branch_operation('drop', mine.database_oid, mine.database_oid, jsonb_build_object('name', found.name, 'kind', found.kind));
				dropped := true;
			EXCEPTION WHEN object_in_use OR dependent_objects_still_exist OR insufficient_privilege THEN
				RAISE WARNING '% "%" stays: %', found.kind, found.name, SQLERRM;
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION @extschema@.pgbranch_prune(interval, text[], name, boolean, text[]) IS
	'drops branches that have not been used for so long, or says which; never the checked-out one, protected ones, the first of the family, or those that others were made from';
