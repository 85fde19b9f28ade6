#!/usr/bin/env bash
# Runs a private server under valgrind's memcheck, gives a flow some work, and fails on an error that has a frame of
# pgbraid or libnats in its stack. Leaks are not looked for. Needs an installed pgbraid. Takes some minutes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec </dev/null
"$root/scripts/setup.sh"
# shellcheck source=scripts/servers.sh
source "$root/scripts/servers.sh"

run() { # sql
	"$pg_bin/psql" -X -q -At -v ON_ERROR_STOP=1 -c "$1"
}

await_flow() {
	if [[ $(run "SELECT pgflow_wait('load', timeout => '5 min')") != t ]]; then
		run 'SELECT * FROM pgbraid.stat_flow'
		return 1
	fi
}

start_under_valgrind() {
	mkdir "$server_dir/memcheck"
	chmod 777 "$server_dir/memcheck"
	cp "$root/scripts/valgrind.supp" "$server_dir/valgrind.supp"
	as_server_user setsid valgrind --quiet --trace-children=yes --leak-check=no --error-limit=no --num-callers=40 \
		--suppressions="$server_dir/valgrind.supp" --log-file="$server_dir/memcheck/%p.log" \
		"$pg_bin/postgres" -D "$server_dir/data" >"$server_dir/postgres.log" 2>&1 &
	disown
	local i
	for ((i = 0; i < 300; i++)); do
		"$pg_bin/pg_isready" -q && return
		sleep 0.5
	done
	tail -n 20 "$server_dir/postgres.log" >&2
	return 1
}

load() {
	run 'CREATE EXTENSION pgbraid'
	run 'CREATE TABLE t (id int PRIMARY KEY, a text, b numeric, c jsonb, d timestamptz DEFAULT now(), e int[])'
	run 'ALTER TABLE t ALTER a SET STORAGE EXTERNAL'
	run "INSERT INTO t SELECT i, repeat('x', i % 3000), i / 7.0, '{\"k\": [1, 2]}', now(), '{1,2}' FROM generate_series(1, 1000) i"
	run "SELECT pgflow_create('load', tables => '{t}', subject => 'load.{table}.{op}.{key}')"
	await_flow
	run "INSERT INTO t SELECT i, 'new' FROM generate_series(1001, 3000) i"
	run 'UPDATE t SET b = b + 1 WHERE id <= 1500'
	run 'UPDATE t SET id = -id WHERE id <= 50'
	run 'ALTER TABLE t ADD f text'
	run "UPDATE t SET f = 'x' WHERE id > 2900"
	run 'DELETE FROM t WHERE id > 2500'
	await_flow
	run "SELECT pgflow_pause('load')"
	run 'TRUNCATE t'
	run "SELECT pgflow_resume('load')"
	await_flow
	run "SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow"
	run "INSERT INTO t (id) VALUES (1)"
	await_flow
	run "SELECT * FROM pgflow_check()"
	run "SELECT flow, state, events_published, last_error FROM pgbraid.stat_flow"
	run "SELECT pgflow_drop('load')"
}

# An error is a block of lines "==pid== ..." that ends with an empty one.
report() {
	perl -e '
		my ($ours, $others) = (0, 0);
		for my $file (@ARGV) {
			open my $log, "<", $file or die "$file: $!";
			local $/;
			my $text = <$log>;
			$text =~ s/^==\d+== ?//mg;
			for my $error (split /\n\s*\n/, $text) {
				next unless $error =~ /^\s+(at|by) 0x/m;
				if ($error =~ /^\s+(at|by) 0x.*(pgbraid|libnats)/m) {
					print "$error\n\n";
					$ours++;
				} else {
					print STDERR "$error\n\n" if $ENV{VERBOSE};
					$others++;
				}
			}
		}
		print "$ours errors with a frame of pgbraid or libnats, $others of PostgreSQL alone\n";
		exit($ours > 0);' "$server_dir"/memcheck/*.log
}

trap stop_servers EXIT
trap 'exit 130' INT TERM
make_server_dir
start_nats
make_cluster "pgbraid.nats_url = 'nats://127.0.0.1:$nats_port'" "autovacuum = off" "max_worker_processes = 16"
start_under_valgrind
load
end_process "$(head -n 1 "$server_dir/data/postmaster.pid")" INT
report
