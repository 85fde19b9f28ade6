is_in_repository() {
	git rev-parse --git-dir >/dev/null 2>&1
}

# The branch that is checked out; none while HEAD is detached.
git_branch() {
	local branch
	branch=$(git symbolic-ref -q HEAD 2>/dev/null) || return
	printf '%s' "${branch#refs/heads/}"
}

git_has() { # branch
	git show-ref --verify -q "refs/heads/$1"
}

# The main branch of the repository, from which others come.
trunk() {
	local name
	if name=$(git symbolic-ref -q refs/remotes/origin/HEAD 2>/dev/null); then
		printf '%s' "${name#refs/remotes/origin/}"
		return
	fi
	for name in "$(git config init.defaultBranch)" main master; do
		if [[ -n $name ]] && git_has "$name"; then
			printf '%s' "$name"
			return
		fi
	done
	git_branch || printf main
}
