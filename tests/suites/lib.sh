# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every suite of real programs shares.  A suite sources this, calls `same`, `check` and
# `skip`, and ends with `finish`.  Output is TAP.
#
#   BVISOR    the binary under test           FIXTURE  the compiled tests/guest/fixture.c
#   ROUNDS    how often to repeat what is repeated (default: the suite's own)
#   NATIVE=1  runs natively where bvisor would run: is the suite itself right?
set -u
shopt -s lastpipe
: "${BVISOR:?the binary under test}" "${FIXTURE:?tests/guest/fixture}"
[[ ${NATIVE-} ]] || BVISOR=$(readlink -f "$BVISOR")

base=${BVISOR_TEST_DIR:-${BVISOR_BUILD_DIR:-}}
case $(readlink -m "${base:-/tmp}") in
/tmp | /tmp/* | /var/tmp | /var/tmp/* | /dev/shm/* | /run | /run/*) base=${XDG_CACHE_HOME:-$HOME/.cache} ;;
esac
mkdir -p "$base"
work=$(readlink -f "$(mktemp -d "$base/bvisor-suite-XXXXXX")")
chmod 755 "$work"
mkdir "$work/home" "$work/src"
cp "$FIXTURE" "$work/fixture"
trap 'chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

tests=0 failed=0 limit=60
options=() # further arguments for bvisor run

ok() { # STATUS NAME [NOTES]
	tests=$((tests + 1))
	if (($1)); then
		failed=$((failed + 1))
		echo "not ok $tests - $2"
		[[ -z ${3-} ]] || head -n 40 <<<"$3" | sed 's/^/# /'
	else
		echo "ok $tests - $2"
	fi
}
skip() { # NAME WHY
	tests=$((tests + 1))
	echo "ok $tests - $1 # SKIP $2"
}
finish() {
	echo "1..$tests"
	exit $((failed != 0))
}

# The same small environment natively and inside.
small_env=(env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME="$work/home" USER="${USER:-root}" LANG=C.UTF-8
	TERM=dumb LC_ALL=C.UTF-8 ${BVISOR_CONFIG:+BVISOR_CONFIG="$BVISOR_CONFIG"}
	${BVISOR_MODULE_DIR:+BVISOR_MODULE_DIR="$BVISOR_MODULE_DIR"})
clean() { "${small_env[@]}" "$@"; }
native() { clean timeout -k 5 "$limit" "$@" </dev/null; }
box() {
	if [[ ${NATIVE-} ]]; then
		native "$@"
	else
		clean timeout -k 5 "$limit" "$BVISOR" run --env-all ${options[@]+"${options[@]}"} -- "$@" </dev/null
	fi
}

fresh() { # the tree a script works in: a copy of $work/src
	chmod -R u+rwX "$work/t" 2>/dev/null
	rm -rf "$work/t"
	cp -a "$work/src" "$work/t"
	cd "$work/t" || exit 1
}
listing() { "$work/fixture" sum "$work/t" "$work/src" "$work/home"; }

# Runs a bash script natively and inside, in fresh copies of $work/src at the same path; what it
# prints (both streams) and its status must be the same, and the host unchanged by the second run.
same() { # NAME SCRIPT
	local want got before notes=
	fresh
	want=$(native bash -c "$2" bash 2>&1; echo "status $?")
	fresh
	before=$(listing)
	got=$(box bash -c "$2" bash 2>&1; echo "status $?")
	[[ $want == "$got" ]] || notes=$(diff -u --label native --label bvisor <(echo "$want") <(echo "$got"))
	[[ ${NATIVE-} || $before == "$(listing)" ]] ||
		notes+=$'\n'"THE HOST CHANGED:"$'\n'$(diff <(echo "$before") <(listing))
	case $want in
	*'status 12'[4567]) notes+=$'\n'"natively: $want" ;; # a script that cannot run proves nothing
	esac
	[[ -z $notes ]]
	ok $? "$1" "$notes"
	cd "$work" || exit 1
}

# Runs a bash script inside only; it must end with 0 and, when given, print WANT.
check() { # NAME SCRIPT [WANT]
	local got status before notes=
	fresh
	before=$(listing)
	got=$(box bash -c "$2" bash 2>&1)
	status=$?
	((status == 0)) || notes="status $status"$'\n'"$got"
	[[ -z ${3-} || $got == "$3" ]] || notes+=$'\n'"printed: $got"$'\n'"wanted:  $3"
	[[ ${NATIVE-} || $before == "$(listing)" ]] ||
		notes+=$'\n'"THE HOST CHANGED:"$'\n'$(diff <(echo "$before") <(listing))
	[[ -z $notes ]]
	ok $? "$1" "$notes"
	cd "$work" || exit 1
}
