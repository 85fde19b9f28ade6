# Says what went, and what could not: the notices of the server tell why.
command_prune() {
	local days=${option[--days]:-7} found rows=() row name used dropped as_json status=0 objects=()
	require_number "$days"
	found=$(prune "$days") || return
	if [[ -n $found ]]; then mapfile -t rows <<<"$found"; fi
	for row in "${rows[@]}"; do
		IFS=$'\x1f' read -r name used dropped as_json <<<"$row"
		if [[ -z ${option[-y]:-} ]]; then
			say "Would delete branch \"$name\", last used $used."
		elif [[ $dropped == t ]]; then
			say "Deleted branch \"$name\", last used $used; $(typed pgbranch undo "$name") has it back."
		else
			status=$failed
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

prune() { # days
	local i kept='' arguments=(-v days="$1" -v is_dry="$([[ -z ${option[-y]:-} ]] && echo true || echo false)")
	for ((i = 0; i < ${#keep[@]}; i++)); do
		arguments+=(-v "keep_$i=${keep[i]}")
		kept+="${kept:+, }:'keep_$i'"
	done
	query "${arguments[@]}" <<SQL
SELECT name, to_char(used_at, 'YYYY-MM-DD HH24:MI'), dropped, row_to_json(p)
  FROM :pgbraid.pgbranch_prune(make_interval(days => :'days'), ARRAY[$kept]::text[], :'database', dry_run => :'is_dry') p;
SQL
}
