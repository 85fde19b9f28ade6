#!/usr/bin/env bash
# Installs what is needed to build, test and try pgbraid on Debian (bookworm or later), where it is missing.
# Starts no service and makes no PostgreSQL cluster. PG_CONFIG chooses among several versions of PostgreSQL.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
missing=()

need_command() { # command package
	command -v "$1" >/dev/null || missing+=("$2")
}

need_file() { # file package
	[[ -e $1 ]] || missing+=("$2")
}

need_header() { # header package
	local directory
	for directory in /usr/include /usr/include/*-linux-gnu* /usr/local/include; do
		[[ -e $directory/$1 ]] && return
	done
	missing+=("$2")
}

need_tools() {
	need_command g++ g++
	need_command make make
	need_command cmake cmake
	need_command pkg-config pkg-config
	need_header gtest/gtest.h libgtest-dev
	need_header nats/nats.h libnats-dev
	need_header openssl/ssl.h libssl-dev
	need_header curl/curl.h libcurl4-openssl-dev
	need_command nats-server nats-server
	need_file /usr/share/zoneinfo/UTC tzdata
	need_command git git
	need_command prove perl
	perl -MIPC::Run -e 1 2>/dev/null || missing+=(libipc-run-perl)
	need_command python3 python3-minimal
	/usr/bin/python3 -c 'import psycopg2' 2>/dev/null || missing+=(python3-psycopg2)
	need_command ps procps
	need_command runuser util-linux
	need_command mkfs.btrfs btrfs-progs
	need_command filefrag e2fsprogs
	need_command valgrind valgrind
}

# The major version in use: that of PG_CONFIG, else the newest installed, else none.
installed_version() {
	local config=${PG_CONFIG:-}
	if [[ -z $config ]]; then
		config=$(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -V | tail -n 1)
	fi
	[[ -n ${PG_CONFIG:-} || -x $config ]] || return 0
	"$config" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'
}

debian_version() {
	apt-cache depends postgresql | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1
}

need_postgresql() {
	local version=$1 prefix=/usr/lib/postgresql/$1
	# A PG_CONFIG outside Debian's tree speaks for an installation that is complete in itself.
	[[ -n ${PG_CONFIG:-} && $("$PG_CONFIG" --bindir) != "$prefix/bin" ]] && return
	need_file "$prefix/bin/postgres" "postgresql-$version"
	# Both, so that headers and server are of one minor release.
	need_file "/usr/include/postgresql/$version/server/postgres.h" "postgresql-$version postgresql-server-dev-$version"
}

as_root() {
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "setup.sh: missing ${missing[*]:-postgresql}; install them as root, or install sudo" >&2
		exit 1
	fi
}

install_packages() { # package...
	local no_service=/usr/sbin/policy-rc.d create_cluster=/etc/postgresql-common/createcluster.conf
	if [[ ! -e $create_cluster ]]; then
		as_root mkdir -p "${create_cluster%/*}"
		echo 'create_main_cluster = false' | as_root tee "$create_cluster" >/dev/null
	fi
	if [[ ! -e $no_service ]]; then
		trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$no_service" >/dev/null
		as_root chmod +x "$no_service"
	fi
	local output
	if ! output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
		-o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@" 2>&1 </dev/null); then
		echo "$output" >&2
		exit 1
	fi
}

need_tools
version=$(installed_version)
[[ -z $version ]] || need_postgresql "$version"
if [[ -n $version ]] && ((${#missing[@]} == 0)); then
	exit 0
fi
as_root apt-get update -qq </dev/null
if [[ -z $version ]]; then
	need_postgresql "$(debian_version)"
fi
echo "Installing ${missing[*]}"
# shellcheck disable=SC2086,SC2048 # one entry can name two packages
install_packages ${missing[*]}
