#!/usr/bin/env bash
# pgbranch: branches and snapshots of a PostgreSQL database, with commands like git's, and a hook by which the database
# follows git. Asks the functions pgbranch_* of the extension pgbraid, through psql. A value reaches SQL as a variable
# of psql, which quotes it; SQL is never put together from what somebody has said.
set -euo pipefail

readonly failed=1 misuse=2 unconnected=3	# exit codes
readonly hook_mark='# Written by "pgbranch hook install"; "pgbranch hook uninstall" takes it away.'
command=
declare -A option=()	# as given: [-f]=1, [-d]=shop
declare -A stored=()	# pgbranch.* of git's configuration
keep=()	# of prune
words=()	# what is no option
connection=()	# arguments of psql
tolerated=	# SQLSTATE of an error that is none
shown=	# what psql said, in our words
sqlstate=	# of the error among that

# Of each subcommand: its options, "=" after those with a value, and the least and the greatest number of words.
declare -A takes=(
	[init]='--branch= 0 0' [branch]='-m= 0 2' [checkout]='-b -m= 1 2' [snapshot]='-m= 1 1' [reset]='1 1'
	[delete]='-f --snapshot 1 1' [rename]='--snapshot 2 2' [list]='0 0' [status]='0 0' [log]='-n= 0 0'
	[prune]='--days= --keep= -y 0 0' [undo]='0 1' [protect]='--snapshot 1 1' [unprotect]='--snapshot 1 1'
	[spares]='2 2' [hook]='1 4' [completion]='1 99'
)
