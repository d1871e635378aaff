#!/bin/sh
# Every public header compiles alone, without a warning.
# Usage: headers.sh INCLUDEDIR LANGUAGE STANDARD COMPILER...
dir=$1 language=$2 standard=$3
shift 3
bad=0 n=0
for header in "$dir"/bvisor/*.h "$dir"/bvisor/svc/*.h; do
	name=${header#"$dir"/}
	if echo "#include <$name>" | "$@" -x "$language" -std="$standard" -pedantic-errors -Wall -Wextra -Werror \
		-Wno-unused-function -I"$dir" -fsyntax-only -; then
		n=$((n + 1))
	else
		echo "not ok: $name as $standard"
		bad=1
	fi
done
echo "$n headers compile as $standard"
[ $n -ge 8 ] || bad=1
exit $bad
