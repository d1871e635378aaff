#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many runs of every ending there is leave no process, directory or descriptor behind, and no run
# is hurt by its predecessors.
. "$(dirname "$0")/../suites/lib.sh"
rounds=${ROUNDS:-200}
[[ ${NATIVE-} ]] && { skip leftovers "needs bvisor"; finish; }
tag=bvisor-leftover-$$

# Where a sandbox may keep its upper layer or sockets.
places() { ls -A /tmp /var/tmp /dev/shm "${XDG_RUNTIME_DIR:-/run}" "$work/home" "$work/home/.cache" "$work/home/.local/share" "$work/home/.local/state" 2>/dev/null; }
# $! must be bvisor itself, so what runs in the background is no function.
# Ours by command line: the sandbox itself, and every guest, whose arguments carry the tag.
processes() { pgrep -f -- "$tag" | grep -vx $$; }
run() { clean timeout -k 5 30 "$BVISOR" run --env-all -- "$@" </dev/null; }

fresh
run true
before=$(places)
bad=
for ((i = 0; i < rounds; i++)); do
	case $((i % 8)) in
	0) run /bin/true || bad+=" $i:true" ;;
	1) [[ $(run bash -c "echo out; touch /tmp/x y; exit 3" "$tag"; echo $?) == $'out\n3' ]] || bad+=" $i:exit" ;;
	2) run bash -c 'kill -KILL $$' "$tag" 2>/dev/null; [[ $? == 137 ]] || bad+=" $i:signal" ;;
	3) run bash -c '(trap "" TERM HUP; setsid sleep 60 & sleep 60) & exit 0' "$tag" || bad+=" $i:background" ;;
	4) run /nothere/"$tag" 2>/dev/null; [[ $? == 127 ]] || bad+=" $i:missing" ;;
	5) # the front process gets SIGTERM while the guest works
		"${small_env[@]}" "$BVISOR" run --env-all -- bash -c 'while :; do echo x >f; rm f; done' "$tag" </dev/null &
		sleep 0.0$((i % 10)); kill -TERM $!; wait $! 2>/dev/null ;;
	6) # the front process is killed outright
		"${small_env[@]}" "$BVISOR" run --env-all -- bash -c 'while :; do echo x >f; rm f; done' "$tag" </dev/null &
		front=$!; sleep 0.0$((i % 10 + 1)); kill -KILL $front; wait $front 2>/dev/null ;;
	7) # the supervisor is killed outright
		"${small_env[@]}" "$BVISOR" run --env-all -- bash -c 'while :; do echo x >f; rm f; done' "$tag" </dev/null 2>/dev/null &
		front=$!; sleep 0.05
		for p in $(pgrep -P "$front"); do
			[[ $(readlink "/proc/$p/exe") == "$BVISOR" ]] && kill -KILL "$p"
		done
		for ((k = 0; k < 100; k++)); do kill -0 $front 2>/dev/null || break; sleep 0.02; done
		kill -KILL $front 2>/dev/null && bad+=" $i:front-outlives-supervisor"; wait $front 2>/dev/null ;;
	esac
done
[[ -z $bad ]]
ok $? "$rounds runs of every ending end as they should" "$bad"
sleep 1
left=$(processes | while read -r p; do echo "$p $(tr '\0' ' ' <"/proc/$p/cmdline" | head -c 200)"; done)
[[ -z $left ]]
ok $? "no process is left" "$left"
[[ -z $left ]] || processes | xargs -r kill -KILL
run true # the next start collects what a killed one left
after=$(places)
# Others use these places too; ours are called after us.
new=$(diff <(echo "$before") <(echo "$after") | grep '^>.*bvisor' | grep -v 'bvisor-\(suite\|test\)-')
[[ -z $new ]]
ok $? "no directory is left" "$new"
zombies=$(ps -o pid=,ppid=,stat=,comm= --ppid $$ | grep ' Z')
[[ -z $zombies ]]
ok $? "no zombie is left" "$zombies"
cd "$work" || exit 1

# One sandbox that lives long: neither its supervisor's descriptors nor its memory may grow.
cat >"$work/grow.sh" <<'E'
for i in {1..60}; do
	for k in {1..20}; do
		echo "$k" >"f$k"; cat "f$k" | cat >/dev/null; ln -s "f$k" "l$k"; mv "f$k" "g$k"; mkdir -p d/e; rm -r d "l$k" "g$k"; ls /usr/include >/dev/null
	done
	(kill -KILL $BASHPID) 2>/dev/null
	((i == 10 || i == 60)) && { echo "mark $i"; read -r _; }
done
E
mkfifo "$work/in"
"${small_env[@]}" "$BVISOR" run --env-all -- bash "$work/grow.sh" "$tag" <"$work/in" >"$work/out" 2>&1 &
front=$!
exec 7>"$work/in"
measure() { # descriptors, threads and KiB that the supervisor has written (what it shares depends on who else runs)
	for _ in {1..1200}; do grep -q "mark $1" "$work/out" && break; sleep 0.05; done
	for p in $(pgrep -P "$front"); do
		[[ $(readlink "/proc/$p/exe") == "$BVISOR" ]] || continue
		echo "$(ls "/proc/$p/fd" | wc -l) $(ls "/proc/$p/task" | wc -l) $(awk '/^Private_Dirty/ {print $2}' "/proc/$p/smaps_rollup")"
	done
}
read -r fds threads kib <<<"$(measure 10)"
echo >&7
read -r fds2 threads2 kib2 <<<"$(measure 60)"
echo >&7
exec 7>&-
wait $front
ok $? "a long-lived sandbox ends well" "$(tail -n 5 "$work/out")"
[[ -n ${fds-} && -n ${fds2-} ]] && ((fds2 <= fds + 2 && threads2 <= threads + 4))
ok $? "its supervisor's descriptors and threads do not grow" "descriptors ${fds-} -> ${fds2-}, threads ${threads-} -> ${threads2-}"
[[ -n ${kib-} && -n ${kib2-} ]] && ((kib2 <= kib + kib / 4 + 256))
ok $? "nor does its memory" "dirty KiB ${kib-} -> ${kib2-}"
finish
