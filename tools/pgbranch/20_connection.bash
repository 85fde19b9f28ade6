read_configuration() {
	local entry
	while IFS= read -r -d '' entry; do
		entry=${entry#pgbranch.}
		if [[ $entry == *$'\n'* ]]; then
			stored[${entry%%$'\n'*}]=${entry#*$'\n'}
		fi
	done < <(git config --null --get-regexp '^pgbranch\.' 2>/dev/null || true)
}

# What psql takes for more than a name after -d.
is_connection_string() { # text
	[[ $1 == *=* || $1 == postgres://* || $1 == postgresql://* ]]
}

# A name for -d, whatever is in it.
name_for_psql() { # database
	local value=${1//\\/\\\\}
	if is_connection_string "$1"; then
		printf "dbname='%s'" "${value//\'/\\\'}"
	else
		printf '%s' "$1"
	fi
}

refuse_password() { # text
	local keyword='(^|[[:space:]?&])(ssl)?password[[:space:]]*=' user_and_password='://[^/@]*:[^/@]*@'
	if is_connection_string "$1" && [[ $1 =~ $keyword || $1 =~ $user_and_password ]]; then
		misused 'everybody can see a password on a command line: put it into ~/.pgpass'
	fi
}

# Host, port or user: as an option says, else as libpq finds it, else as stored.
add_part() { # option key what-libpq-has
	if [[ -n ${option[$1]:-} ]]; then
		connection+=("$1" "${option[$1]}")
	elif [[ -z $3 && -n ${stored[$2]:-} ]]; then
		connection+=("$1" "${stored[$2]}")
	fi
}

find_connection() {
	local said=${option[-d]:-} via=${option[--via]:-} database elsewhere=${PGSERVICE:-}
	refuse_password "$said"
	refuse_password "$via"
	if [[ -z $said${PGDATABASE:-}${PGSERVICE:-} ]]; then
		said=${stored[dbname]:-}
	fi
	database=${said:-${PGDATABASE:-}}
	if [[ -z $via && -n $database ]] && ! is_connection_string "$database"; then
		via=${stored[via]:-}
	fi
	if [[ -n $via ]]; then
		if [[ -z $database ]] || is_connection_string "$database"; then
			misused 'beside --via, -d is the name of a database'
		fi
		connection+=(-v "database=$database")
		said=$via
	fi
	if is_connection_string "$said"; then
		elsewhere=$said
	fi
	if [[ -n $said ]]; then
		connection+=(-d "$said")
	fi
	add_part -h host "${PGHOST:-}${PGHOSTADDR:-}$elsewhere"
	add_part -p port "${PGPORT:-}$elsewhere"
	add_part -U user "${PGUSER:-}$elsewhere"
}
