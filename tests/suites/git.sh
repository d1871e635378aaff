#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# git: repositories made inside, and ones of the host worked on inside.
. "$(dirname "$0")/lib.sh"
command -v git >/dev/null || { skip git "not installed"; finish; }
cat >"$work/home/.gitconfig" <<'E'
[user]
	name = Test
	email = test@example.com
[init]
	defaultBranch = main
[advice]
	detachedHead = false
[gc]
	auto = 0
[protocol "file"]
	allow = always
E
dates='export GIT_AUTHOR_DATE="2020-01-01T00:00:00Z" GIT_COMMITTER_DATE="2020-01-01T00:00:00Z"; '
(
	mkdir "$work/src/repo" && cd "$work/src/repo" || exit 1
	native git init -q
	mkdir -p lib/deep
	for i in {1..40}; do echo "file $i" >"lib/f$i"; echo "deep $i" >"lib/deep/g$i"; done
	printf '#!/bin/sh\necho hook >&2\n' >.git/hooks/pre-commit
	chmod +x .git/hooks/pre-commit
	native git add . && native git commit -qm first 2>/dev/null
)
same "init, add, commit, status, log" "$dates"'git init n; cd n; echo a >a; mkdir d; echo b >d/b; git status --short; git add .; git status --short
	git commit -m "first commit"; git status; echo c >>a; git diff; git commit -qam second; git log --oneline --stat; git show HEAD~1:d/b; git fsck --strict'
same "clone, branch, merge, rebase" "$dates"'git clone -q repo c; cd c; git log --format=%s; git checkout -q -b topic; echo t >t; git add t; git commit -qm topic
	git checkout -q main; echo m >m; git add m; git commit -qm main; git merge -q -m merge topic; git log --format="%s %p" | wc -l; git rebase -q HEAD~1 2>&1 | tail -1
	git branch -a; git tag v1; git describe; git rm -q m; git commit -qm rm; git push -q origin topic; git -C ../repo branch'
same "a host repository: status, change, commit" "$dates"'cd repo; git status --short; echo x >>lib/f1; rm lib/f2; mv lib/f3 lib/moved; git status --short; git add -A
	git commit -qm change; git status --short; git diff --stat HEAD~1; git log --format=%s; git stash list; echo y >>lib/f5; git stash -q; git stash pop -q; git status --short
	git reset -q --hard HEAD~1; git status --short; ls lib | wc -l; git clean -qfdx; cat lib/f2'
same "gc, packs, bundle, archive" "$dates"'cd repo; git gc -q; git count-objects -v | grep -v size; git fsck; git bundle create -q b HEAD main; git clone -q b ../fromb; git -C ../fromb log --format=%s
	git archive HEAD | tar t | head -3; git repack -adq; git log --oneline | wc -l; git verify-pack .git/objects/pack/*.idx && echo packs good'
same "worktree, submodule, hooks" "$dates"'cd repo; git worktree add -q ../wt -b wt; git -C ../wt status --short; git -C ../wt commit -q --allow-empty -m e; git worktree list | wc -l; cd ..
	git init -q super; cd super; git submodule add -q ../repo sub; git commit -qm sub; git submodule status | wc -l; cat .gitmodules; cd ..; git clone -q --recurse-submodules super s2; ls s2/sub'
finish
