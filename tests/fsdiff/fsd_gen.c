/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations, see fsd.c. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fsd.h"

static uint64_t rng;

static unsigned rnd(unsigned n)
{
	/* xorshift64*: Marsaglia 2003, Vigna 2016 */
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return (unsigned)((rng * 0x2545f4914f6cdd1dULL) >> 33) % n;
}

static const char *const names[] = {"a", "b", "c", "d", "e", "f", "ln", "dl"};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static void put_name(char *to)
{
	if (rnd(60) == 0) {
		memset(to, 'x', 250 + rnd(12));
		to[250 + rnd(12)] = '\0';
		to[261] = '\0';
		to[strnlen(to, 261)] = '\0';
		return;
	}
	strcpy(to, names[rnd(N_NAMES)]);
}

/* A path of up to three parts; sometimes odd. */
static void put_path(char *to)
{
	char name[300] = "";

	*to = '\0';
	if (rnd(12) == 0)
		strcat(to, rnd(2) ? "./" : "../");
	for (unsigned n = 1 + rnd(3); n; n--) {
		memset(name, 0, sizeof(name));
		put_name(name);
		strcat(to, name);
		if (n > 1)
			strcat(to, rnd(20) ? "/" : rnd(2) ? "//" : "/./");
		if (n > 1 && rnd(25) == 0)
			strcat(to, "../");
	}
	if (rnd(15) == 0)
		strcat(to, rnd(3) ? "/" : "/.");
}

/* "slot:path" names a path by a directory's descriptor, "@path" an absolute one. */
static void put_at(char *to)
{
	unsigned how = rnd(11);

	if (how == 0 || how == 2)
		to += sprintf(to, "%u:", rnd(SLOTS));
	else if (how == 1)
		to += sprintf(to, "@");
	put_path(to);
}

struct kind {
	const char *name;
	const char *args; /* p path, s slot, f/m/n/... numbers of a kind, see put_arg */
	unsigned weight;
};

static const struct kind kinds[] = {
	{"open", "spom", 26},   {"opendir", "sp", 6},    {"creat", "spm", 4},
	{"tmpfile", "spm", 2},  {"close", "s", 8},       {"dup", "ss", 2},
	{"read", "sn", 8},      {"write", "sn", 12},     {"pread", "sno", 4},
	{"pwrite", "snN", 5},   {"seek", "sNw", 4},      {"ftruncate", "sN", 3},
	{"truncate", "pN", 4},  {"fallocate", "sNn", 2}, {"fstat", "s", 5},
	{"stat", "p", 10},      {"lstat", "p", 8},       {"statx", "p", 3},
	{"access", "pa", 5},    {"eaccess", "pa", 3},    {"readlink", "p", 5},
	{"mkdir", "pm", 8},     {"rmdir", "p", 5},       {"unlink", "p", 10},
	{"rename", "pp", 12},   {"rename2", "ppr", 6},   {"link", "pp", 7},
	{"linkf", "pp", 2},     {"linkfd", "sp", 2},     {"symlink", "tp", 6},
	{"mkfifo", "pm", 2},    {"chmod", "pm", 6},      {"fchmod", "sm", 2},
	{"chown", "puu", 3},    {"lchown", "puu", 2},    {"utimens", "pTT", 4},
	{"futimens", "sTT", 2}, {"list", "p", 6},        {"flist", "s", 3},
	{"chdir", "p", 3},      {"fchdir", "s", 2},      {"cwd", "", 3},
	{"umask", "m", 1},      {"setx", "pxn", 4},      {"getx", "px", 4},
	{"listx", "p", 3},      {"rmx", "px", 2},        {"fsetx", "sxn", 2},
	{"same", "pp", 3},      {"mmap", "sn", 2},       {"copyrange", "ssn", 2},
	{"sendfile", "ssn", 1}, {"flock", "sl", 1},      {"procfd", "s", 2},
	{"procopen", "sso", 2}, {"empty", "s", 2},       {"fsuid", "u", 1},
	{"openat2", "spoR", 3}, {"fsync", "s", 1},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void put_arg(char *to, char kind)
{
	static const unsigned open_flags[] = {O_CREAT, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY, O_CLOEXEC, O_NONBLOCK};
	static const unsigned modes[] = {0644, 0600, 0755, 0700, 0444, 0000, 0777, 01777, 02755, 04755, 0311};
	static const char *const targets[] = {"a", "b", "c/d", "../a", "ln", "dl/b", ".", "/proc/nowhere", "d", "dl"};
	unsigned v;

	switch (kind) {
	case 'p':
		put_at(to);
		return;
	case 't':
		strcpy(to, targets[rnd(sizeof(targets) / sizeof(targets[0]))]);
		return;
	case 's':
		v = rnd(SLOTS);
		break;
	case 'o':
		v = rnd(3);
		for (unsigned n = rnd(3); n; n--)
			v |= open_flags[rnd(sizeof(open_flags) / sizeof(open_flags[0]))];
		break;
	case 'm':
		v = modes[rnd(sizeof(modes) / sizeof(modes[0]))];
		break;
	case 'n':
		v = rnd(8) ? rnd(300) : rnd(20000);
		break;
	case 'N':
		v = rnd(4) ? rnd(500) : rnd(70000);
		break;
	case 'w':
		v = rnd(3);
		break;
	case 'a':
		v = rnd(8);
		break;
	case 'r':
		v = 1 + rnd(3);
		break;
	case 'u':
		v = rnd(3) ? 0 : 1000;
		break;
	case 'T':
		v = rnd(4) ? 1000 + rnd(50000) : rnd(2); /* 0: now, 1: omit */
		break;
	case 'x':
		v = rnd(4);
		break;
	case 'l':
		v = rnd(3);
		break;
	case 'R':
		v = 1u << rnd(5);
		break;
	default:
		v = 0;
	}
	sprintf(to, "%u", v);
}

int generate(uint64_t seed, unsigned n)
{
	unsigned total = 0;

	rng = seed * 0x9e3779b97f4a7c15ULL + 88172645463325252ULL;
	for (size_t i = 0; i < N_KINDS; i++)
		total += kinds[i].weight;
	while (n--) {
		unsigned pick = rnd(total);
		const struct kind *k = kinds;

		while (pick >= k->weight)
			pick -= k++->weight;
		printf("%u %s", rnd(4) == 0, k->name);
		for (const char *a = k->args; *a; a++) {
			char text[LINE] = "";

			put_arg(text, *a);
			printf(" %s", text);
		}
		putchar('\n');
	}
	return 0;
}

