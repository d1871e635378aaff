/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* Symbolic and hard links made by the guest that lead to files of the host. */
#include "h.h"

static void through(const char *link, const char *target)
{
	unlink(link);
	if (symlink(target, link) == 0)
		h_attack_path(link);
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char a[PATH_MAX], b[PATH_MAX], d[PATH_MAX], up[PATH_MAX];
	const char *dirs[] = { "/tmp", h.rw, h.host };
	int fd;

	h_fmt(a, "%s/a.txt", h.host);
	h_fmt(up, "../../../../../../../../../..%s", a);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (h.control && i == 0)
			continue;
		through(h_fmt(b, "%s/l1", dirs[i]), a);
		through(h_fmt(b, "%s/l2", dirs[i]), up);
		/* By way of a linked directory, and of a chain. */
		symlink(h.host, h_fmt(d, "%s/ld", dirs[i]));
		h_attack_path(h_fmt(b, "%s/ld/b.txt", dirs[i]));
		h_leaks_path(h_fmt(b, "%s/ld/hidden/secret.txt", dirs[i]));
		symlink("ld", h_fmt(d, "%s/ld2", dirs[i]));
		h_attack_path(h_fmt(b, "%s/ld2/dir/x", dirs[i]));
		h_leaks_path(h_fmt(b, "%s/ld2/hidden/sub/secret.txt", dirs[i]));
		/* Making, removing and renaming below it. */
		close(open(h_fmt(b, "%s/ld/made", dirs[i]), O_WRONLY | O_CREAT, 0666));
		mkdir(h_fmt(b, "%s/ld/madedir", dirs[i]), 0777);
		unlink(h_fmt(b, "%s/ld/dir/y", dirs[i]));
		rename(h_fmt(b, "%s/ld/dir/z", dirs[i]), h_fmt(d, "%s/stolen", dirs[i]));
		rename(h_fmt(b, "%s/ld/dir/sub", dirs[i]), h_fmt(d, "%s/stolendir", dirs[i]));
		/* A dangling link: creation follows it. */
		symlink(h_fmt(d, "%s/created_through_link", h.host), h_fmt(b, "%s/l3", dirs[i]));
		fd = open(b, O_WRONLY | O_CREAT, 0666);
		if (fd >= 0)
			close(fd);
		/* Hard links, also to the hidden file and to a link. */
		if (link(h_fmt(d, "%s/ro.txt", h.host), h_fmt(b, "%s/hard", dirs[i])) == 0)
			h_attack_path(b);
		if (linkat(AT_FDCWD, h_fmt(d, "%s/link_a", h.host), AT_FDCWD, h_fmt(b, "%s/hard2", dirs[i]), AT_SYMLINK_FOLLOW) == 0)
			h_attack_path(b);
		if (link(h_fmt(d, "%s/hidden/secret.txt", h.host), h_fmt(b, "%s/hard3", dirs[i])) == 0)
			h_leaks_path(b);
		/* The link itself, not its target. */
		lchown(h_fmt(b, "%s/link_dir", h.host), 4242, 4242);
		utimensat(AT_FDCWD, b, (struct timespec[]){ { 1, 0 }, { 1, 0 } }, AT_SYMLINK_NOFOLLOW);
	}
	h_attack_path(h_fmt(b, "%s/file", h.ro));
	through(h_fmt(b, "%s/tofile", h.ro), a);
	close(open(h_fmt(b, "%s/new", h.ro), O_WRONLY | O_CREAT, 0666));
	symlink(h_fmt(d, "%s/file", h.ro), h_fmt(b, "%s/to_ro", h.rw));
	h_attack_path(b);
	if (link(h_fmt(d, "%s/file", h.ro), h_fmt(b, "%s/hard_ro", h.rw)) == 0)
		h_attack_path(b);
	rename(h_fmt(d, "%s/file", h.ro), h_fmt(b, "%s/moved_ro", h.rw));
	return h_end();
}
