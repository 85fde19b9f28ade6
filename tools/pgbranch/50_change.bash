kind_wanted() {
	if [[ -n ${option[--snapshot]:-} ]]; then echo snapshot; else echo branch; fi
}

store() { # key value
	if [[ -n $2 ]]; then
		git config --local "pgbranch.$1" "$2"
	else
		git config --local --unset-all "pgbranch.$1" || true
	fi
}

# A connection string is stored as it is, since it may say more; else where the connection has led.
store_connection() { # database host port user
	local said=${option[-d]:-${PGSERVICE:+service=$PGSERVICE}}
	if is_connection_string "$said"; then
		store dbname "$said"
		set -- '' '' '' ''
	else
		store dbname "$(name_for_psql "$1")"
	fi
	store host "$2"
	store port "$3"
	store user "$4"
	store via "${option[--via]:-}"
}

command_init() {
	local name=${option[--branch]:-} row database host port user branch has_begun here='' where='' tip=''
	if is_in_repository; then
		here=$(git_branch) || true
		name=${name:-$(trunk)}
	fi
	tolerated=42710	# it has branches already
	query -v name="${name:-main}" >/dev/null <<'SQL'
SELECT :pgbraid.pgbranch_init(:'name', :'database');
SQL
	tolerated=
	has_begun=$(truth test -z "$sqlstate")
	row=$(query <<'SQL'
SELECT family, :'HOST', :'PORT', :'USER', coalesce(checked_out_branch, branch)
  FROM :pgbraid.pgbranch_status(:'database');
SQL
	)
	IFS=$'\x1f' read -r database host port user branch <<<"$row"
	if [[ $has_begun == false && -n ${option[--branch]:-} && $branch != "$name" ]]; then
		refuse "branch \"$branch\" of database \"$database\" is checked out" \
			"To rename it: $(typed pgbranch rename "$branch" "$name")"
	fi
	if is_in_repository; then
		store_connection "$database" "$host" "$port" "$user"
		where=', which the git repository knows now'
		if [[ -n $here && $here != "$branch" ]]; then
			tip=$'\n'"Git is on branch \"$here\"; the database, too, after: $(typed pgbranch checkout -b "$here")"
		fi
	fi
	report "Database \"$database\" is on branch \"$branch\"$where.$tip" \
		operation=init database="$database" branch="$branch" \
		has_begun:="$has_begun" stored:="$(truth test -n "$where")"
}

command_branch() {
	if ((${#words[@]} > 0)); then
		create_branch false
		return
	fi
	query <<'SQL' | tidied
\if :json
SELECT coalesce(json_agg(l), '[]') FROM :pgbraid.pgbranch_list(:'database') l WHERE kind = 'branch';
\else
\pset format aligned
\pset border 0
SELECT CASE WHEN checked_out THEN '*' ELSE ' ' END AS " ", name, coalesce('from ' || parent, '') AS "-",
       pg_size_pretty(size) AS size,
       concat_ws(', ', CASE WHEN state <> 'ready' THEN state END, CASE WHEN protected THEN 'protected' END,
                 translate(description, chr(10), ' ')) AS remarks
  FROM :pgbraid.pgbranch_list(:'database') WHERE kind = 'branch';
\endif
SQL
}

create_branch() { # with-checkout
	local row source database
	row=$(query -v name="${words[0]}" ${words[1]:+-v source="${words[1]}"} -v checkout="$1" \
		-v about="${option[-m]:-}" <<'SQL'
SELECT branch AS own, family FROM :pgbraid.pgbranch_status(:'database') \gset
\if :{?source}
\else
\set source :own
\endif
SELECT :pgbraid.pgbranch_create(:'name', :'source', :'database', :'checkout',
       jsonb_strip_nulls(jsonb_build_object('description', nullif(:'about', '')))) AS oid \gset
SELECT :'source', :'family';
SQL
	)
	IFS=$'\x1f' read -r source database <<<"$row"
	if [[ $1 == true ]]; then
		report "Switched database \"$database\" to a new branch \"${words[0]}\" from \"$source\"." \
			operation=checkout database="$database" branch="${words[0]}" source="$source" created:=true
	else
		report "Created branch \"${words[0]}\" of database \"$database\" from \"$source\"." operation=create \
			database="$database" branch="${words[0]}" source="$source"
	fi
}

command_checkout() {
	local name=${words[0]} row database before said
	if [[ -n ${option[-b]:-} ]]; then
		create_branch true
		return
	fi
	if ((${#words[@]} > 1)); then
		misused 'only a new branch has a source: checkout -b NAME SOURCE'
	fi
	row=$(query -v name="$name" <<'SQL'
SELECT family, coalesce(checked_out_branch, '') AS before FROM :pgbraid.pgbranch_status(:'database') \gset
SELECT :pgbraid.pgbranch_checkout(:'name', :'database') AS oid \gset
SELECT :'family', :'before';
SQL
	)
	IFS=$'\x1f' read -r database before <<<"$row"
	said="Switched database \"$database\" to branch \"$name\"."
	if [[ $before == "$name" ]]; then
		said="Database \"$database\" is on branch \"$name\" already."
	fi
	report "$said" operation=checkout database="$database" branch="$name" before="$before" created:=false
}

command_snapshot() {
	local row branch database
	row=$(query -v name="${words[0]}" -v about="${option[-m]:-}" <<'SQL'
SELECT branch, family FROM :pgbraid.pgbranch_status(:'database') \gset
SELECT :pgbraid.pgbranch_snapshot(:'name', :'database',
       jsonb_strip_nulls(jsonb_build_object('description', nullif(:'about', '')))) AS oid \gset
SELECT :'branch', :'family';
SQL
	)
	IFS=$'\x1f' read -r branch database <<<"$row"
	report "Made snapshot \"${words[0]}\" of branch \"$branch\" of database \"$database\"." operation=snapshot \
		database="$database" snapshot="${words[0]}" branch="$branch"
}

command_reset() {
	local row branch database
	row=$(query -v name="${words[0]}" <<'SQL'
SELECT branch, family FROM :pgbraid.pgbranch_status(:'database') \gset
SELECT :pgbraid.pgbranch_reset(:'name', :'database') AS oid \gset
SELECT :'branch', :'family';
SQL
	)
	IFS=$'\x1f' read -r branch database <<<"$row"
	report "Reset branch \"$branch\" of database \"$database\" to snapshot \"${words[0]}\"; \
$(typed pgbranch undo "$branch") takes that back." \
		operation=reset database="$database" branch="$branch" snapshot="${words[0]}"
}

# What was checked out is gone then, and a connection to the database has to be one to another branch of it.
command_delete() {
	local name=${words[0]} kind row was_checked_out other other_database database tip=''
	kind=$(kind_wanted)
	row=$(query -v name="$name" -v kind="$kind" -v force="${option[-f]:-0}" <<'SQL'
SELECT family FROM :pgbraid.pgbranch_status(:'database') \gset
SELECT bool_or(checked_out AND name = :'name') AS was_checked_out,
       coalesce((array_agg(name ORDER BY name) FILTER (WHERE name <> :'name'))[1], '') AS other,
       coalesce((array_agg(database_name ORDER BY name) FILTER (WHERE name <> :'name'))[1], '') AS other_database
  FROM :pgbraid.pgbranch_list(:'database') WHERE kind = 'branch' \gset
SELECT :pgbraid.pgbranch_drop(:'name', :'database', :'force'::integer::boolean, :'kind') AS oid \gset
SELECT :'family', :'was_checked_out'::boolean AND :'kind' = 'branch', :'other', :'other_database';
SQL
	)
	IFS=$'\x1f' read -r database was_checked_out other other_database <<<"$row"
	if [[ $was_checked_out == t && -n $other ]]; then
		tip=$'\n'"No branch is checked out now. For another one: $(typed pgbranch -d "$other_database" checkout "$other")"
	fi
	report "Deleted $kind \"$name\" of database \"$database\"; $(typed pgbranch undo "$name") has it back.$tip" \
		operation=delete database="$database" kind="$kind" name="$name"
}

command_rename() {
	local kind
	kind=$(kind_wanted)
	query -v name="${words[0]}" -v new_name="${words[1]}" -v kind="$kind" >/dev/null <<'SQL'
SELECT :pgbraid.pgbranch_rename(:'name', :'new_name', :'database', :'kind');
SQL
	report "Renamed $kind \"${words[0]}\" to \"${words[1]}\"." \
		operation=rename kind="$kind" name="${words[1]}" before="${words[0]}"
}

command_undo() {
	local row database kind name
	row=$(query -v name="${words[0]:-}" <<'SQL'
SET client_min_messages = warning;
SELECT family FROM :pgbraid.pgbranch_status(:'database') \gset
SELECT :pgbraid.pgbranch_undo(nullif(:'name', ''), :'database') AS oid \gset
SELECT :'family', kind, name
  FROM :pgbraid.pgbranch_list(current_database()) JOIN pg_catalog.pg_database ON datname = database_name
 WHERE oid = :'oid';
SQL
	)
	IFS=$'\x1f' read -r database kind name <<<"$row"
	report "Put $kind \"$name\" of database \"$database\" back." \
		operation=undo database="$database" kind="$kind" name="$name"
}

command_protect() {
	set_protection pgbranch_protect 'is protected'
}

command_unprotect() {
	set_protection pgbranch_unprotect 'is not protected any more'
}

set_protection() { # function what-is-so-then
	local kind
	kind=$(kind_wanted)
	query -v function="$1" -v name="${words[0]}" -v kind="$kind" >/dev/null <<'SQL'
SELECT :pgbraid.:"function"(:'name', :'database', :'kind');
SQL
	report "${kind^} \"${words[0]}\" $2." operation="$command" kind="$kind" name="${words[0]}"
}

command_spares() {
	require_number "${words[1]}"
	query -v name="${words[0]}" -v count="${words[1]}" >/dev/null <<'SQL'
SELECT :pgbraid.pgbranch_spares(:'name', :'count', :'database');
SQL
	report "Spares of snapshot \"${words[0]}\" to be kept ready: $((10#${words[1]}))." \
		operation=spares snapshot="${words[0]}" spares:="$((10#${words[1]}))"
}
