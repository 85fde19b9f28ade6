#!/usr/bin/env bash
# Builds pgbraid and runs its tests: scripts/test.sh [checks|unit|regress|isolation|tap] [pattern]
# Without arguments, all of them. The pattern picks unit tests (a regular expression) or files (a part of their names).
# The last line of output is "N passed, N failed". Installs the module, with sudo where needed; JOBS sets how many
# TAP files run at a time.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=${1:-all}
pattern=${2:-}
jobs=${JOBS:-2}
passed=0
failed=0
logs=()	# of what failed
declare -A tap_pids=()	# pid -> name

if [[ ! $suite =~ ^(all|unit|checks|regress|isolation|tap)$ ]]; then
	echo "usage: scripts/test.sh [unit|checks|regress|isolation|tap] [pattern]" >&2
	exit 2
fi
exec </dev/null
export LANG=C.UTF-8 LC_ALL=C.UTF-8	# the same on every machine; TAP tests drop LC_ALL
"$root/scripts/setup.sh"
# shellcheck source=scripts/servers.sh
source "$root/scripts/servers.sh"

wants() {
	[[ $suite == all || $suite == "$1" ]]
}

# Adds up, shows one line, and keeps the log of what failed. A suite that ran nothing has failed.
count() { # title passed failed log
	local remark=
	local bad=$3
	if (($2 + $3 == 0)); then
		bad=1
		remark=' (nothing ran)'
	fi
	printf '  %-44s %5d passed, %d failed%s\n' "$1" "$2" "$bad" "$remark"
	passed=$((passed + $2))
	failed=$((failed + bad))
	if ((bad > 0)); then
		logs+=("$4")
	fi
}

matching() { # grep arguments: the number of lines
	grep -ac "$@" || true
}

build() {
	echo "The module"
	local log=$server_dir/build.log
	if ! make -s -C "$root" -j "$(nproc)" PG_CONFIG="$pg_config" >"$log" 2>&1 ||
		! as_root make -s -C "$root" install PG_CONFIG="$pg_config" >>"$log" 2>&1; then
		count "build" 0 1 "$log"
		finish
	fi
}

# Tests that need a server run in a copy of the tree: the user of the server may write there, and read all of it.
copy_tree() {
	tree=$server_dir/tree
	mkdir "$tree"
	tar -C "$root" -c --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.d' --exclude=./log \
		--exclude=./results --exclude=./tmp_check . | tar -C "$tree" -x
	if ((EUID == 0)); then
		chown -R postgres: "$tree"
	fi
}

run_unit() {
	echo "Unit tests, with AddressSanitizer and UndefinedBehaviorSanitizer"
	local log=$server_dir/unit.log
	if ! (cd "$root" && cmake --preset asan && cmake --build --preset asan -j "$(nproc)") >"$log" 2>&1; then
		count "build" 0 1 "$log"
		return
	fi
	(cd "$root" && timeout --kill-after=20 900 ctest --preset asan --timeout 120 -j 2 -R "${pattern:-.}") >"$log" 2>&1 || true
	grep -q '% tests passed' "$log" || echo '0/0 Test #0: ctest broke off ***' >>"$log"
	count "unit" "$(matching -E '^ *[0-9]+/[0-9]+ Test +#.* Passed ' "$log")" \
		"$(matching -E '^ *[0-9]+/[0-9]+ Test +#.*\*\*\*' "$log")" "$log"
}

run_checks() {
	echo "Checks of the source"
	local check name log
	for check in "$root"/scripts/check_*"$pattern"*; do
		name=${check##*/}
		log=$server_dir/$name.log
		if "$check" >"$log" 2>&1; then
			count "$name" 1 0 "$log"
		else
			count "$name" 0 1 "$log"
		fi
	done
}

# The names of the files in a directory that the pattern picks, without their ending.
names() { # directory ending
	local file
	for file in "$tree/$1"/*"$pattern"*."$2"; do
		if [[ -e $file ]]; then
			basename "$file" ".$2"
		fi
	done
}

run_pg_regress() { # title variable names
	local title=$1 log=$server_dir/$2.log none=ISOLATION
	[[ $2 == REGRESS ]] || none=REGRESS
	as_server_user make -s -C "$tree" installcheck PG_CONFIG="$pg_config" "$2=$3" "$none=" >"$log" 2>&1 || true
	# "test name ... ok 12 ms" until PostgreSQL 15, then "ok 1 - name 12 ms".
	local good bad
	good=$(matching -E '^(test .*|     .*) \.\.\. ok|^ok [0-9]+' "$log")
	bad=$(matching -E '^(test .*|     .*) \.\.\. FAILED|^not ok [0-9]+' "$log")
	if ((good + bad < $(wc -w <<<"$3"))); then
		bad=$((bad + 1))	# it broke off
	fi
	cat "$tree"/regression.diffs "$tree"/output_iso/regression.diffs >>"$log" 2>/dev/null || true
	rm -f "$tree"/regression.diffs "$tree"/output_iso/regression.diffs
	count "$title" "$good" "$bad" "$log"
}

run_regress() {
	echo "SQL tests (pg_regress)"
	run_pg_regress "regress" REGRESS "$(names sql sql | tr '\n' ' ')"
}

run_isolation() {
	echo "Concurrency tests (isolation)"
	run_pg_regress "isolation" ISOLATION "$(names test/specs spec | tr '\n' ' ')"
}

# A file system whose files can be cloned, for the test of that: Btrfs, or PGBRAID_CLONE_FS=xfs. Where it can't be mounted
# the test skips what needs it.
mount_clone_dir() {
	local image=$server_dir/clone.img dir=$server_dir/clone
	truncate -s 6G "$image"
	"mkfs.${PGBRAID_CLONE_FS:-btrfs}" -q "$image" >/dev/null 2>&1 || return 0
	mkdir "$dir"
	if as_root mount -o loop "$image" "$dir" 2>/dev/null; then
		as_root chown "$(stat -c %U "$server_dir")": "$dir"
		export PGBRAID_CLONE_DIR=$dir
	fi
}

unmount_clone_dir() {
	if [[ -n $server_dir ]] && mountpoint -q "$server_dir/clone"; then
		as_root umount "$server_dir/clone" 2>/dev/null || as_root umount -l "$server_dir/clone"
	fi
}

start_server() {
	if [[ -z ${PGPORT:-} ]]; then
		make_cluster
		start_postgres
	fi
}

# Becomes one TAP file; what it prints goes to its log. Killed by its pid, it stops the servers that it started.
become_tap_file() { # name
	local source
	source=$(dirname "$("$pg_config" --pgxs)")/..
	cd "$tree/test"
	exec "${server_user[@]}" env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE \
		PATH="$pg_bin:$PATH" PG_CONFIG="$pg_config" PG_REGRESS="$source/test/regress/pg_regress" \
		PERL5LIB="$source/test/perl:$tree/test/perl" TMPDIR="$server_dir/tmp" \
		TESTDIR="$server_dir/tap/$1" TESTDATADIR="$server_dir/tap/$1/data" TESTLOGDIR="$server_dir/tap/$1/log" \
		timeout --kill-after=20 900 prove -v "t/$1.pl" >"$server_dir/tap/$1.log" 2>&1
}

count_tap() { # name
	local log=$server_dir/tap/$1.log good bad reason
	reason=$(sed -nE 's/^t\/.* skipped: //p' "$log")
	if [[ -n $reason ]]; then
		printf '  %-44s skipped: %s\n' "$1" "$reason"
		return
	fi
	good=$(matching -E '^ok [0-9]' "$log")
	bad=$(grep -aE '^not ok [0-9]' "$log" | grep -vc '# TODO' || true)
	if ((bad == 0)) && ! grep -aq '^Result: PASS' "$log"; then
		bad=1	# it died, or ran other tests than it had planned
	fi
	count "$1" "$good" "$bad" "$log"
}

await_tap() {
	local pid
	wait -n -p pid "${!tap_pids[@]}" || true
	count_tap "${tap_pids[$pid]}"
	unset "tap_pids[$pid]"
}

run_tap() {
	echo "Tests of running servers (TAP)"
	local name files=()
	mapfile -t files < <(names test/t pl)
	if ((${#files[@]} == 0)); then
		count "tap" 0 0 /dev/null
	fi
	as_server_user mkdir -p "$server_dir/tap" "$server_dir/tmp"
	if [[ " ${files[*]} " == *_branch_clone\ * && -z ${PGBRAID_CLONE_DIR:-} ]]; then
		mount_clone_dir
	fi
	for name in "${files[@]}"; do
		as_server_user mkdir -p "$server_dir/tap/$name/data" "$server_dir/tap/$name/log"
		if ((${#tap_pids[@]} >= jobs)); then
			await_tap
		fi
		become_tap_file "$name" &
		tap_pids[$!]=$name
	done
	while ((${#tap_pids[@]} > 0)); do
		await_tap
	done
}

# Why a TAP file died is in the log that PostgreSQL's test module keeps.
show_last_words() { # name
	local log
	for log in "$server_dir/tap/$1"/{,tmp_check/}log/regress_log_"$1"; do	# from PostgreSQL 16 on, and before
		if [[ -e $log ]]; then
			echo "---- the end of regress_log_$1"
			grep -avE '^\[[0-9:.]+\]\([0-9.]+s\) ok ' "$log" | tail -n 15 || true
		fi
	done
}

show_logs() {
	local log
	for log in "${logs[@]}"; do
		printf '\n==== %s\n' "${log#"$server_dir/"}"
		grep -avE '^ok [0-9]' "$log" 2>/dev/null | tail -n 80 || true
		show_last_words "$(basename "$log" .log)"
	done
}

finish() {
	if ((failed > 0)); then
		show_logs
		echo
	fi
	unmount_clone_dir
	stop_servers
	echo "$passed passed, $failed failed"
	((failed == 0))
	exit
}

# Each TAP file is a process group, made by timeout; its servers are not in it, but are stopped by it.
stop_tap() {
	local pid i file
	if ((${#tap_pids[@]} > 0)); then
		kill "${!tap_pids[@]}" 2>/dev/null || true
	fi
	for pid in "${!tap_pids[@]}"; do
		for ((i = 0; i < 400; i++)); do
			kill -0 -- "-$pid" 2>/dev/null || break
			sleep 0.05
		done
	done
	if ((${#tap_pids[@]} > 0)); then
		for file in "$server_dir"/tap/*/tmp_check/*/pgdata/postmaster.pid "$server_dir"/clone/*/pgdata/postmaster.pid; do
			if [[ -s $file ]]; then
				end_process "$(head -n 1 "$file")" QUIT
			fi
		done
	fi
}

clean_up() {
	stop_tap
	unmount_clone_dir
	stop_servers
}

trap clean_up EXIT
trap 'exit 130' INT TERM
make_server_dir
if wants checks; then run_checks; fi
if wants unit; then run_unit; fi
if wants regress || wants isolation || wants tap; then
	build
	copy_tree
fi
if wants regress || wants isolation; then start_server; fi
if wants regress; then run_regress; fi
if wants isolation; then run_isolation; fi
if wants tap; then run_tap; fi
finish
