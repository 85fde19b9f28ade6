# Leaves the database that the functions are to be about in :'database'.
# shellcheck disable=SC2016 # $$ is a quote of SQL
readonly prologue='
SELECT count(*) > 0 AS is_there, current_database() AS connected, max(quote_ident(nspname)) AS pgbraid
  FROM pg_catalog.pg_extension JOIN pg_catalog.pg_namespace n ON n.oid = extnamespace WHERE extname = $$pgbraid$$ \gset
\if :is_there
\else
DO $do$
BEGIN
	RAISE EXCEPTION $$extension pgbraid is not in database "%"$$, current_database() USING ERRCODE = $$undefined_object$$,
		HINT = $$CREATE EXTENSION pgbraid puts it there; or say --via and a database of this server that has it.$$;
END
$do$;
\endif
\if :{?database}
\else
\set database :connected
\endif
\if :is_quiet
SET client_min_messages = warning;
\endif
'

# Puts what psql said into our words. That our own session stays on the branch that is left is nobody's concern.
explain() { # what-psql-said
	local line is_shown=1
	shown='' sqlstate=''
	while IFS= read -r line; do
		if [[ $line =~ ^psql:\<stdin\>:[0-9]+:\ (.*) ]]; then line=${BASH_REMATCH[1]}; fi
		line=${line#psql: }
		if [[ $line =~ ^[^:]+:\ \ ([0-9A-Z]{5}):\ (.*) ]]; then
			sqlstate=${BASH_REMATCH[1]}
			line="pgbranch: ${BASH_REMATCH[2]%, and this one until it reconnects}"
			is_shown=1
			if [[ $line == 'pgbranch: this session stays on what was branch '* ]]; then is_shown=; fi
		elif [[ $line =~ ^(error|fatal|warning):\ (.*) ]]; then
			line="pgbranch: ${BASH_REMATCH[2]}"
			is_shown=1
		elif [[ $line =~ ^(DETAIL|HINT):\ \  ]]; then
			is_shown=1
		elif [[ $line =~ ^[A-Z]+(\ [A-Z0-9]+)*:\  ]]; then
			is_shown=	# LOCATION, LINE 1
		fi
		shown+=${is_shown:+$line$'\n'}
	done <<<"$1"
}

# Runs SQL from standard input after the prologue; variables for it: -v name=value. A character that no name has, 1f,
# is between columns. Returns an exit code of ours, after it has printed what psql said.
query() { # psql-argument...
	local said='' status=0
	{ said=$(LC_ALL=C PGCLIENTENCODING=UTF8 PG_COLOR=never PGAPPNAME=${PGAPPNAME:-pgbranch} psql -XqAt -F $'\x1f' \
		-v ON_ERROR_STOP=1 -v VERBOSITY=verbose -v SHOW_CONTEXT=never -v "json=$(truth wants_json)" \
		-v "is_quiet=${option[-q]:-0}" "${connection[@]}" "$@" 2>&1 >&3 <<<"$prologue$(cat)") || status=$?; } 3>&1
	if [[ -n $said ]]; then
		explain "$said"
	fi
	if ((status == 3)) && [[ -n $tolerated && $sqlstate == "$tolerated" ]]; then
		return 0
	fi
	if [[ $said == *'invalid multibyte character'* ]]; then
		complain 'what is said is not in UTF-8'
	elif [[ $sqlstate == 42883 ]]; then	# undefined_function
		complain 'the extension pgbraid of this database has no branches yet' 'HINT:  ALTER EXTENSION pgbraid UPDATE'
	elif [[ -n $said ]]; then
		printf '%s' "$shown" >&2
	fi
	case $status in
		0) return 0 ;;
		2)
			if [[ -z ${option[-d]:-}${PGDATABASE:-}${PGSERVICE:-}${stored[dbname]:-} ]]; then
				printf 'HINT:  Say which database: %s\n' '-d, PGDATABASE, or once for a git repository: init -d' >&2
			fi
			return $unconnected
			;;
		*) return $failed ;;
	esac
}
