hooks_directory() {
	git rev-parse --path-format=absolute --git-path hooks
}

is_ours() { # file
	[[ -f $1 ]] && grep -qxF -e "$hook_mark" "$1"
}

hook_state() {
	local file
	file=$(hooks_directory)/post-checkout
	if ! is_ours "$file"; then
		echo 'not installed'
	elif [[ -e $file.before-pgbranch ]]; then
		echo 'installed, after another one'
	else
		echo 'installed'
	fi
}

hook_text() {
	local self quote="'\\''"
	self=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/${BASH_SOURCE[0]##*/}
	self=${self//\'/"$quote"}
	cat <<HOOK
#!/bin/sh
$hook_mark
# When git has checked out a branch, the database switches to its branch of that name. A hook that was here before
# is called first, and its exit status counts.
status=0
before=\${0%/*}/post-checkout.before-pgbranch
if [ -x "\$before" ]; then
	"\$before" "\$@" || status=\$?
fi
pgbranch='$self'
if [ ! -x "\$pgbranch" ]; then
	pgbranch=pgbranch	# it has moved: one in the PATH
fi
"\$pgbranch" hook run "\$@" || [ "\$status" -ne 0 ] || status=1
exit "\$status"
HOOK
}

command_hook() {
	if ! is_in_repository; then
		refuse 'this is no git repository' 'The hook belongs to one: go there first.'
	fi
	case ${words[0]} in
		install) install_hook ;;
		uninstall) uninstall_hook ;;
		status) report "The hook is $(hook_state)." file="$(hooks_directory)/post-checkout" state="$(hook_state)" ;;
		run) run_hook "${words[@]:1}" ;;
		*) misused "hook install, uninstall or status, and not ${words[0]}" ;;
	esac
}

install_hook() {
	local file made
	if [[ -z ${stored[dbname]:-} ]]; then
		refuse 'this repository knows no database' 'Begin with: pgbranch init -d DATABASE'
	fi
	file=$(hooks_directory)/post-checkout
	mkdir -p "${file%/*}"
	made=$(mktemp "$file.XXXXXX")
	hook_text >"$made"
	chmod 755 "$made"
	if [[ -e $file || -L $file ]] && ! is_ours "$file"; then
		if [[ -e $file.before-pgbranch || -L $file.before-pgbranch ]]; then
			rm "$made"
			refuse "there are both $file and $file.before-pgbranch" 'Make one hook of them first.'
		fi
		mv "$file" "$file.before-pgbranch"
	fi
	mv "$made" "$file"
	report "The hook is $(hook_state): $file" operation=install file="$file" state="$(hook_state)"
}

uninstall_hook() {
	local file said='Took the hook away'
	file=$(hooks_directory)/post-checkout
	if ! is_ours "$file"; then
		said='No hook of pgbranch is there'
	elif [[ -e $file.before-pgbranch || -L $file.before-pgbranch ]]; then
		mv "$file.before-pgbranch" "$file"
		said+=', and put back the one that was there before'
	else
		rm "$file"
	fi
	report "$said: $file" operation=uninstall file="$file" state="$(hook_state)"
}

# A hook acts unasked, so it goes only where init has been told to.
refuse_elsewhere() {
	local pair variable key value
	for pair in PGDATABASE=dbname PGHOST=host PGHOSTADDR=host PGPORT=port; do
		variable=${pair%=*}
		key=${pair#*=}
		value=${!variable:-}
		if [[ $key == dbname ]]; then value=$(name_for_psql "$value"); fi
		if [[ -n $value && -n ${stored[$key]:-} && $value != "${stored[$key]}" ]]; then
			refuse "the database has not followed git: $variable is $value, but this repository has ${stored[$key]}" \
				"Unset $variable, or: $(typed git config "pgbranch.$key" "$value")"
		fi
	done
	if [[ -n ${PGSERVICE:-} && ${stored[dbname]} != "service=$PGSERVICE" ]]; then
		refuse "the database has not followed git: PGSERVICE is $PGSERVICE, but this repository has ${stored[dbname]}" \
			"Unset PGSERVICE, or: pgbranch init"
	fi
}

is_linked_worktree() {
	[[ $(git rev-parse --path-format=absolute --git-dir) != $(git rev-parse --path-format=absolute --git-common-dir) ]]
}

is_rebasing() {
	[[ -d $(git rev-parse --git-path rebase-merge) || -e $(git rev-parse --git-path rebase-apply/rebasing) ]]
}

# What git's post-checkout gets: the commits before and after, and 1 if a branch was checked out.
run_hook() { # old new flag
	local branch remedy=()
	if [[ ${3:-} != 1 || -z ${stored[dbname]:-} ]] || is_rebasing || ! branch=$(git_branch); then
		return 0
	fi
	if is_linked_worktree && [[ $(git config --type=bool pgbranch.worktrees) != true ]]; then
		complain 'in a linked worktree the database stays as it is, unless git config pgbranch.worktrees true'
		return 0
	fi
	refuse_elsewhere
	find_connection
	connection+=(-w)
	remedy=(checkout "$branch")
	if ! follow "$branch"; then
		refuse "the database has not followed git to branch \"$branch\"" \
			"When that is mended: $(typed pgbranch "${remedy[@]}")"
	fi
}

# Leaves in `remedy` what somebody is to try after it has failed.
follow() { # branch
	local found rows database current source='' reason='' from
	found=$(query <<'SQL'
SELECT family, coalesce(checked_out_branch, '') FROM :pgbraid.pgbranch_status(:'database');
SELECT name FROM :pgbraid.pgbranch_list(:'database') WHERE kind = 'branch';
SQL
	) || return
	mapfile -t rows <<<"$found"
	IFS=$'\x1f' read -r database current <<<"${rows[0]}"
	if [[ $current == "$1" ]]; then
		return
	fi
	declare -A known=()	# branches of the database
	for from in "${rows[@]:1}"; do known[$from]=1; done
	if [[ -n ${known[$1]:-} ]]; then
		query -v name="$1" >/dev/null <<'SQL' || return
SELECT :pgbraid.pgbranch_checkout(:'name', :'database');
SQL
		complain "database \"$database\" is on branch \"$1\" now"
		return
	fi
	if ! find_birth "$1" && ! find_nearest "$1"; then
		complain "database \"$database\" has no branch \"$1\", and none of a git branch that it was made from"
		remedy=(checkout -b "$1" SOURCE)
		return $failed
	fi
	remedy=(checkout -b "$1" "$source")
	query -v name="$1" -v source="$source" >/dev/null <<'SQL' || return
SELECT :pgbraid.pgbranch_create(:'name', :'source', :'database', true);
SQL
	complain "database \"$database\" is on a new branch \"$1\" now, made from \"$source\" ($reason)"
}

# What git's log of references says that the branch was made from; of HEAD, that is the branch which git came from at
# that moment. One command of git has one time in all that it logs.
find_birth() { # branch
	local said line born from moves=0
	said=$(git reflog show --date=unix --format='%gd %gs' "refs/heads/$1" -- 2>/dev/null | tail -n 1) || return
	[[ $said =~ @\{([0-9]+)\}\ branch:\ Created\ from\ (.*) ]] || return
	born=${BASH_REMATCH[1]}
	from=${BASH_REMATCH[2]%%@\{*}
	from=${from%%[~^]*}
	reason='git made it from there'
	if [[ $from == HEAD ]]; then
		while IFS= read -r line; do
			if [[ $line == "HEAD@{$born} checkout: moving from "*" to $1" ]]; then
				from=${line#*moving from }
				from=${from% to "$1"}
				moves=$((moves + 1))
			fi
		done < <(git reflog show --date=unix --format='%gd %gs' HEAD --)
		((moves == 1)) || return
		reason='git came from there'
	fi
	source=${from#refs/heads/}
	[[ -n ${known[$source]:-} ]]
}

# The branch that shares the most commits with it. One that was itself made from it, and went on, is not where it comes
# from; but the main branch is where old commits come from.
find_nearest() { # branch
	local name main counts ahead behind rank best=
	main=$(trunk)
	source=''
	reason='the nearest by its commits'
	for name in "${!known[@]}"; do
		if ! git_has "$name" || ! git merge-base "refs/heads/$1" "refs/heads/$name" >/dev/null 2>&1; then continue; fi
		counts=$(git rev-list --left-right --count "refs/heads/$1...refs/heads/$name" --)
		read -r ahead behind <<<"$counts"
		if ((ahead == 0 && behind > 0)) && [[ $name != "$main" ]]; then continue; fi
		rank=$(printf '%09d %d %09d %s' "$ahead" "$([[ $name == "$main" ]] && echo 0 || echo 1)" "$behind" "$name")
		if [[ -z $best || $rank < $best ]]; then
			best=$rank
			source=$name
		fi
	done
	[[ -n $source ]]
}
