/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* Upwards out of everything: `..` in every place, from moved and removed directories. */
#include "h.h"
#include <linux/openat2.h>

static int at2(int fd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags, .resolve = resolve };

	return (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
}

/* Attacks relative to a directory descriptor by up steps and a path below. */
static void from(const struct hostile *h, int dir, const char *what)
{
	char up[PATH_MAX] = "", b[PATH_MAX * 2];

	if (dir < 0)
		return;
	for (int steps = 0; steps < 12; steps++) {
		int fd;

		snprintf(b, sizeof(b), "%s.%s/a.txt", up, h->host);
		fd = openat(dir, b, O_RDWR);
		if (fd >= 0) {
			(void)!write(fd, "BREACH", 6);
			close(fd);
		}
		fchmodat(dir, b, 0666, 0);
		snprintf(b, sizeof(b), "%s.%s/hidden/secret.txt", up, h->host);
		h_leaks(openat(dir, b, O_RDONLY), what);
		h_leaks(at2(dir, b, O_RDONLY, RESOLVE_IN_ROOT), what);
		h_leaks(at2(dir, b, O_RDONLY, RESOLVE_NO_SYMLINKS), what);
		h_leaks(at2(dir, b, O_RDONLY, RESOLVE_BENEATH), what);
		snprintf(b, sizeof(b), "%shidden/secret.txt", up);
		h_leaks(openat(dir, b, O_RDONLY), what);
		snprintf(b, sizeof(b), "%sdir/../hidden/./sub/../secret.txt", up);
		h_leaks(openat(dir, b, O_RDONLY), what);
		snprintf(b, sizeof(b), "%sb.txt", up);
		unlinkat(dir, b, 0);
		strcat(up, "../");
	}
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char b[PATH_MAX], c[PATH_MAX];
	int fd, sub;

	MUST(mkdir(h_fmt(b, "%s/w", h.rw), 0755) == 0 && mkdir(h_fmt(c, "%s/w/in", h.rw), 0755) == 0);
	from(&h, open(b, O_RDONLY), "from a rw directory");
	from(&h, open(c, O_PATH), "from below a rw directory");
	/* Moved upwards while open: what ".." means has changed. */
	sub = open(c, O_RDONLY);
	rename(c, h_fmt(b, "%s/moved", h.rw));
	from(&h, sub, "from a moved rw directory");
	rename(b, h_fmt(c, "%s/moved_in", h.host));
	from(&h, sub, "from a directory moved into the cow tree");
	/* A directory of the host, moved. */
	fd = open(h_fmt(b, "%s/dir/sub/deep", h.host), O_RDONLY);
	rename(h_fmt(b, "%s/dir/sub", h.host), h_fmt(c, "%s/sub", h.rw));
	rename(h_fmt(b, "%s/dir/sub", h.host), h_fmt(c, "%s/sub", h.host));
	from(&h, fd, "from a moved cow directory");
	if (!h.control) {
		MUST(mkdir("/tmp/w", 0755) == 0 && mkdir("/tmp/w/in", 0755) == 0);
		sub = open("/tmp/w/in", O_RDONLY);
		from(&h, sub, "from /tmp");
		MUST(chdir("/tmp/w/in") == 0);
		from(&h, AT_FDCWD, "from /tmp as cwd");
		rename("/tmp/w/in", h_fmt(b, "%s/fromtmp", h.host));
		from(&h, sub, "from a directory moved out of /tmp");
		from(&h, AT_FDCWD, "from a moved cwd");
		rmdir(b);
		from(&h, sub, "from a removed directory");
		from(&h, AT_FDCWD, "from a removed cwd");
	}
	/* Rename the parents of what is hidden, and stand inside a hidden directory by its inode. */
	MUST(chdir(h.host) == 0);
	fd = open(".", O_PATH);
	rename("hidden", "shown");
	h_leaks_path("shown/secret.txt");
	if (!h.control) {
		h_fmt(b, "%s.renamed", h.host);
		rename(h.host, b);
		from(&h, fd, "from the renamed parent");
		h_leaks_path(h_fmt(c, "%s/hidden/secret.txt", b));
		MUST(fchdir(fd) == 0);
		h_leaks_path("hidden/secret.txt");
		rename(b, h.host);
	}
	/* A new root. */
	if (!h.control && chroot(h.host) == 0) {
		h_leaks_path("/hidden/secret.txt");
		breach("chroot was allowed");
	}
	return h_end();
}
