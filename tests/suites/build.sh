#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gcc and make of a small project; musl and Go programs as guests.
. "$(dirname "$0")/lib.sh"
command -v gcc >/dev/null && command -v make >/dev/null || { skip "gcc and make" "not installed"; finish; }
limit=120
p=$work/src
mkdir -p "$p/src" "$p/inc"
for i in {1..8}; do
	echo "int f$i(int);" >>"$p/inc/all.h"
	printf '#include <stdio.h>\n#include <stdlib.h>\n#include "all.h"\nint f%d(int x) { return x + %d; }\n' "$i" "$i" >"$p/src/f$i.c"
done
printf '#include <stdio.h>\n#include "all.h"\nint main(void) { int x = 0; x = f1(f2(f3(f4(x)))) + f8(0); printf("%%d\\n", x); return x != 18; }\n' >"$p/src/main.c"
cat >"$p/Makefile" <<'E'
SRC = $(wildcard src/f*.c)
OBJ = $(SRC:src/%.c=obj/%.o)
CFLAGS = -Iinc -O1 -fPIC -Wall -MMD
all: prog prog-so
obj:
	mkdir -p $@
obj/%.o: src/%.c | obj
	$(CC) $(CFLAGS) -c -o $@ $<
lib.a: $(OBJ)
	$(AR) rcs $@ $^
liball.so: $(OBJ)
	$(CC) -shared -o $@ $^
prog: obj/main.o lib.a
	$(CC) -o $@ $^
prog-so: obj/main.o liball.so
	$(CC) -o $@ obj/main.o -L. -lall -Wl,-rpath,'$$ORIGIN'
clean:
	rm -rf obj prog prog-so lib.a liball.so
-include $(wildcard obj/*.d)
.PHONY: all clean
E
same "make, run, change, make again, clean" 'make -s -j2 && ./prog && ./prog-so; make -s -q && echo up to date; sleep 1.1; touch inc/all.h; make -q; echo $?; make -s -j2; ./prog
	echo "syntax error" >src/f3.c; make -s 2>&1 | grep -c error:; ls; make -s clean; ls'
same "gcc with pipes, temporary files, preprocessing" 'echo "int main(void){return 5;}" | gcc -x c - -o a && ./a; echo $?; gcc -pipe -c -Iinc src/f1.c -o x.o && nm x.o | grep f1 | cut -c18-
	gcc -E -Iinc src/main.c | tail -1; gcc -save-temps -Iinc -c src/f2.c && ls f2*; gcc -Iinc -O2 -flto src/*.c -o lto && ./lto; strip lto && ./lto; gcc nothere.c; echo $?'
cat >"$work/st.c" <<'E'
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
static void *t(void *a) { struct stat st; return (void *)(long)stat(a, &st); }
int main(int argc, char **argv)
{
	struct stat st; pthread_t th; void *r; char b[64] = ""; int fd, n = 0; DIR *d; struct dirent *e;
	if (argc > 1) { printf("child %s\n", argv[1]); return 9; }
	fd = open("made", O_CREAT | O_RDWR, 0640); if (write(fd, "static", 6) != 6) return 1; fstat(fd, &st); printf("%o %d\n", st.st_mode, (int)st.st_size);
	rename("made", "moved"); printf("%d %d\n", access("made", F_OK), access("moved", R_OK)); mkdir("dir", 0755); printf("%d %s\n", rmdir("inc"), strerror(errno));
	d = opendir("src"); while ((e = readdir(d))) n++; closedir(d); printf("entries %d\n", n);
	pthread_create(&th, 0, t, "moved"); pthread_join(th, &r); printf("thread %ld\n", (long)r);
	if (readlink("/proc/self/exe", b, sizeof b - 1) < 0) return 2;
	fflush(stdout); if (fork() == 0) { execl(argv[0], argv[0], "again", (char *)0); _exit(1); } wait(&n); printf("%d\n", WEXITSTATUS(n));
	printf("%s\n", system("echo shell") ? "no" : "yes"); FILE *p = popen("cat moved", "r"); printf("%s\n", fgets(b, sizeof b, p)); return pclose(p) + 3;
}
E
run='"$1"; echo $?; cp "$1" ./mine; ./mine; echo $?; chmod -x mine; ./mine; echo $?'
foreign() { # NAME PROGRAM: a program of the host, and its copy made inside
	cp "$2" "$work/src/guest"
	same "$1" "set -- ./guest; $run"
	rm "$work/src/guest"
}
if gcc -static -pthread -o "$work/st" "$work/st.c" 2>/dev/null; then foreign "a static glibc guest" "$work/st"; else skip "a static glibc guest" "no static libc"; fi
if command -v musl-gcc >/dev/null; then
	musl-gcc -static -o "$work/st" "$work/st.c" && foreign "a static musl guest" "$work/st"
	same "musl-gcc inside" 'echo "#include <stdio.h>
int main(void){puts(\"musl\");}" >m.c; musl-gcc -static m.c -o m && ./m'
	musl-gcc -o "$work/st" "$work/st.c" && foreign "a dynamic musl guest" "$work/st"
else
	skip "a static musl guest" "no musl-gcc"
fi
if command -v go >/dev/null; then
	mkdir "$work/go"
	cat >"$work/go/main.go" <<'E'
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Println("child", os.Args[1])
		os.Exit(9)
	}
	os.WriteFile("go.txt", []byte("from go"), 0644)
	b, err := os.ReadFile("go.txt")
	fmt.Println(string(b), err)
	e, _ := os.ReadDir("src")
	fmt.Println(len(e))
	var wg sync.WaitGroup
	n := 0
	var mu sync.Mutex
	for i := 0; i < 50; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := os.Stat("src/main.c"); err == nil {
				mu.Lock()
				n++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	fmt.Println(n)
	filepath.Walk(".", func(p string, i os.FileInfo, err error) error { n++; return err })
	fmt.Println(n > 60, os.RemoveAll("inc"), os.MkdirAll("a/b/c", 0755))
	_, err = os.Stat("inc/all.h")
	fmt.Println(err)
	out, err := exec.Command(os.Args[0], "again").Output()
	fmt.Print(string(out), err, "\n")
	out, err = exec.Command("sh", "-c", "echo shell").Output()
	fmt.Print(string(out), err, "\n")
	os.Exit(3)
}
E
	if (cd "$work/go" && CGO_ENABLED=0 GOFLAGS=-mod=mod GO111MODULE=off GOTOOLCHAIN=local go build -o "$work/gost" main.go) 2>"$work/goerr"; then
		foreign "a Go guest" "$work/gost"
	else
		skip "a Go guest" "go build failed: $(head -n 1 "$work/goerr")"
	fi
else
	skip "a Go guest" "no go"
fi
finish
