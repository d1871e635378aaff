/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* Directories and links that change places while others walk through them. */
#include "h.h"
#include <pthread.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

struct swap {
	const char *base, *target;
	atomic_bool stop;
};

static void xchg(const char *a, const char *b)
{
	syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

/* d is now a directory of ours, now a link to the host's. */
static void *swapper(void *arg)
{
	struct swap *s = arg;
	char d[PATH_MAX], l[PATH_MAX], n[PATH_MAX];

	h_fmt(d, "%s/d", s->base);
	h_fmt(l, "%s/l", s->base);
	h_fmt(n, "%s/n", s->base);
	while (!s->stop) {
		xchg(d, l);
		/* And by plain renames, for a moment with nothing there. */
		rename(d, n);
		symlink(s->target, d);
		unlink(d);
		rename(n, d);
	}
	return NULL;
}

static void play(const struct hostile *h, const char *base, const char *target)
{
	struct swap s = { base, target, false };
	char b[PATH_MAX], w[PATH_MAX], r[PATH_MAX], m[PATH_MAX];
	pthread_t t;

	MUST(mkdir(base, 0755) == 0 || errno == EEXIST);
	MUST(mkdir(h_fmt(b, "%s/d", base), 0755) == 0);
	MUST(symlink(target, h_fmt(b, "%s/l", base)) == 0);
	MUST(close(open(h_fmt(b, "%s/d/a.txt", base), O_WRONLY | O_CREAT, 0644)) == 0);
	MUST(close(open(h_fmt(b, "%s/d/secret.txt", base), O_WRONLY | O_CREAT, 0644)) == 0);
	h_fmt(w, "%s/d/a.txt", base);
	h_fmt(r, "%s/d/secret.txt", base);
	h_fmt(m, "%s/d/made", base);
	MUST(pthread_create(&t, NULL, swapper, &s) == 0);
	for (int i = 0; i < h->rounds / 2; i++) {
		int fd = open(w, O_RDWR), dir;

		if (fd >= 0) {
			(void)!write(fd, "BREACH", 6);
			fchmod(fd, 0666);
			close(fd);
		}
		h_leaks_path(r);
		dir = open(h_fmt(b, "%s/d", base), O_RDONLY | O_DIRECTORY);
		if (dir >= 0) {
			h_leaks(openat(dir, "secret.txt", O_RDONLY), "openat in a swapped directory");
			h_leaks(openat(dir, "../d/secret.txt", O_RDONLY), "openat .. in a swapped directory");
			close(dir);
		}
		switch (i % 5) {
		case 0:
			close(open(m, O_WRONLY | O_CREAT, 0644));
			break;
		case 1:
			unlink(m);
			break;
		case 2:
			chmod(w, 0640);
			break;
		case 3:
			mkdir(h_fmt(b, "%s/d/dir", base), 0755);
			rmdir(b);
			break;
		default:
			rename(w, m);
			rename(m, w);
		}
	}
	s.stop = true;
	pthread_join(t, NULL);
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char b[PATH_MAX], t[PATH_MAX];

	/* Real links on the host's file system, in a rw tree: the supervisor must not follow them. */
	play(&h, h_fmt(b, "%s/swap1", h.rw), h.host);
	play(&h, h_fmt(b, "%s/swap2", h.rw), h_fmt(t, "%s/hidden", h.host));
	play(&h, h_fmt(b, "%s/swap3", h.host), h_fmt(t, "%s/hidden", h.host));
	if (!h.control) {
		play(&h, "/tmp/swap4", h.host);
		play(&h, "/tmp/swap5", h_fmt(t, "%s/hidden", h.host));
	}
	return h_end();
}
