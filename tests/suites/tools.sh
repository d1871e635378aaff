#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tar, gzip, sqlite3, perl, find, rm -rf, and running what was written inside.
. "$(dirname "$0")/lib.sh"
limit=120
p=$work/src
mkdir -p "$p"/tree/{a,b,c}/{1,2,3} "$p/ro"
for f in "$p"/tree/*/*; do for i in 1 2 3 4 5; do echo "$f $i" >"$f/file$i"; done; done
ln -s ../a/1/file1 "$p/tree/b/link"
ln "$p/tree/a/1/file1" "$p/tree/a/hard"
mkfifo "$p/tree/fifo"
head -c 3000000 /dev/urandom >"$p/tree/random"
truncate -s 5M "$p/tree/sparse"
chmod 555 "$p/ro"

same "tar and gzip, there and back" 'tar czf t.tgz tree && tar tzf t.tgz | sort | md5sum; mkdir out; tar xzf t.tgz -C out; diff -r --no-dereference tree out/tree 2>&1 | grep -v fifo; echo ${PIPESTATUS[0]}
	find out/tree -printf "%P %y %m %s %l %T@\n" | grep -v "^[^ ]* d" | sort | md5sum; gzip -k tree/random; gunzip -c tree/random.gz | cmp - tree/random && echo equal; gzip -t tree/random.gz; stat -c %h out/tree/a/hard
	tar cf - -C tree . | tar xf - -C ro 2>/dev/null; ls ro; tar cJf t.xz tree/a 2>/dev/null && tar tf t.xz | wc -l; tar cSf s.tar tree/sparse; ls -s --block-size=1M s.tar | cut -d" " -f1'
same "cp, mv, rm of a tree of the host" 'cp -a tree copy; diff -r tree/a copy/a && echo same; mv tree moved; ls moved; ls tree 2>&1; rm -rf moved; ls; rm -rf copy; mv ro x; ls'
same "rm -rf of a tree that exists only on the host" 'rm -rf tree; echo $?; ls -A; mkdir tree; ls -A tree; echo new >tree/a; cat tree/a; rm -rfv ro | wc -l; rm -rf ../t/tree; ls -A'
same "find, xargs, grep, sed, awk, sort" 'find tree | sort | md5sum; find tree -type f -name "file[12]" | wc -l; find tree -newer tree/fifo -type p; find tree -name file3 -delete; find tree -name "file*" | wc -l
	find tree -type f -size +1M | sort; find tree/a -type f -exec md5sum {} + | wc -l; find tree -empty -type d; grep -rl "a/1" tree/a | sort; sed -i s/file/FILE/ tree/a/1/file1; cat tree/a/hard | wc -l
	find . -name "file?" -print0 | xargs -0 -n 5 -P 2 cat | wc -l; awk "{n++} END {print n}" tree/*/*/file*; sort -R tree/a/*/file* | sort -S 1M | md5sum; find tree -printf "%y" | fold -w1 | sort | uniq -c'
same "perl" 'perl -e "print 6*7, qq(\n); open my \$f, q(>), q(p.txt) or die; print \$f qq(x\ny\n); close \$f; open \$f, q(<), q(p.txt); print scalar(my @l = <\$f>), qq(\n); exit 3"; echo $?
	perl -pi -e "s/x/z/" p.txt; cat p.txt; perl -MFile::Find -e "my \$n; find(sub { \$n++ }, q(tree)); print qq(\$n\n)"; perl -MFile::Path=rmtree -e "rmtree(q(tree/a))"; ls tree; perl -e "print qx(echo sub); print join(q(,), sort glob(q(tree/b/*/*2))), qq(\n)"
	perl -MFile::Temp=tempfile -e "my (\$fh, \$n) = tempfile(UNLINK => 1); print \$fh 1; print -e \$n ? 1 : 0, qq(\n)"; perl -MCwd -e "chdir q(tree/b); print getcwd =~ m{/t/tree/b\$} ? 1 : 0, qq(\n)"'
if command -v sqlite3 >/dev/null; then
	(cd "$p" && sqlite3 host.db 'create table t(a integer primary key, b); insert into t select value, value * 2 from generate_series(1, 2000)' 2>/dev/null ||
		sqlite3 host.db 'create table t(a integer primary key, b); with recursive c(x) as (select 1 union all select x+1 from c where x < 2000) insert into t select x, x * 2 from c')
	same "sqlite3" 'sqlite3 host.db "select count(*), sum(b) from t"; sqlite3 host.db "update t set b = 0 where a % 2; select sum(b) from t; pragma integrity_check"; sqlite3 host.db "pragma journal_mode=wal; insert into t values(9999, 1); select count(*) from t"
	sqlite3 new.db "create table x(y); begin; insert into x values(1); rollback; insert into x values(2); select * from x; vacuum; pragma integrity_check"
	for i in 1 2 3 4; do sqlite3 -cmd ".timeout 20000" new.db "insert into x values($i)" & done; wait; sqlite3 new.db "select count(*), sum(y) from x"; echo ".dump x" | sqlite3 new.db | sort | md5sum; ls -A *.db*'
else
	skip sqlite3 "not installed"
fi
same "find over the system's own directories" 'find /usr/bin /usr/sbin /usr/include /bin -xdev -printf "%p %y %m %u %s %l\n" 2>&1 | sort | md5sum; find /usr/lib -xdev -maxdepth 2 -printf "%p %y %s\n" 2>&1 | sort | md5sum'
depth=${FIND_DEPTH:-4}
limit=600
fresh
box find / -xdev -maxdepth "$depth" -print0 >"$work/found" 2>"$work/errors"
status=$?
# Closed directories are closed inside too; nothing else may go wrong.
notes=$( ((EUID)) && grep -v ': Permission denied$' "$work/errors" || ((EUID)) || head -n 20 "$work/errors")
((status == 0 || EUID)) && [[ -z $notes ]] && (($(tr -cd "\0" <"$work/found" | wc -c) > 1000)) && [[ -z $(sort -z "$work/found" | uniq -zd | tr "\0" "\n" | head -n 3) ]]
ok $? "find / -xdev -maxdepth $depth: no error, no name twice" "status $status, $(tr -cd "\0" <"$work/found" | wc -c) names"$'\n'"$notes"
limit=120

same "a script written inside, with interpreters of the host and of the sandbox" 'printf "#!/bin/bash\necho host bash \$#\n" >s1; chmod +x s1; ./s1 a b; cp /bin/bash mybash; printf "#!%s/mybash\necho own bash; readlink /proc/\$\$/exe | sed s,.*/,,\n" "$PWD" >s2; chmod +x s2; ./s2
	printf "#!%s/s2 x\n" "$PWD" >s3; chmod +x s3; ./s3; printf "#!/usr/bin/env perl\nprint qq(perl @ARGV\n)" >s4; chmod +x s4; ./s4 q; printf "#!/nothere\n" >s5; chmod +x s5; ./s5; echo $?; rm mybash; ./s2; echo $?; PATH=.:$PATH s1; sh -c ./s1; nohup ./s1 2>/dev/null; env -i ./s1'
same "a copied and modified /bin/ls" 'cp /bin/ls ./ls1; ./ls1 -d tree; cat /bin/ls >ls2; chmod 755 ls2; printf "tail" >>ls2; ./ls2 -d tree; cmp /bin/ls ls2 | wc -l; /bin/ls -d tree; chmod 644 ls2; ./ls2; echo $?; cp /bin/echo tree/ls; PATH=$PWD/tree:$PATH ls shadowed; ln -s ls1 ls3; ./ls3 -d tree; mv ls1 tree/moved; tree/moved -d tree'
[[ ${NATIVE-} ]] || ((EUID)) || check "the system's own program replaced, inside only" 'cp /bin/echo /bin/ls.new && mv /bin/ls.new /bin/ls && ls replaced && rm /bin/cat && ! cat /dev/null 2>/dev/null && echo hi >/etc/hostname && read -r x </etc/hostname && [[ $x == hi ]] && echo "$x"' $'replaced\nhi'
[[ $(/bin/ls -d /) == / ]] && cat /etc/hostname >/dev/null && [[ $(cat /etc/hostname) != hi ]]
ok $? "and the host still has them"
finish
