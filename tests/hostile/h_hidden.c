/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* A hidden file by every spelling, and by every call that tells something about it. */
#include "h.h"
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/xattr.h>

static void known(const char *path)
{
	struct stat st;
	struct statx x;
	struct statfs fs;
	char b[256];
	int in;

	h_leaks_path(path);
	if (lstat(path, &st) == 0)
		breach("lstat knows %s", path);
	if (access(path, F_OK) == 0)
		breach("access knows %s", path);
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x) == 0)
		breach("statx knows %s", path);
	if (statfs(path, &fs) == 0)
		breach("statfs knows %s", path);
	if (getxattr(path, "user.x", b, sizeof(b)) >= 0 || errno == ENODATA)
		breach("getxattr knows %s", path);
	if (readlink(path, b, sizeof(b)) >= 0 || errno == EINVAL)
		breach("readlink knows %s", path);
	in = inotify_init();
	if (in >= 0 && inotify_add_watch(in, path, IN_ACCESS) >= 0)
		breach("inotify knows %s", path);
	close(in);
	h_leaks(open(path, O_PATH), path);
	if (truncate(path, 0) == 0)
		breach("truncate reached %s", path);
}

/* Everything a shell would do to look at it. */
static void tools(const char *host)
{
	static const char *const cmd[] = { "cat %s/hidden/secret.txt", "cat %s/hidden/*", "head -c 20 < %s/hidden/secret.txt",
	                                   "dd if=%s/hidden/secret.txt 2>/dev/null", "cp %s/hidden/secret.txt . && cat secret.txt",
	                                   "cd %s/hidden && cat secret.txt", "mv %s/hidden h2 && cat h2/secret.txt",
	                                   "tar cf - %s/hidden 2>/dev/null", "cat %s/./hidden//secret.txt", "grep -r TOP %s/hidden" };
	char b[PATH_MAX], line[512];

	for (size_t i = 0; i < sizeof(cmd) / sizeof(cmd[0]); i++) {
		size_t n = (size_t)snprintf(b, sizeof(b), "cd /tmp; exec 2>/dev/null; ");
		FILE *f;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(b + n, sizeof(b) - n, cmd[i], host);
#pragma GCC diagnostic pop
		f = popen(b, "r");
		while (f && fgets(line, sizeof(line), f))
			if (strstr(line, SECRET))
				breach("shell: %s", b);
		if (f)
			pclose(f);
	}
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char b[PATH_MAX], c[PATH_MAX];
	const char *base = strrchr(h.host, '/') + 1;
	struct dirent *e;
	DIR *d;
	int fd;

	MUST(chdir(h.host) == 0);
	known(h_fmt(b, "%s/hidden/secret.txt", h.host));
	known("hidden/secret.txt");
	known("./hidden/../hidden/secret.txt");
	known("hidden/sub/../secret.txt");
	known(h_fmt(b, "/%s//hidden///secret.txt", h.host));
	known(h_fmt(b, "/usr/..%s/hidden/secret.txt", h.host));
	known(h_fmt(b, "/proc/self/root%s/hidden/secret.txt", h.host));
	known("/proc/self/cwd/hidden/secret.txt");
	known(h_fmt(b, "/proc/self/cwd/../%s/hidden/secret.txt", base));
	known(h_fmt(b, "/proc/%d/cwd/hidden/secret.txt", getpid()));
	known(h_fmt(b, "/proc/%d/root%s/hidden/secret.txt", getppid(), h.host));
	known("/proc/thread-self/cwd/hidden/secret.txt");
	known(h_fmt(b, "/proc/self/task/%d/cwd/hidden/secret.txt", getpid()));
	known("/dev/fd/../cwd/hidden/secret.txt");
	known("link_dir/../hidden/secret.txt");
	known("dir/up/hidden/secret.txt");
	known("abs_dir/../hidden/secret.txt");
	symlink("hidden", "h1");
	known("h1/secret.txt");
	symlink("secret.txt", "h2");
	symlink(h_fmt(b, "%s/hidden/secret.txt", h.host), "h3");
	h_leaks_path("h3");
	fd = open(".", O_RDONLY);
	h_leaks(openat(fd, "hidden/secret.txt", O_RDONLY), "openat");
	known(h_fmt(b, "/proc/self/fd/%d/hidden/secret.txt", fd));
	known(h_fmt(b, "/dev/fd/%d/hidden/secret.txt", fd));
	h_leaks(open("hidden", O_RDONLY | O_DIRECTORY) >= 0 ? openat(open("hidden", O_RDONLY), "secret.txt", O_RDONLY) : -1, "dirfd");
	fd = open("hidden", O_PATH);
	if (fd >= 0) {
		breach("the hidden directory can be opened");
		h_leaks(openat(fd, "secret.txt", O_RDONLY), "O_PATH dirfd");
	}
	if (chdir("hidden") == 0) {
		breach("the hidden directory can be entered");
		MUST(chdir("..") == 0);
	}
	/* Not even its name is listed. */
	d = opendir(".");
	MUST(d);
	while ((e = readdir(d)))
		if (!strcmp(e->d_name, "hidden"))
			breach("the hidden directory is listed");
	closedir(d);
	/* Moved, linked, copied, executed, bound. */
	if (rename("hidden/secret.txt", "got") == 0)
		h_leaks_path("got");
	if (rename("hidden", "got2") == 0)
		h_leaks_path("got2/secret.txt");
	if (link("hidden/secret.txt", "got3") == 0)
		h_leaks_path("got3");
	if (syscall(SYS_renameat2, AT_FDCWD, "dir", AT_FDCWD, "hidden", 2) == 0)
		h_leaks_path("dir/secret.txt");
	mkdir("got4", 0755);
	if (!h.control && syscall(SYS_mount, "hidden", "got4", "none", 4096 /* MS_BIND */, NULL) == 0) {
		breach("mount works");
		h_leaks_path("got4/secret.txt");
	}
	if (!h.control) {
		/* A parent that moves: what was hidden must stay so under the new name. */
		h_fmt(b, "%s.moved", h.host);
		if (rename(h.host, b) == 0) {
			h_leaks_path(h_fmt(c, "%s/hidden/secret.txt", b));
			h_leaks_path(h_fmt(c, "%s/hidden/sub/secret.txt", b));
			rename(b, h.host);
		}
		/* Made again by us: then it is ours, and still empty of theirs. */
		mkdir(h_fmt(b, "%s/hidden", h.host), 0755);
		h_leaks_path(h_fmt(b, "%s/hidden/secret.txt", h.host));
		/* Descriptors by handle. */
		{
			struct { unsigned bytes; int type; char data[128]; } fh = { 128, 0, { 0 } };
			int mount_id, handle;

			if (syscall(SYS_name_to_handle_at, AT_FDCWD, "hidden/secret.txt", &fh, &mount_id, 0) == 0)
				breach("name_to_handle_at knows it");
			fh.bytes = 8;
			fh.type = 1;
			for (unsigned ino = 2; ino < 60; ino++) {
				memcpy(fh.data, &ino, 4);
				handle = (int)syscall(SYS_open_by_handle_at, fd >= 0 ? fd : open("/", O_RDONLY), &fh, O_RDONLY);
				if (handle >= 0)
					breach("open_by_handle_at works");
			}
		}
	}
	tools(h.host);
	return h_end();
}
