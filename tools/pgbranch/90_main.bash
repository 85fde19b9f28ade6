is_lenient=	# while a line is not complete yet
awaits=	# the option at the end that has no value yet

long_option() { # option
	case $1 in
		--dbname) printf '%s' -d ;;
		--host) printf '%s' -h ;;
		--port) printf '%s' -p ;;
		--username) printf '%s' -U ;;
		--quiet) printf '%s' -q ;;
		*) printf '%s' "$1" ;;
	esac
}

takes_value() { # option
	[[ ' -d -h -p -U --via ' == *" $1 "* || -n $command && " ${takes[$command]} " == *" $1= "* ]]
}

is_flag() { # option
	[[ ' -q --json --help --version ' == *" $1 "* || -n $command && " ${takes[$command]} " == *" $1 "* ]]
}

require_number() { # text
	if [[ ! $1 =~ ^[0-9]{1,9}$ ]]; then misused "\"$1\" is no number"; fi
}

# Into the command, its options and its words.
parse() { # argument...
	local name value
	awaits=
	while (($# > 0)); do
		name=$1
		shift
		if [[ $name == -- ]]; then
			while (($# > 0)); do
				take_word "$1"
				shift
			done
		elif [[ $name != -?* ]]; then
			take_word "$name"
		elif [[ $name == --*=* ]]; then
			take_option "$(long_option "${name%%=*}")" "${name#*=}"
		elif [[ $name =~ ^(-[dhpUmn])(.+) ]]; then
			take_option "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
		elif name=$(long_option "$name") && takes_value "$name" && (($# > 0)); then
			value=$1
			shift
			take_option "$name" "$value"
		else
			take_option "$name"
		fi
	done
}

take_word() { # word
	if [[ -z $command ]]; then
		command=$1
		if [[ $1 == rm ]]; then command=delete; fi
		if [[ -z ${takes[$command]:-} ]]; then
			command=
			if [[ -z $is_lenient ]]; then misused "unknown command: $1"; fi
		fi
	else
		words+=("$1")
	fi
}

take_option() { # option [value]
	if takes_value "$1" && (($# > 1)); then
		if [[ -z $2 && $1 != -m ]]; then misused "$1 with nothing after it"; fi
		option[$1]=$2
		if [[ $1 == --keep ]]; then keep+=("$2"); fi
	elif is_flag "$1" && (($# == 1)); then
		option[$1]=1
	elif [[ -n $is_lenient ]]; then
		awaits=$1
	elif takes_value "$1"; then
		misused "$1 needs a value"
	elif is_flag "$1"; then
		misused "$1 takes no value"
	else
		misused "unknown option: $1"
	fi
}

check_words() {
	local limits=${takes[$command]} least most word
	most=${limits##* }
	limits=${limits% *}
	least=${limits##* }
	if ((${#words[@]} < least)); then misused "$command needs a name or more"; fi
	if ((${#words[@]} > most)); then misused "too much for $command: ${words[most]}"; fi
	for word in "${words[@]}"; do
		if [[ -z $word && $command != completion ]]; then misused 'a name is empty'; fi
	done
}

main() {
	parse "$@"
	if [[ -n ${option[--help]:-} ]]; then
		help_of "$command"
		return
	elif [[ -n ${option[--version]:-} ]]; then
		echo 'pgbranch of pgbraid @version@'
		return
	fi
	if [[ -z $command ]]; then
		summary >&2
		exit $misuse
	fi
	check_words
	if ! command -v psql >/dev/null; then
		refuse 'there is no psql in the PATH' 'It comes with PostgreSQL; in Debian it is in the package postgresql-client.'
	fi
	read_configuration
	if [[ $command != hook && $command != completion ]]; then find_connection; fi
	"command_$command"
}

main "$@"
