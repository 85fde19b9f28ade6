command_list() {
	query <<'SQL' | tidied
\if :json
SELECT coalesce(json_agg(l), '[]') FROM :pgbraid.pgbranch_list(:'database') l;
\else
\pset format aligned
\pset border 0
\pset footer off
\pset tuples_only off
SELECT CASE WHEN checked_out THEN '*' ELSE '' END AS " ", kind, name, coalesce(parent, '') AS "from",
       to_char(created_at, 'YYYY-MM-DD HH24:MI') AS created, to_char(used_at, 'YYYY-MM-DD HH24:MI') AS used,
       pg_size_pretty(size) AS size,
       concat_ws(', ', CASE WHEN state <> 'ready' THEN state END, CASE WHEN protected THEN 'protected' END,
                 CASE WHEN spares > 0 THEN 'spares: ' || spares END, translate(description, chr(10), ' ')) AS remarks
  FROM :pgbraid.pgbranch_list(:'database');
\endif
SQL
}

command_status() {
	local here='' hook=''
	if is_in_repository; then
		here=$(git_branch) || true
		hook=$(hook_state)
	fi
	query -v here="$here" -v hook="$hook" <<'SQL'
SELECT *, coalesce(checked_out_branch, '') AS current, pg_size_pretty(size) AS pretty
  FROM :pgbraid.pgbranch_status(:'database') \gset
\if :json
SELECT to_jsonb(s) || jsonb_build_object('git_branch', nullif(:'here', ''), 'hook', nullif(:'hook', ''))
  FROM :pgbraid.pgbranch_status(:'database') s;
\else
SELECT CASE WHEN :'current' = '' THEN format('Database "%s" has no branch checked out', :'family')
            ELSE format('Database "%s" is on branch "%s"', :'family', :'current') END;
SELECT format('Database "%s" is its branch "%s"', :'database_name', :'branch') WHERE :'branch' <> :'current';
SELECT format('Branches: %s, snapshots: %s, spares: %s, in the trash: %s; together %s',
       :branches, :snapshots, :spares, :trash, :'pretty');
SELECT format('Git is on branch "%s", too', :'here') WHERE :'here' = :'current';
SELECT format('Git is on branch "%s"', :'here') WHERE :'here' NOT IN ('', :'current');
SELECT format('The hook of git is %s', :'hook') WHERE :'hook' <> '';
\endif
SQL
}

command_log() {
	local limit=${option[-n]:-}
	if [[ -n $limit ]]; then require_number "$limit"; fi
	query -v limit="$limit" <<'SQL' | tidied
\if :json
SELECT coalesce(json_agg(l), '[]')
  FROM (SELECT * FROM :pgbraid.pgbranch_log(:'database') LIMIT nullif(:'limit', '')::bigint) l;
\else
\pset format aligned
\pset border 0
SELECT to_char(at, 'YYYY-MM-DD HH24:MI:SS') AS at, operation, kind || ' ' || name AS name, coalesce(detail, '') AS how,
       coalesce(role, '') AS role
  FROM :pgbraid.pgbranch_log(:'database') LIMIT nullif(:'limit', '')::bigint;
\endif
SQL
}
