/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* A thread rewrites the path while another opens it: never the hidden file, never a host file written. */
#include "h.h"
#include <pthread.h>

struct race {
	_Alignas(64) char path[PATH_MAX];
	char one[PATH_MAX], two[PATH_MAX];
	atomic_bool stop;
};

static void *writer(void *arg)
{
	struct race *r = arg;
	size_t n = strlen(r->one) + 1;

	/* Both spellings are of one length, so that only bytes in the middle change. */
	while (!r->stop) {
		memcpy(r->path, r->two, n);
		atomic_signal_fence(memory_order_seq_cst);
		memcpy(r->path, r->one, n);
		atomic_signal_fence(memory_order_seq_cst);
	}
	return NULL;
}

static void start(struct race *r, pthread_t *t)
{
	MUST(strlen(r->one) == strlen(r->two));
	memcpy(r->path, r->one, sizeof(r->path));
	r->stop = false;
	MUST(pthread_create(t, NULL, writer, r) == 0);
}

static void stop(struct race *r, pthread_t t)
{
	r->stop = true;
	pthread_join(t, NULL);
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	static struct race r;
	pthread_t t;
	int ok = 0;

	/* Reading: a public file and the hidden one. */
	h_fmt(r.one, "%s/dir///../dir/sub/f", h.host);
	h_fmt(r.two, "%s/hidden/sub/secret.txt", h.host);
	while (strlen(r.one) < strlen(r.two))
		h_fmt(r.path, "%s", r.one), h_fmt(r.one, "/%s", r.path);
	while (strlen(r.two) < strlen(r.one))
		h_fmt(r.path, "%s", r.two), h_fmt(r.two, "/%s", r.path);
	start(&r, &t);
	for (int i = 0; i < h.rounds; i++) {
		int fd = open(r.path, O_RDONLY);

		ok += fd >= 0;
		h_leaks(fd, "path rewritten during open");
	}
	stop(&r, t);
	if (!ok)
		breach("no open succeeded at all: this is no race");

	/* Writing: a file of ours in a rw tree and one of the host. */
	ok = 0;
	h_fmt(r.one, "%s/mine_1234", h.rw);
	h_fmt(r.two, "%s/a.txt", h.host);
	MUST(close(open(r.one, O_WRONLY | O_CREAT, 0600)) == 0);
	while (strlen(r.one) < strlen(r.two))
		h_fmt(r.path, "%s", r.one), h_fmt(r.one, "/%s", r.path);
	while (strlen(r.two) < strlen(r.one))
		h_fmt(r.path, "%s", r.two), h_fmt(r.two, "/%s", r.path);
	start(&r, &t);
	for (int i = 0; i < h.rounds; i++) {
		int fd;

		switch (i % 6) {
		case 0:
		case 1:
			fd = open(r.path, O_RDWR | (i % 2 ? O_TRUNC : 0));
			if (fd >= 0) {
				ok++;
				(void)!write(fd, "BREACH", 6);
				close(fd);
			}
			break;
		case 2:
			(void)!truncate(r.path, 1);
			break;
		case 3:
			chmod(r.path, 0666);
			break;
		case 4:
			(void)!chown(r.path, 4242, 4242);
			break;
		default:
			utimensat(AT_FDCWD, r.path, (struct timespec[]){ { 1, 0 }, { 1, 0 } }, 0);
		}
	}
	stop(&r, t);
	if (!ok)
		breach("no open succeeded at all: this is no race");

	/* Names that come and go: unlink and rename with a path that changes. */
	start(&r, &t);
	for (int i = 0; i < h.rounds / 10; i++) {
		close(open(r.one, O_WRONLY | O_CREAT, 0600));
		if (i % 2)
			unlink(r.path);
		else
			rename(r.path, r.path);
	}
	stop(&r, t);
	return h_end();
}
