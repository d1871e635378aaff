#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bash: pipelines, here-documents, redirections, job control, signals.
. "$(dirname "$0")/lib.sh"
mkdir -p "$work/src/d/e"
printf 'one\ntwo\nthree\n' >"$work/src/lines"
for i in 1 2 3; do echo "file $i" >"$work/src/d/f$i"; done

same "pipelines" 'seq 1000 | sort -rn | head -3 | tr "\n" " "; echo; seq 5 | { read -r a; read -r b; echo "$a$b"; }
	false | true | (exit 3); echo "${PIPESTATUS[*]}"; set -o pipefail; false | true; echo $?
	yes | head -n 2; cat lines | grep -c o | cat -n'
same "here-documents" 'cat <<A; cat <<"B"; cat <<-C
expanded $((1+1))
A
not $((1+1))
B
	tabs
	C
	x=$(printf "%070000d" 7); cat <<<"$x" | wc -c; while read -r l; do echo "<$l>"; done <<<"a
b"'
same "redirections" 'echo a >n; echo b >>n; cat <n; exec 3<>n; read -r x <&3; echo "got $x"; echo c >&3; exec 3>&-; cat n
	ls nothere 2>&1; ls nothere 2>/dev/null; echo $?; set -C; echo z >n; echo $?; echo z >|n; cat n
	{ echo out; echo err >&2; } >both 2>&1; cat both; cat </dev/null; echo x >/dev/null; echo y >/dev/stdout
	exec 4<lines; cat /dev/fd/4; cat <(echo sub) <(echo sub2); echo tee | tee n2 n3 >/dev/null; cat n2 n3; echo >nodir/x'
same "substitution and subshells" 'x=$(echo a; (echo b; exit 3)); echo "$x $?"; (cd d; pwd | sed "s,.*/,,"); echo "${PWD##*/}"
	echo $(<lines); f() { local v=$1; echo "f $v"; }; f $(f 1); a=(d/*); echo "${#a[@]} ${a[0]}"; shopt -s globstar; echo **
	mapfile -t m <lines; echo "${m[2]}"; printf "%s\n" {a..c}{1,2} | paste -sd,'
same "tests on files" '[ -f lines ] && echo f; [ -d d ] && echo d; [ -e nothere ] || echo no; [ -s lines ] && echo s; touch -d 2001-01-01 old
	[ lines -nt old ] && echo newer; ln lines hard; [ lines -ef hard ] && echo same; ln -s lines soft; [ -L soft ] && echo link
	[ -x lines ] || echo not x; chmod +x lines; [ -x lines ] && echo x; [ -w lines ] && echo w; mkfifo p; [ -p p ] && echo p
	umask; umask 077; touch secret; stat -c %a secret lines'
same "directories" 'cd d/e; pwd | sed "s,.*/t/,,"; cd ..; cd -  | sed "s,.*/t/,,"; mkdir -p a/b/c; cd a/b/c; rm -rf ../../../a; pwd | sed "s,.*/t/,,"
	ls; cd .. 2>&1 | grep -c .; cd "$OLDPWD"; pushd / >/dev/null; popd >/dev/null; cd /tmp; mkdir x; cd x; pwd; cd ..; rmdir x; cd; pwd | sed "s,.*/,,"'
same "background jobs" 'sleep 0.1 & p=$!; wait $p; echo "st $?"; (exit 5) & wait $!; echo $?; sleep 5 & kill $!; wait $! 2>/dev/null; echo $?
	p=(); for i in 1 2 3; do (sleep 0.0$i; exit $i) & p+=($!); done; n=0; for i in "${p[@]}"; do wait $i; n=$((n + $?)); done; echo $n
	(sleep 1; exit 4) & sleep 60 & wait -n; echo $?; kill $!; wait
	coproc cat; echo hello >&"${COPROC[1]}"; read -r x <&"${COPROC[0]}"; echo "$x"; exec {COPROC[1]}>&-; wait'
same "job control" 'set -m; sleep 2 & jobs | sed "s/ *sleep.*/ sleep/"; kill -STOP %1; sleep 0.05; jobs | sed "s/  *sleep.*/ sleep/"; kill -CONT %1; fg %1 >/dev/null
	echo "fg $?"; sleep 10 & kill %1; wait %1 2>/dev/null; echo $?; sleep 0.1 | sleep 0.1 & wait; echo done; disown -a;
	p=$(ps -o pgid= -p $$); sleep 60 & q=$(ps -o pgid= -p $!); [ $p != $q ] && echo own group; kill -KILL -- -$q; wait 2>/dev/null; echo end'
same "traps and signals" 'exec 2>/dev/null; trap "echo usr1" USR1; kill -USR1 $$; trap "echo exit" EXIT; trap "" TERM; kill -TERM $$; echo survived
	(trap - TERM; kill -TERM $BASHPID; echo never); echo $?; (kill -KILL $BASHPID); echo $?; trap "echo child" CHLD; /bin/true; trap - CHLD
	timeout 0.2 sleep 5; echo $?; timeout -s KILL 0.1 sleep 5; echo $?; bash -c "kill -SEGV \$\$"; echo $?; bash -c "ulimit -c 0; kill -QUIT \$\$"; echo $?'
same "exit statuses" 'bash -c "exit 42"; echo $?; nosuchcommand; echo $?; ./lines; echo $?; ./d; echo $?; /nothere/x; echo $?; exec bash -c "exit 17"'
same "a script of its own" 'cat >s <<"E"
#!/bin/bash
echo "args: $# $*"; [ -t 0 ] || echo no tty; read -r -t 1 x; echo "read $?"
E
	chmod +x s; ./s a "b c"; bash s; . ./s; echo in | ./s; PATH=$PWD:$PATH; s x'
same "programs of coreutils" 'cp -a d d2; mv d2/f1 d2/g1; ls -R d2; rm -r d2; ls; wc lines; sort -r lines; cut -c1-2 lines; head -c 3 lines; od -c lines | head -2
	split -l 1 lines part; ls part*; cat part*; dd if=lines of=dd bs=2 count=3 2>/dev/null; cat dd; truncate -s 100 dd; stat -c %s dd; md5sum lines
	install -m 700 -D lines x/y/z; stat -c %a x/y/z; touch -r lines dd; cmp lines x/y/z && echo equal; realpath -s d/../lines | sed "s,.*/t/,,"; readlink -f d/../lines | sed "s,.*/t/,,"
	mktemp -u /tmp/XXX | wc -c; t=$(mktemp); echo q >"$t"; cat "$t"; rm "$t"; df . >/dev/null && echo df; du -s d >/dev/null && echo du; seq 3 | xargs -n1 echo x; seq 20 | shuf | sort -n | tail -1'
same "many files" 'mkdir m; for i in {1..400}; do echo $i >m/$i; done; ls m | wc -l; cat m/* | awk "{s+=\$1} END {print s}"; rm m/*[02468]; ls m | wc -l; rm -rf m; ls -d m'

# Beside secrets the kernel may execute nothing by itself; what is there runs all the same.
if [[ -w /etc ]]; then
	odd=/etc/bvisor-test-$$
	trap 'rm -rf "$odd"; chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
	mkdir "$odd"
	cp /bin/echo /bin/readlink "$odd"
	cp "$FIXTURE" "$odd/fixture"
	printf '#!%s/echo -e\n' "$odd" >"$odd/by_it"
	printf '#!/bin/sh\necho "$0" "$@"; readlink /proc/self/exe; cat /proc/$$/comm\n' >"$odd/script"
	chmod +x "$odd/by_it" "$odd/script"
	same "programs in /etc" "$odd"'/echo hi; '"$odd"'/by_it a b; '"$odd"'/script x y; '"$odd"'/readlink /proc/self/exe
		cd '"$odd"'; ./readlink /proc/self/exe; ./script 1; ln -s '"$odd"'/readlink "$OLDPWD/rl"; "$OLDPWD/rl" /proc/self/exe; ./fixture; echo $?; for i in 1 2 3; do ./echo $i; done'
	rm -r "$odd"
else
	skip "programs in /etc" "needs root"
fi

# Three-stage pipes while signals rain on the shell: nothing may hang or get lost.
rounds=${ROUNDS:-30}
limit=$((60 + rounds))
check "3-stage pipes under a signal storm, $rounds times" 'exec 2>/dev/null # bash 5.2 may complain of its own command substitution when a trap interrupts it
	trap : USR1 WINCH
	(trap - USR1 WINCH; while kill -USR1 $$ 2>/dev/null; do kill -WINCH $$; sleep 0.001; done) & storm=$!
	bad=0
	for ((i = 0; i < '"$rounds"'; i++)); do
		n=$(seq 300 | cat | wc -l); [[ $n == 300 ]] || bad=$((bad + 1))
		n=$(echo a b c | while read -r x y z; do echo "$z" "$y"; done | cat); [[ $n == "c b" ]] || bad=$((bad + 1))
		echo "$i" >f; read -r n <f; [[ $n == "$i" ]] || bad=$((bad + 1))
	done
	kill $storm; wait 2>/dev/null
	echo "bad $bad"' "bad 0"
check "the same with signals to the whole group, $rounds times" '
	set -m
	(trap : USR1; (trap "" USR1; while kill -USR1 0 2>/dev/null; do sleep 0.002; done) & storm=$!
	trap "" USR1
	for ((i = 0; i < '"$rounds"'; i++)); do seq 100 | sort -n | tail -1; done | uniq -c | sed "s/^ *//"
	kill $storm)' "$rounds 100"
finish
