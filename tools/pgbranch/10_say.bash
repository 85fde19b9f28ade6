complain() { # message line...
	printf 'pgbranch: %s\n' "$1" >&2
	if (($# > 1)); then
		printf '%s\n' "${@:2}" >&2
	fi
}

refuse() { # message hint
	complain "$1" "HINT:  $2"
	exit $failed
}

misused() { # message
	complain "$1" "Try \"pgbranch ${command:+$command }--help\"."
	exit $misuse
}

wants_json() {
	[[ -n ${option[--json]:-} ]]
}

truth() { # command...
	if "$@"; then echo true; else echo false; fi
}

json_text() { # text
	local text=${1//\\/\\\\}
	text=${text//\"/\\\"}
	text=${text//$'\n'/\\n}
	printf '"%s"' "${text//$'\t'/\\t}"
}

json_object() { # key=text or key:=json...
	local word key object=
	for word; do
		key=${word%%=*}
		if [[ $key == *: ]]; then
			object+=", \"${key%:}\": ${word#*=}"
		else
			object+=", \"$key\": $(json_text "${word#*=}")"
		fi
	done
	printf '{%s}\n' "${object#, }"
}

# What was done: a sentence, or with --json an object.
report() { # sentence key=text or key:=json...
	if wants_json; then
		json_object "${@:2}"
	elif [[ -z ${option[-q]:-} ]]; then
		printf '%s\n' "$1"
	fi
}

# What somebody may type, quoted for a shell.
typed() { # word...
	local quoted
	printf -v quoted ' %q' "$@"
	printf '%s' "${quoted# }"
}

say() { # sentence
	if ! wants_json; then report "$1"; fi
}

# A table of psql without blanks at the end. The line of the checked-out branch stands out, on a terminal.
tidied() {
	local line green='' plain=''
	if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
		green=$'\e[32m' plain=$'\e[0m'
	fi
	while IFS= read -r line; do
		line=${line%"${line##*[! ]}"}
		if [[ -z $line ]]; then continue; fi
		if [[ $line == '* '* ]]; then
			line=$green$line$plain
		fi
		printf '%s\n' "$line"
	done
}
