#!/bin/sh
# Every module exports exactly one symbol, bvisor_module.  Usage: one-symbol.sh NM FILE...
nm=$1
shift
bad=0
for file; do
	got=$("$nm" -D --defined-only --format=posix "$file" | cut -d' ' -f1,2 | tr '\n' ' ')
	case $got in
	'bvisor_module D ' | 'bvisor_module R ') echo "ok: $file" ;;
	*) echo "not ok: $file exports: $got"; bad=1 ;;
	esac
done
[ $# -gt 0 ] || { echo "no modules given"; bad=1; }
exit $bad
