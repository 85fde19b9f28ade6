summary() {
	cat <<'HELP'
pgbranch has branches and snapshots of a PostgreSQL database, as git has of files.

Usage: pgbranch [OPTION]... COMMAND [ARGUMENT]...

  init                     begin: look for pgbraid, and tell the git repository its database
  branch [NAME [SOURCE]]   list branches, or create one
  checkout NAME            give the database's name to a branch; -b creates it first
  snapshot NAME            keep the state of the branch
  reset SNAPSHOT           throw the state of the branch away, for that of a snapshot
  delete, rm NAME          delete a branch, or with --snapshot a snapshot
  rename OLD NEW           rename it
  undo [NAME]              take the latest delete or reset back
  list                     branches and snapshots
  status                   what is checked out, and how much there is
  log                      what has been done
  prune                    delete branches that nobody has used for a time
  protect, unprotect NAME  keep it from being deleted, reset or pruned
  spares SNAPSHOT COUNT    keep so many copies ready, for a fast reset
  hook install|uninstall|status   have the database follow git's checkouts
  completion bash          print the completion for bash
HELP
}

general_options() {
	cat <<'HELP'

  -d, --dbname DATABASE    the database, by its own name; or a connection string without password
  -h, --host HOST          -p, --port PORT          -U, --username ROLE
      --via DATABASE       connect to this one, where DATABASE itself has no extension pgbraid
      --json               print JSON
  -q, --quiet              print errors only
      --help               print this; after a command, about the command
      --version            print the version

What is not given is taken from PGDATABASE, PGHOST and the like, then from what "pgbranch init" has stored in git's
configuration (pgbranch.dbname and so on). Passwords: ~/.pgpass.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no connection.
HELP
}

help_of() { # command
	case $1 in
		init) cat <<'HELP' ;;
Usage: pgbranch init [-d DATABASE] [--branch NAME]
Looks whether the server has pgbraid, and begins the family of the database if it has no branches yet: the database is
branch NAME then, by default the main branch of the git repository, or main. Within a git repository the connection is
stored in its configuration.
HELP
		branch) cat <<'HELP' ;;
Usage: pgbranch branch
       pgbranch branch NAME [SOURCE] [-m DESCRIPTION]
Lists branches, "*" before the one that is checked out; or copies the database, or the branch or snapshot SOURCE, to a
branch NAME. Sessions go on meanwhile.
HELP
		checkout) cat <<'HELP' ;;
Usage: pgbranch checkout NAME
       pgbranch checkout -b NAME [SOURCE] [-m DESCRIPTION]
Gives the name of the database to branch NAME. Nothing is copied, and nothing is lost: what was written stays with the
branch that it was written to. Sessions of that one are ended, at once if they are idle, else after 5 s.
  -b    create the branch first, from the database or from the branch or snapshot SOURCE
HELP
		snapshot) cat <<'HELP' ;;
Usage: pgbranch snapshot NAME [-m DESCRIPTION]
Keeps the state of the branch under a name. Nobody can change it. Sessions go on meanwhile.
HELP
		reset) cat <<'HELP' ;;
Usage: pgbranch reset SNAPSHOT
Puts the state of the snapshot in the place of the branch. "pgbranch undo" takes that back.
HELP
		delete) cat <<'HELP' ;;
Usage: pgbranch delete NAME [-f] [--snapshot]
Deletes a branch, or with --snapshot a snapshot. "pgbranch undo NAME" has it back until pgbraid.branch_trash_age has
passed.
  -f    even if it is checked out, sessions are connected, others were made from it, or it takes part in replication
HELP
		rename) cat <<'HELP' ;;
Usage: pgbranch rename OLD NEW [--snapshot]
Renames a branch, or with --snapshot a snapshot.
HELP
		undo) cat <<'HELP' ;;
Usage: pgbranch undo [NAME]
Takes the latest delete or reset back, or that of the branch or snapshot NAME.
HELP
		list) cat <<'HELP' ;;
Usage: pgbranch list
Lists branches and snapshots.
HELP
		status) cat <<'HELP' ;;
Usage: pgbranch status
Says which branch is checked out, how many branches and snapshots there are, and where git is.
HELP
		log) cat <<'HELP' ;;
Usage: pgbranch log [-n COUNT]
Says what has been done to branches and snapshots, the latest first.
HELP
		prune) cat <<'HELP' ;;
Usage: pgbranch prune [--days COUNT] [--keep NAME]... [-y]
Says which branches nobody has checked out or reset for so many days, 7 by default; with -y, deletes them. Never those
that are checked out or protected, that others were made from, or the first one.
HELP
		protect | unprotect) cat <<'HELP' ;;
Usage: pgbranch protect NAME [--snapshot]
       pgbranch unprotect NAME [--snapshot]
Keeps a branch, or with --snapshot a snapshot, from being deleted, reset or pruned; or no more.
HELP
		spares) cat <<'HELP' ;;
Usage: pgbranch spares SNAPSHOT COUNT
Keeps so many copies of the snapshot ready, so that a reset to it copies nothing. They take their place on the disk.
HELP
		hook) cat <<'HELP' ;;
Usage: pgbranch hook install|uninstall|status
Installs a hook post-checkout, after which the database follows git: whenever git has checked out a branch, the
database switches to its branch of that name. If it has none, it is made from the branch that git's was made from. A
hook that is there already is kept, and called first. In a linked worktree nothing is done, unless:
git config pgbranch.worktrees true
HELP
		completion) cat <<'HELP' ;;
Usage: pgbranch completion bash
Prints what completes commands, options, and the names of branches and snapshots. In ~/.bashrc:
eval "$(pgbranch completion bash)"
HELP
		*) summary ;;
	esac
	general_options
}
