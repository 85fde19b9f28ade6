command_completion() {
	case ${words[0]} in
		bash) completion_script ;;
		words) complete_words "${words[@]:1}" ;;
		*) misused "completion bash, and not ${words[0]}" ;;
	esac
}

# The shell's part: which words there are, and how a name is quoted. What may follow is asked of pgbranch.
completion_script() {
	cat <<'BASH'
# pgbranch: completion for bash
_pgbranch_split() {	# the words up to the cursor, without quotes; the last one also as it was typed, and its open quote
	local line=${COMP_LINE:0:COMP_POINT} i char word=
	words=() raw='' quote=''
	for ((i = 0; i < ${#line}; i++)); do
		char=${line:i:1}
		if [[ -z $quote && $char == [[:blank:]] ]]; then
			if [[ -n $raw ]]; then words+=("$word"); fi
			word='' raw=''
			continue
		fi
		raw+=$char
		if [[ $char == '\' && $quote != "'" ]]; then
			i=$((i + 1))
			raw+=${line:i:1}
			word+=${line:i:1}
		elif [[ -z $quote && $char == ["\"'"] ]]; then
			quote=$char
		elif [[ -n $quote && $char == "$quote" ]]; then
			quote=''
		else
			word+=$char
		fi
	done
	words+=("$word")
}

_pgbranch() {
	local words raw quote candidate reply typed
	COMPREPLY=()
	_pgbranch_split
	typed=${raw%"${raw##*[=:@]}"}	# the shell replaces what comes after the last of these only, or from the last @ on
	typed=${typed%@}
	while IFS= read -r candidate; do
		if [[ $candidate != "${words[-1]}"* ]]; then continue; fi
		if [[ -n $quote ]]; then
			COMPREPLY+=("$candidate")
		else
			printf -v reply %q "$candidate"
			COMPREPLY+=("${reply#"$typed"}")
		fi
	done < <("${words[0]}" completion words -- "${words[@]:1}" 2>/dev/null)
}
complete -F _pgbranch pgbranch
BASH
}

# What may stand in the place of the last word.
complete_words() { # word...
	local last=${!#} word
	command='' is_lenient=1 words=() option=()
	parse "${@:1:$#-1}"
	if [[ $awaits == --keep ]]; then
		print_names branch
	elif [[ -n $awaits ]]; then
		return
	elif [[ $last == -* ]]; then
		for word in ${takes[$command]:-} --dbname --host --port --username --via --json --quiet --help; do
			if [[ $word == -* ]]; then printf '%s\n' "${word%=}"; fi
		done
	elif [[ -z $command ]]; then
		printf '%s\n' "${!takes[@]}" | sort
	else
		complete_name "$command/${#words[@]}"
	fi
}

complete_name() { # command/words-before
	case $1 in
		checkout/0) if [[ -z ${option[-b]:-} ]]; then print_names branch; fi ;;
		delete/0 | rename/0 | protect/0 | unprotect/0) print_names "$(kind_wanted)" ;;
		branch/1 | checkout/1) print_names any ;;
		reset/0 | spares/0) print_names snapshot ;;
		hook/0) printf '%s\n' install status uninstall ;;
		completion/0) echo bash ;;
	esac
}

print_names() { # branch, snapshot or any
	read_configuration
	find_connection
	connection+=(-w)
	PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-3} query -v kind="$1" <<'SQL'
SELECT DISTINCT name FROM :pgbraid.pgbranch_list(:'database') WHERE :'kind' IN (kind, 'any') ORDER BY name;
SQL
}
