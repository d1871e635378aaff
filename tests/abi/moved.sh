#!/bin/sh
# An installation works where it is moved to: configuration and modules are found beside the
# executable.  Usage: moved.sh LOADER MODULE LIBDIR DATADIR
set -eu
loader=$1 module=$2 libdir=$3 datadir=$4
top=$(mktemp -d /tmp/bvisor-moved-XXXXXX)
trap 'rm -rf "$top"' EXIT
unset BVISOR_MODULE_DIR BVISOR_CONFIG XDG_CONFIG_HOME HOME
umask 022
mkdir -p "$top/here/bin" "$top/here/$libdir/bvisor" "$top/here/$datadir/bvisor"
cp "$loader" "$top/here/bin/load"
cp "$module" "$top/here/$libdir/bvisor/good.so"
printf '[core]\nlog = error\nmodules = good\n' >"$top/here/$datadir/bvisor/bvisor.ini"
for where in here there; do
	[ $where = here ] || mv "$top/here" "$top/$where"
	got=$("$top/$where/bin/load")
	want="$top/$where/$datadir/bvisor/bvisor.ini $top/$where/$libdir/bvisor/good.so"
	[ "$got" = "$want" ] || { echo "got '$got', want '$want'"; exit 1; }
done
# Also through a link in some other directory, as a user's ~/bin has it.
ln -s "$top/there/bin/load" "$top/load"
[ "$("$top/load")" = "$want" ]
# A configuration in the current directory is not looked at.
cd "$top" && printf '[core]\nmodules = nonsense\n' >bvisor.ini && mkdir -p bvisor && cp bvisor.ini bvisor/
[ "$("$top/load")" = "$want" ]
