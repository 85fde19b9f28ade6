# shellcheck shell=bash
# Sourced by scripts that need servers: a private PostgreSQL cluster and a private NATS server in a temporary directory,
# on loopback and free ports. stop_servers, for an EXIT trap, ends them and removes the directory.
# As root they run as user postgres, which PostgreSQL insists on; else as the user that runs the script.

PATH=$PATH:/usr/sbin:/sbin	# nats-server is there
server_dir=
server_user=(env)
nats_port=

# The pg_config in use: PG_CONFIG, else the newest of Debian's, else that of the PATH.
find_pg_config() {
	local newest
	newest=$(printf '%s\n' /usr/lib/postgresql/*/lib/pgxs/src/makefiles/pgxs.mk | sort -V | tail -n 1)
	if [[ -n ${PG_CONFIG:-} ]]; then
		echo "$PG_CONFIG"
	elif [[ -e $newest ]]; then
		echo "${newest%/lib/pgxs/*}/bin/pg_config"
	else
		command -v pg_config
	fi
}

as_server_user() {
	"${server_user[@]}" "$@"
}

as_root() {
	if ((EUID == 0)); then
		"$@"
	else
		sudo "$@"
	fi
}

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

make_server_dir() {
	server_dir=$(mktemp -d "${TMPDIR:-/tmp}/pgbraid.XXXXXX")
	chmod 755 "$server_dir"
	if ((EUID == 0)); then
		chown postgres: "$server_dir"
		server_user=(setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$server_dir")
	fi
	cd "$server_dir" || return
}

# Makes a cluster that is ready for pgbraid. Further arguments are lines for postgresql.conf.
make_cluster() {
	as_server_user "$pg_bin/initdb" -D "$server_dir/data" -U postgres -A trust -N --no-locale -E UTF8 >"$server_dir/initdb.log"
	export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres PGPORT
	PGPORT=$(free_port)
	printf '%s\n' "listen_addresses = '127.0.0.1'" "port = $PGPORT" "unix_socket_directories = ''" \
		"wal_level = logical" "shared_preload_libraries = 'pgbraid'" "fsync = off" "$@" |
		as_server_user tee -a "$server_dir/data/postgresql.conf" >/dev/null
}

start_postgres() {
	if ! as_server_user "$pg_bin/pg_ctl" start -s -w -D "$server_dir/data" -l "$server_dir/postgres.log" </dev/null; then
		tail -n 20 "$server_dir/postgres.log" >&2
		return 1
	fi
}

start_nats() {
	nats_port=$(free_port)
	as_server_user setsid nats-server -a 127.0.0.1 -p "$nats_port" -js -sd "$server_dir/jetstream" \
		-P "$server_dir/nats.pid" -l "$server_dir/nats.log" </dev/null >/dev/null 2>&1 &
	disown
	wait_for_port "$nats_port"
}

wait_for_port() {
	local i
	for ((i = 0; i < 200; i++)); do
		(: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
		sleep 0.05
	done
	echo "nothing listens on port $1" >&2
	return 1
}

end_process() { # pid signal
	local i
	kill "-$2" "$1" 2>/dev/null || return 0
	for ((i = 0; i < 600; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.05
	done
	kill -QUIT "$1" 2>/dev/null || true
}

stop_servers() {
	if [[ -z $server_dir ]]; then
		return
	fi
	cd /
	local file
	for file in "$server_dir"/data/postmaster.pid "$server_dir"/nats.pid; do
		if [[ -s $file ]]; then
			end_process "$(head -n 1 "$file")" INT
		fi
	done
	rm -rf "$server_dir"
	server_dir=
}

pg_config=$(find_pg_config)
pg_bin=$("$pg_config" --bindir)
