#!/usr/bin/env bash
# Shows pgbraid at work: a private PostgreSQL and a private NATS server, a table of taxi rides, and its changes as they
# arrive at a subscriber. Leaves nothing behind but the installed extension.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tail_pid=
rides=5000
events=0	# that are to be shown by now
if [[ -t 1 ]]; then
	bold=$'\e[1m' dim=$'\e[2m' blue=$'\e[34m' green=$'\e[32m' plain=$'\e[0m'
	width=$(tput cols 2>/dev/null || echo 120)
else
	bold='' dim='' blue='' green='' plain=''
	width=160
fi

say() {
	printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}

remark() {
	printf '%s%s%s\n' "$dim" "$1" "$plain"
}

psql_quietly() { # arguments of psql
	"$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 "$@" </dev/null
}

# Shows a statement, runs it, and lets its events arrive.
run() { # sql number-of-events
	printf '%ssql>%s %s\n' "$blue" "$plain" "${1//$'\n'/$'\n'     }"
	psql_quietly -At -c "$1" | sed 's/^/     /'
	events=$((events + ${2:-0}))
	await_events "$events"
}

build_and_install() {
	say "Building and installing pgbraid"
	local log=$server_dir/build.log
	if ! { make -s -C "$root" -j "$(nproc)" PG_CONFIG="$pg_config" &&
		as_root make -s -C "$root" install PG_CONFIG="$pg_config"; } >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		exit 1
	fi
	remark "$("$pg_config" --version), $(nats-server --version)"
}

start_servers() {
	say "Starting a PostgreSQL and a NATS server of their own"
	start_nats
	make_cluster "pgbraid.nats_url = 'nats://127.0.0.1:$nats_port'"
	start_postgres
	psql_quietly -c 'CREATE DATABASE taxi'
	export PGDATABASE=taxi
	remark "PostgreSQL on port $PGPORT, database taxi; NATS with JetStream on port $nats_port"
}

fill_table() {
	say "A table of 5,000 taxi rides"
	"$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -f "$root/scripts/demo.sql"
	psql_quietly -c "SELECT log_id, driver_id, round(distance_traveled::numeric, 1) AS km, duration / 60 AS min,
	                        fare_amount AS fare, payment_method AS paid, start_location, end_location
	                   FROM taxi_rides ORDER BY log_id LIMIT 3"
}

# What a subscriber receives, in lines of the screen's width. Of the snapshot, the first and the last rows are enough, and
# one line each. A file says how many events have been shown.
show_events() {
	perl -CS -e '
		$| = 1;
		my ($rides, $width, $file, $mark, $dim, $plain) = @ARGV;
		my $room = $width - 7;
		while (my $event = <STDIN>) {
			chomp $event;
			if ($event =~ /^\{"op":"snapshot"/) {
				my $row = ++$rows;
				printf "%s      ... %d more rows ...%s\n", $dim, $rides - 4, $plain if $row == 3;
				next if $row > 2 && $row <= $rides - 2;
				print "$mark ", substr($event, 0, $room - 3), "...\n";
			} else {
				my @lines = $event =~ /.{1,$room}/g;
				print "$mark ", join("\n      ", @lines), "\n";
			}
			next if $. < $rides;
			open my $shown, ">", $file or next;
			print $shown "$.\n";
		}' "$rides" "$width" "$server_dir/shown" "${green}nats>$plain" "$dim" "$plain"
}

# Sleeps until so many events have been shown.
await_events() { # count
	local i shown=0
	for ((i = 0; i < 200 && shown < $1; i++)); do
		sleep 0.05
		read -r shown 2>/dev/null <"$server_dir/shown" || shown=0
	done
}

subscribe() {
	"$pg_bin/pgbraid-tail" -s "nats://127.0.0.1:$nats_port" --stream taxi_rides --from all --wait \
		</dev/null > >(show_events) &
	tail_pid=$!
}

make_changes() {
	say "A new ride, a correction, a deletion"
	run "INSERT INTO taxi_rides (distance_traveled, driver_id, duration, end_location, fare_amount, passenger_id,
                        payment_method, start_location, \"timestamp\")
VALUES (4.2, 17, 840, 'Plaza Mayor 27', 9.75, 2048, 'card', 'Paseo del Prado 8', '2024-05-22T22:12:00Z');" 1
	run "UPDATE taxi_rides SET fare_amount = fare_amount + 1.50 WHERE log_id = 5001;" 1
	run "DELETE FROM taxi_rides WHERE log_id = 1;" 1
	say "A transaction is published when it commits, in one piece; one that is rolled back never"
	run "BEGIN;
UPDATE taxi_rides SET payment_method = 'card' WHERE log_id = 2;
ROLLBACK;"
	run "BEGIN;
UPDATE taxi_rides SET payment_method = 'card' WHERE log_id IN (3, 4);
DELETE FROM taxi_rides WHERE log_id = 5;
COMMIT;" 3
}

what_next() {
	local psql=psql
	command -v psql >/dev/null || psql=$pg_bin/psql
	say "Try it yourself, in another terminal"
	cat <<-END
	  $psql -h 127.0.0.1 -p $PGPORT -U postgres taxi
	      UPDATE taxi_rides SET fare_amount = fare_amount * 2 WHERE driver_id = 17;
	      TRUNCATE taxi_rides;
	      SELECT pgflow_pause('rides');   -- and pgflow_resume('rides')
	      SELECT * FROM pgflow_check();
	  $pg_bin/pgbraid-tail -s nats://127.0.0.1:$nats_port --stream taxi_rides --from last
	END
}

wait_for_key() {
	if [[ -t 0 ]]; then
		say "Both servers run until a key is pressed."
		while read -rsn 1 -t 0.1; do :; done	# what was typed meanwhile
		read -rsn 1 || true
	else
		say "Not started from a terminal, so both servers stop now."
	fi
}

clean_up() {
	if [[ -n $tail_pid ]]; then
		kill "$tail_pid" 2>/dev/null || true
		wait "$tail_pid" 2>/dev/null || true
	fi
	stop_servers
}

"$root/scripts/setup.sh"
# shellcheck source=scripts/servers.sh
source "$root/scripts/servers.sh"
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
make_server_dir
build_and_install
start_servers
fill_table
say "A flow: the rows that are there, then every change to them"
subscribe
run 'CREATE EXTENSION pgbraid;'
run "SELECT pgflow_create('rides', tables => '{taxi_rides}');" "$rides"
make_changes
say "How it is doing"
printf '%ssql>%s %s\n' "$blue" "$plain" '\x   SELECT * FROM pgbraid.stat_flow;'
psql_quietly -x -c 'SELECT * FROM pgbraid.stat_flow'
what_next
wait_for_key
