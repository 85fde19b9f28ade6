-- What the options "columns" and "filter" of a flow say of tables; check_flow calls what is here.

CREATE FUNCTION pgbraid.published_table(flow pgbraid.flows, option text, name text) RETURNS regclass
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[] := '{}';
	found regclass;
BEGIN
	BEGIN
		parts := parse_ident(name);
	EXCEPTION WHEN invalid_parameter_value THEN
		NULL;
	END;
	IF cardinality(parts) <> 2 OR format('%I.%I', parts[1], parts[2]) <> name THEN
		RAISE EXCEPTION 'option "%" names a table as "%"', option, name
			USING ERRCODE = 'invalid_parameter_value',
			      HINT = CASE WHEN cardinality(parts) = 2 THEN format('Write %I.%I.', parts[1], parts[2])
			                  ELSE 'Write schema and table, in double quotes where they need it, such as public.orders.' END;
	END IF;
	SELECT c.oid INTO found FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE n.nspname = parts[1] AND c.relname = parts[2] AND c.relkind IN ('r', 'p');
	RETURN (SELECT found WHERE EXISTS (SELECT FROM pg_publication_tables p
	         WHERE p.pubname = flow.publication AND p.schemaname = parts[1] AND p.tablename = parts[2]));
END;
$$;
COMMENT ON FUNCTION pgbraid.published_table(pgbraid.flows, text, text) IS
	'the table that an option names, if the flow publishes it under that name, else null; an error for a name in another spelling';

CREATE FUNCTION pgbraid.key_columns(tab regclass) RETURNS SETOF name
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT a.attname FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
	  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
	 WHERE c.oid = tab AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false ELSE i.indisprimary END;
END;
COMMENT ON FUNCTION pgbraid.key_columns(regclass) IS 'the columns of the key that events of a table show';

CREATE FUNCTION pgbraid.check_column_rule(tab text, col text, rule jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	problem text;
	example text;
BEGIN
	PERFORM pgbraid.check_options(rule, '{mask,keep,value,rename,drop,if_exists}');
	IF rule ? 'mask' AND coalesce(rule->>'mask', '') NOT IN ('hash', 'partial', 'fixed') THEN
		problem := 'unknown mask';
		example := 'Masks are hash, partial and fixed.';
	ELSIF (rule->'mask' = '"partial"') IS DISTINCT FROM (rule ? 'keep') AND (rule ? 'keep' OR rule->'mask' = '"partial"') THEN
		problem := 'mask partial and "keep" belong together';
		example := 'Write {"mask": "partial", "keep": 4}.';
	ELSIF rule ? 'keep' AND rule->>'keep' !~ '^[0-9]{1,6}$' THEN
		problem := '"keep" must be a number of characters';
		example := 'Write {"mask": "partial", "keep": 4}.';
	ELSIF (rule->'mask' = '"fixed"') IS DISTINCT FROM (rule ? 'value') AND (rule ? 'value' OR rule->'mask' = '"fixed"') THEN
		problem := 'mask fixed and "value" belong together';
		example := 'Write {"mask": "fixed", "value": "***"}.';
	ELSIF jsonb_typeof(rule->'value') <> 'string' THEN
		problem := '"value" must be a string';
		example := 'Write {"mask": "fixed", "value": "***"}.';
	ELSIF rule ? 'rename' AND (jsonb_typeof(rule->'rename') <> 'string' OR rule->>'rename' = '') THEN
		problem := '"rename" must be a name';
		example := 'Write {"rename": "newName"}.';
	ELSIF rule ? 'drop' AND (rule->'drop' <> 'true' OR rule ?| '{mask,rename}') THEN
		problem := '"drop" can only be true, and alone';
		example := 'Write {"drop": true}.';
	ELSIF jsonb_typeof(rule->'if_exists') <> 'boolean' THEN
		problem := '"if_exists" must be true or false';
		example := 'Write {"drop": true, "if_exists": true}.';
	ELSIF NOT rule ?| '{mask,rename,drop}' THEN
		problem := 'it says nothing';
		example := 'A rule has "mask", "rename" or "drop".';
	END IF;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'option "columns" for column "%" of table "%": %', col, tab, problem
			USING ERRCODE = 'invalid_parameter_value', HINT = example;
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_column_rule(text, text, jsonb) IS 'raises an error for a rule that makes no sense, whatever the table';

CREATE FUNCTION pgbraid.check_column(tab regclass, name text, col text, rule jsonb) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM pgbraid.check_column_rule(name, col, rule);
	IF coalesce((rule->>'if_exists')::boolean, false) THEN
		NULL;	-- it may come later
	ELSIF tab IS NULL THEN
		RAISE EXCEPTION 'option "columns" names table "%", which the flow does not publish', name
			USING ERRCODE = 'undefined_table',
			      HINT = 'Name a table as it is published; for one that comes later add "if_exists": true to the rules of its columns.';
	ELSIF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tab AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped) THEN
		RAISE EXCEPTION 'column "%" of table "%" does not exist', col, name
			USING ERRCODE = 'undefined_column', HINT = 'Correct its name; for a column that comes later, or goes, add "if_exists": true.';
	END IF;
	IF tab IS NOT NULL AND (rule ? 'drop' OR rule->>'mask' IN ('fixed', 'partial'))
	   AND col IN (SELECT k FROM pgbraid.key_columns(tab) k)
	THEN
		RAISE EXCEPTION 'column "%" of table "%" is part of the key, which must tell rows apart', col, name
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Write {"mask": "hash"}; a key column can be hashed and renamed.';
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_column(regclass, text, text, jsonb) IS 'raises an error for a rule that does not fit the table';

CREATE FUNCTION pgbraid.check_mask_key(flow pgbraid.flows) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mapping record;
BEGIN
	SELECT m.umuser, m.umoptions INTO mapping FROM pg_user_mappings m
	 WHERE m.srvname = flow.server AND m.umuser IN (coalesce(flow.owner, current_user::regrole)::oid, 0)
	 ORDER BY m.umuser = 0 LIMIT 1;
	IF NOT EXISTS (SELECT FROM unnest(mapping.umoptions) o WHERE o LIKE 'mask\_key=%') THEN
		RAISE EXCEPTION 'mask hash needs a key'
			USING ERRCODE = 'object_not_in_prerequisite_state',
			      HINT = CASE WHEN flow.server IS NULL THEN 'Keys belong to user mappings: CREATE SERVER and CREATE USER MAPPING ... OPTIONS (mask_key ''...''), then server => ''...''.'
			                  WHEN mapping.umuser IS NULL THEN format('CREATE USER MAPPING FOR CURRENT_USER SERVER %I OPTIONS (mask_key ''...'');', flow.server)
			                  ELSE format('ALTER USER MAPPING FOR %s SERVER %I OPTIONS (ADD mask_key ''...'');',
			                              CASE mapping.umuser WHEN 0 THEN 'PUBLIC' ELSE mapping.umuser::regrole::text END, flow.server) END;
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_mask_key(pgbraid.flows) IS 'raises an error for a flow whose user mapping has no mask_key';

CREATE FUNCTION pgbraid.check_columns(flow pgbraid.flows) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text;
	rules jsonb;
	tab regclass;
	twice text;
BEGIN
	IF jsonb_typeof(flow.options->'columns') <> 'object' OR EXISTS (
		SELECT FROM jsonb_each(flow.options->'columns') t
		 WHERE jsonb_typeof(t.value) <> 'object' OR EXISTS (SELECT FROM jsonb_each(t.value) c WHERE jsonb_typeof(c.value) <> 'object'))
	THEN
		RAISE EXCEPTION 'option "columns" must be an object of tables with an object of columns each'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Write options => ''{"columns": {"public.orders": {"email": {"mask": "hash"}}}}''.';
	END IF;
	FOR name, rules IN SELECT t.key, t.value FROM jsonb_each(flow.options->'columns') t LOOP
		tab := pgbraid.published_table(flow, 'columns', name);
		PERFORM pgbraid.check_column(tab, name, c.key, c.value) FROM jsonb_each(rules) c;
		SELECT n.new INTO twice FROM (
			SELECT coalesce(rules->a.attname->>'rename', a.attname) FROM pg_attribute a
			 WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped AND NOT coalesce(rules->a.attname ? 'drop', false)) n (new)
		 GROUP BY n.new HAVING count(*) > 1 LIMIT 1;
		IF twice IS NOT NULL THEN
			RAISE EXCEPTION 'two columns of table "%" would be published as "%"', name, twice
				USING ERRCODE = 'duplicate_column', HINT = 'Rename one of them to something else, or drop it.';
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM jsonb_each(flow.options->'columns') t, jsonb_each(t.value) c WHERE c.value->>'mask' = 'hash') THEN
		PERFORM pgbraid.check_mask_key(flow);
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_columns(pgbraid.flows) IS 'raises an error for an option "columns" that can''t work';

CREATE FUNCTION pgbraid.filter_columns(tab regclass, condition text) RETURNS name[]
LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'pgbraid_filter_columns';
COMMENT ON FUNCTION pgbraid.filter_columns(regclass, text) IS 'the columns that the filter of a flow uses; an error for what is no expression';

-- PostgreSQL checks the WHERE of a publication, and nobody else could do it as well: so one is made and undone.
CREATE FUNCTION pgbraid.check_option_filter(tab regclass, name text, condition text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	state text;
	message text;
	detail text;
BEGIN
	PERFORM pgbraid.filter_columns(tab, condition);
	EXECUTE format(E'CREATE PUBLICATION %I FOR TABLE ONLY %s WHERE (%s\n) WITH (publish = ''insert'', publish_via_partition_root)',
		'pgbraid_check_' || pg_backend_pid(), tab, condition);
	RAISE EXCEPTION USING ERRCODE = 'PB000', MESSAGE = 'undone';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	IF state <> 'PB000' THEN
		RAISE EXCEPTION 'filter of table "%": %', name, concat_ws(': ', message, nullif(detail, ''))
			USING ERRCODE = state,
			      HINT = 'A filter is a boolean expression over columns of the table, with built-in immutable functions only, as the WHERE of a publication.';
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_option_filter(regclass, text, text) IS 'raises an error for a filter that could not be the WHERE of a publication';

-- The old row has the columns of the replica identity only.
CREATE FUNCTION pgbraid.check_filter_identity(flow pgbraid.flows, tab regclass, name text, condition text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = flow.publication AND (p.pubupdate OR p.pubdelete)) THEN
		RETURN;
	END IF;
	SELECT u INTO missing FROM unnest(pgbraid.filter_columns(tab, condition)) u
	  CROSS JOIN (SELECT relid FROM pg_partition_tree(tab) WHERE isleaf UNION SELECT tab) leaf
	  JOIN pg_class c ON c.oid = leaf.relid
	 WHERE c.relkind = 'r' AND c.relreplident <> 'f' AND u NOT IN (SELECT k FROM pgbraid.key_columns(leaf.relid) k) LIMIT 1;
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'filter of table "%" uses column "%", which is not part of the replica identity', name, missing
			USING ERRCODE = 'invalid_column_reference',
			      HINT = format('ALTER TABLE %s REPLICA IDENTITY FULL; or use a publication that publishes inserts only.', tab);
	END IF;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_filter_identity(pgbraid.flows, regclass, text, text) IS
	'raises an error for a filter that could not be applied to updates and deletes';

CREATE FUNCTION pgbraid.check_filters(flow pgbraid.flows) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text;
	condition text;
	tab regclass;
BEGIN
	IF jsonb_typeof(flow.options->'filter') <> 'object'
	   OR EXISTS (SELECT FROM jsonb_each(flow.options->'filter') t WHERE jsonb_typeof(t.value) <> 'string')
	THEN
		RAISE EXCEPTION 'option "filter" must be an object of tables with an expression each'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Write options => ''{"filter": {"public.orders": "amount > 10"}}''.';
	END IF;
	FOR name, condition IN SELECT t.key, t.value FROM jsonb_each_text(flow.options->'filter') t LOOP
		tab := pgbraid.published_table(flow, 'filter', name);
		IF tab IS NULL THEN
			RAISE EXCEPTION 'option "filter" names table "%", which the flow does not publish', name
				USING ERRCODE = 'undefined_table', HINT = 'Name a table as it is published.';
		END IF;
		PERFORM pgbraid.check_option_filter(tab, name, condition);
		PERFORM pgbraid.check_filter_identity(flow, tab, name, condition);
	END LOOP;
END;
$$;
COMMENT ON FUNCTION pgbraid.check_filters(pgbraid.flows) IS 'raises an error for an option "filter" that can''t work';
