/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the path resolver against the kernel as its model: in a fixed tree of directories, files
 * and symlinks of every kind, a path must resolve to the same object, or fail with the same errno,
 * as openat2(2) gives with RESOLVE_IN_ROOT.  The first byte chooses flags; the rest is the path.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../modules/vfs-cow/vfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The resolver's neighbours, which a tree without synthetic mounts never needs. */
int synth_lookup(struct vfs *v, struct bv_call *call, struct mount *m, const char *rel, struct bv_vfs_node **out)
{
	return -ENOENT;
}
int synth_stat(struct vfs *v, struct bv_call *call, struct loc *l, struct stat *st)
{
	return -ENOENT;
}
ssize_t exec_shown(struct vfs *v, const char *real, char out[PATH_MAX])
{
	return -ENOENT;
}

static int get_fd(struct bv_call *call, int fd)
{
	return -EBADF;
}

static int proc_fd(struct bv_call *call)
{
	return -ESRCH;
}

static int as_guest(struct bv_call *call)
{
	return 0;
}

static int as_creds(const struct bv_creds *creds)
{
	return 0;
}

static const struct bv_host host = {
    .head = BV_HEAD(HOST, struct bv_host),
    .get_fd = get_fd,
    .proc_fd = proc_fd,
    .as_guest = as_guest,
    .as_creds = as_creds,
};
static struct vfs vfs;
static char top[] = "/tmp/bvisor-fuzz-path-XXXXXX";

static void must(int r, const char *what)
{
	if (r < 0) {
		perror(what);
		abort();
	}
}

static void remove_tree(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	if (system(command) != 0)
		fprintf(stderr, "%s stays behind\n", top);
}

static void set_up(void)
{
	static const struct {
		const char *name, *target; /* NULL: directory, "": file */
	} things[] = {
	    {"a", NULL},          {"a/b", NULL},          {"a/b/c", NULL},       {"a/f", ""},
	    {"f", ""},            {"l", "a"},             {"abs", "/a/b"},       {"up", "../../a"},
	    {"a/up", ".."},       {"a/b/self", "."},      {"loop", "loop"},      {"x", "y"},
	    {"y", "x"},           {"dead", "nowhere"},    {"a/dead", "/no/way"}, {"slash", "a/"},
	    {"fs", "f/"},         {"a/deep", "../a/b/c"}, {"root", "/"},         {"chain1", "l"},
	    {"chain2", "chain1"}, {"chain3", "chain2/b"}, {"a/lf", "../f"},      {"dots", "./a/./b/.."},
	};

	must(mkdtemp(top) ? 0 : -1, "mkdtemp");
	atexit(remove_tree);
	int fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	must(fd, "open");
	for (size_t i = 0; i < BV_ROWS_OF(things); i++) {
		const char *target = things[i].target;

		if (!target)
			must(mkdirat(fd, things[i].name, 0755), things[i].name);
		else if (*target)
			must(symlinkat(target, fd, things[i].name), things[i].name);
		else
			close(openat(fd, things[i].name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	}
	static struct mount base = {.rule = R_COW};
	base.at = strdup("/");
	base.source = strdup(top);
	base.fd = fd;
	vfs.host = &host;
	vfs.root = tree_add(NULL, "", 0);
	vfs.root->mount = vfs.base = vfs.mounts = &base;
	vfs.upper.root_fd = -1;
	snprintf(vfs.upper.root, sizeof(vfs.upper.root), "/nowhere/u");
	vfs.upper_len = strlen(vfs.upper.root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[PATH_MAX];
	struct loc l;
	struct stat want;

	if (!vfs.root)
		set_up();
	if (size < 1 || size >= sizeof(path) - 1)
		return 0;
	bool nofollow = data[0] & 1;
	path[0] = '/';
	memcpy(path + 1, data + 1, size - 1);
	path[size] = '\0';
	if (strlen(path) != size)
		return 0; /* a NUL ends a path: nothing new behind it */
	struct bv_call call = {.head = BV_HEAD(CALL, struct bv_call)};
	struct open_how how = {.flags = (uint64_t)(O_PATH | O_CLOEXEC | (nofollow ? O_NOFOLLOW : 0)),
	                       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int fd;
	/* openat2(2): a rename anywhere meanwhile may end RESOLVE_IN_ROOT in EAGAIN. */
	do
		fd = (int)syscall(SYS_openat2, vfs.base->fd, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN);
	int model = fd < 0 ? -errno : fstat(fd, &want);
	int r = vfs_walk(&vfs, &call, AT_FDCWD, path, W_PROBE | (nofollow ? W_NOFOLLOW : 0), &l);
	if (r != model || (r == 0 && (l.st.st_ino != want.st_ino || l.st.st_dev != want.st_dev))) {
		fprintf(stderr, "'%s' nofollow=%d: kernel %d (ino %lu), walk %d (ino %lu, %s)\n", path, nofollow, model,
		        model ? 0ul : (unsigned long)want.st_ino, r, r ? 0ul : (unsigned long)l.st.st_ino, r ? "" : l.path);
		abort();
	}
	if (r == 0)
		loc_fini(&l);
	if (fd >= 0)
		close(fd);
	return 0;
}
