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

# One by one, so that one that can't go keeps none of the others, and what went is said.
command_prune() {
	local days=${option[--days]:-7} found rows=() row name used as_json status=0 objects=()
	require_number "$days"
	found=$(find_unused "$days")
	if [[ -n $found ]]; then mapfile -t rows <<<"$found"; fi
	for row in "${rows[@]}"; do
		IFS=$'\x1f' read -r name used as_json <<<"$row"
		if [[ -z ${option[-y]:-} ]]; then
			say "Would delete branch \"$name\", last used $used."
		elif drop_branch "$name"; then
			as_json=${as_json/%\"dropped\":false\}/\"dropped\":true\}}
			say "Deleted branch \"$name\", last used $used; $(typed pgbranch undo "$name") has it back."
		else
			status=$?
			complain "branch \"$name\" stays"
		fi
		objects+=("$as_json")
	done
	if wants_json; then
		(IFS=,; printf '[%s]\n' "${objects[*]}")
	elif ((${#rows[@]} == 0)); then
		say "No branch that may go has been unused for $days days."
	elif [[ -z ${option[-y]:-} ]]; then
		say "Nothing is deleted without -y."
	fi
	return "$status"
}

drop_branch() { # name
	query -v name="$1" >/dev/null <<'SQL'
SELECT :pgbraid.pgbranch_drop(:'name', :'database', kind => 'branch');
SQL
}

find_unused() { # days
	local i kept='' arguments=(-v days="$1")
	for ((i = 0; i < ${#keep[@]}; i++)); do
		arguments+=(-v "keep_$i=${keep[i]}")
		kept+="${kept:+, }:'keep_$i'"
	done
	query "${arguments[@]}" <<SQL
SELECT name, to_char(used_at, 'YYYY-MM-DD HH24:MI'), row_to_json(p)
  FROM :pgbraid.pgbranch_prune(make_interval(days => :'days'), ARRAY[$kept]::text[], :'database') p;
SQL
}
