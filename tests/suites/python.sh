#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# python3: the interpreter, virtual environments, compiling, and the parts of its library that lean on the system.
. "$(dirname "$0")/lib.sh"
py=/usr/bin/python3
[[ -x $py ]] || { skip python3 "not installed"; finish; }
mkdir -p "$work/src/pkg/sub"
for i in {1..30}; do printf 'def f%d(x):\n    return x + %d\n' "$i" "$i" >"$work/src/pkg/m$i.py"; done
touch "$work/src/pkg/__init__.py" "$work/src/pkg/sub/__init__.py"
printf 'from . import m1\nprint(m1.f1(41))\n' >"$work/src/pkg/__main__.py"

same "python3 -c" "$py -c 'print(6*7)'; $py -c 'import sys; print(sys.version_info[:2], sys.flags.isolated); sys.exit(3)'"
same "a package, with its cache written" "$py -m pkg; ls pkg/__pycache__ | wc -l; $py -m pkg; $py -B -c 'import pkg.m2; print(pkg.m2.f2(1))'"
same "compileall" "$py -m compileall -q pkg && find pkg -name '*.pyc' | wc -l; $py -m compileall -f -j 2 -q pkg; echo \$?; $py -O -m compileall -q pkg; find pkg -name '*.pyc' | wc -l"
pip=--without-pip
same "a virtual environment" "$py -m venv $pip v && v/bin/python -c 'import sys, os; print(sys.prefix != sys.base_prefix, os.path.basename(sys.prefix))'
	. v/bin/activate; python -c 'import sys; print(sys.executable.split(\"/t/\")[1])'; ls v v/bin; cat v/pyvenv.cfg | cut -d= -f1"
same "files" "$py - <<'E'
import os, pathlib, shutil, tempfile, mmap, stat, glob, zipfile, tarfile
shutil.copytree('pkg', 'copy'); print(sorted(os.listdir('copy'))[:4], sum(len(f) for _, _, f in os.walk('copy')))
shutil.rmtree('copy'); print(os.path.exists('copy'))
shutil.rmtree('pkg/sub'); print(os.path.exists('pkg/sub'))
with tempfile.TemporaryDirectory() as d, open(d + '/x', 'w+b') as f:
    f.write(b'0' * 5000); f.flush(); m = mmap.mmap(f.fileno(), 0); m[1:4] = b'abc'; m.flush(); print(open(d + '/x', 'rb').read(6))
with tempfile.TemporaryFile() as f: f.write(b'x'); print(f.tell())
with tempfile.NamedTemporaryFile() as f: print(os.path.exists(f.name))
p = pathlib.Path('new'); p.write_text('hi'); p.chmod(0o640); print(oct(p.stat().st_mode), p.resolve().name); p.rename('newer'); print(p.exists())
os.symlink('newer', 'l'); print(os.readlink('l'), os.path.realpath('l').endswith('/t/newer')); os.replace('newer', 'pkg/m1.py'); print(open('pkg/m1.py').read())
with zipfile.ZipFile('z.zip', 'w') as z: [z.write(n) for n in sorted(glob.glob('pkg/*.py'))]
print(len(zipfile.ZipFile('z.zip').namelist())); tarfile.open('t.tgz', 'w:gz').add('pkg'); print(os.path.getsize('t.tgz') > 0)
fd = os.open('pkg', os.O_RDONLY); print(sorted(os.listdir(fd))[:2], os.stat('m2.py', dir_fd=fd).st_size); print([e.name for e in sorted(os.scandir('pkg'), key=lambda e: e.name) if e.is_file()][:2])
E"
same "processes and threads" "$py - <<'E'
import subprocess, multiprocessing as mp, threading, os, signal, concurrent.futures as cf, asyncio, sys
print(subprocess.run(['echo', 'hi'], capture_output=True).stdout, subprocess.call('exit 4', shell=True))
print(subprocess.run([sys.executable, '-c', 'import sys; print(sys.stdin.read())'], input=b'piped', stdout=subprocess.PIPE).stdout)
try: subprocess.run(['/nothere'])
except FileNotFoundError as e: print(e)
def sq(x): return x * x
if __name__ == '__main__':
    with mp.get_context('fork').Pool(3) as p: print(p.map(sq, range(6)))
    q = mp.Queue(); w = mp.Process(target=q.put, args=(os.getcwd().split('/')[-1],)); w.start(); print(q.get()); w.join(); print(w.exitcode)
    with cf.ThreadPoolExecutor(8) as ex: print(sum(ex.map(lambda i: os.stat('pkg/m%d.py' % (i % 30 + 1)).st_size, range(200))))
    async def main():
        ps = [await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1) for _ in range(5)]
        print(b''.join([(await p.communicate(b'%d' % i))[0] for i, p in enumerate(ps)]))
    asyncio.run(main())
    p = subprocess.Popen(['sleep', '9']); p.send_signal(signal.SIGTERM); print(p.wait())
    print(os.getppid() == int(open('/proc/self/stat').read().split()[3]), os.getpid() == int(os.readlink('/proc/self')))
E"
same "sqlite3, ctypes, locale" "$py - <<'E'
import sqlite3, ctypes, ctypes.util, json, hashlib, locale
c = sqlite3.connect('db'); c.execute('pragma journal_mode=wal'); c.execute('create table t(a)'); c.executemany('insert into t values(?)', [(i,) for i in range(500)]); c.commit()
d = sqlite3.connect('db'); print(d.execute('select sum(a) from t').fetchone()); c.close(); d.close()
print(ctypes.CDLL('libc.so.6').abs(-5), hashlib.sha256(b'x').hexdigest()[:8], locale.setlocale(locale.LC_ALL, ''))
E"
finish
