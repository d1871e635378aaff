/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before metadata changes: find the object, ask whether the guest may, copy up.  A read-only
 * descriptor of a host file is enough for fchmod(2) and its like, so those are found here by
 * descriptor, and the descriptor is replaced by one of the copy.
 */
#include "target.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "who.h"

static void target_fini(struct target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	loc_fini(&t->l);
}

static int find(struct vfs *v, struct bv_call *call, const struct target_name *name, struct target *t)
{
	char path[PATH_MAX];
	int r;

	t->fd = t->guest_fd = -1;
	path[0] = '\0';
	if (!name->by_fd && !(name->maybe_null && !name->path && (name->walk & W_EMPTY))) {
		ssize_t n = v->host->mem_read_str(call, path, name->path, sizeof(path));

		if (n < 0)
			return (int)n;
	}
	if (name->by_fd || (!*path && (name->walk & W_EMPTY) && name->dirfd != AT_FDCWD)) {
		t->guest_fd = name->dirfd;
		r = vfs_loc_fd(v, call, name->dirfd, &t->l);
	} else {
		r = vfs_walk(v, call, name->dirfd, path, name->walk | W_PROBE, &t->l);
	}
	if (r < 0)
		return r;
	r = loc_stat(v, call, &t->l, &t->st);
	if (r < 0)
		loc_fini(&t->l);
	return r;
}

int target_name_at(struct vfs *v, struct bv_call *call, int flags, struct target_name *name)
{
	char first = '\0';
	int r;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	*name = (struct target_name){
		.dirfd = (int)call->arg[0],
		.path = call->arg[1],
		.walk = (flags & AT_SYMLINK_NOFOLLOW ? W_NOFOLLOW : 0) |
	                (flags & AT_EMPTY_PATH ? W_EMPTY : 0),
		.maybe_null = true,
	};
	if (!(flags & AT_EMPTY_PATH) || name->dirfd == AT_FDCWD)
		return 0;
	/* An empty path: as the call by descriptor.  A path that changes meanwhile is read anew, and walked. */
	if (name->path && (r = v->host->mem_read(call, &first, name->path, 1)) < 0)
		return r;
	if (first)
		name->walk &= ~(unsigned)W_EMPTY;
	else
		name->by_fd = true;
	return 0;
}

int source_open(struct vfs *v, struct bv_call *call, const struct target_name *name,
                struct source *s)
{
	int r;

	s->fd = -1;
	if (name->by_fd)
		r = vfs_loc_fd(v, call, name->dirfd, &s->l);
	else if (!name->path && (name->walk & W_EMPTY))
		r = vfs_walk(v, call, name->dirfd, "", name->walk | W_PROBE, &s->l);
	else
		r = vfs_walk_guest(v, call, name->dirfd, name->path, name->walk | W_PROBE, &s->l);
	if (r < 0)
		return r;
	if (s->l.view == V_SYNTH)
		s->fd = -EOPNOTSUPP;
	else if (s->l.view == V_MERGED && s->l.node && s->l.node->meta)
		s->fd = real_open(v, &s->l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	else
		s->fd = loc_open_path(v, &s->l);
	if (s->fd < 0) {
		loc_fini(&s->l);
		return s->fd;
	}
	real_fd_path(s->path, s->fd);
	return 0;
}

void source_fini(struct source *s)
{
	close(s->fd);
	loc_fini(&s->l);
}

/* What is nobody's to change, whoever asks. */
static int refuse(const struct target *t)
{
	switch (t->l.view) {
	case V_RO:
		return -EROFS;
	case V_UPPER:
	case V_RW:
	case V_LOWER:
	case V_MERGED:
		break;
	case V_ANON:
		if (t->l.ours)
			break;
		return -EPERM; /* a host file hidden or deleted here */
	default:
		return -EPERM;
	}
	if ((S_ISCHR(t->st.st_mode) || S_ISBLK(t->st.st_mode)) && t->l.view != V_RW)
		return -EPERM; /* the host's own terminals and devices */
	return 0;
}

/*
 * Is the descriptor in question open for writing?  One of a lower file is that only when the user
 * handed it in, as with a redirected standard output: it must stay the file the user meant.
 */
bool target_is_writable(const struct loc *l)
{
	int flags;

	if (l->magic)
		return l->fd_writable;
	flags = l->fd < 0 ? -1 : fcntl(l->fd, F_GETFL);
	return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY;
}

/* close-on-exec belongs to the number, which only the guest's own fdinfo tells. */
static unsigned cloexec_of(const struct vfs *v, struct bv_call *call, int guest_fd)
{
	char info[64], buf[256];
	unsigned flags = 0;

	snprintf(info, sizeof(info), "fdinfo/%d", guest_fd);
	bv_autofd int fd = openat(v->host->proc_fd(call), info, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	const char *text = strstr(buf, "flags:");
	if (text)
		(void)sscanf(text, "flags: %o", &flags);
	return flags & O_CLOEXEC;
}

/* Other duplicates of the descriptor keep the old object; this number is what the guest used. */
int target_replace_fd(struct vfs *v, struct bv_call *call, const struct loc *l, int guest_fd)
{
	bv_autofd int old = v->host->get_fd(call, guest_fd);
	int flags = old < 0 ? -1 : fcntl(old, F_GETFL);

	if (flags < 0 || (flags & O_PATH))
		return 0;
	watch_quiet(v);
	bv_autofd int fd =
		real_open(v, l, V_UPPER, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW), 0);
	watch_heard(v, NULL, 0);
	if (fd < 0)
		return fd;
	off_t at = lseek(old, 0, SEEK_CUR);
	if (at > 0)
		(void)lseek(fd, at, SEEK_SET);
	int r = v->host->add_fd(call, fd, guest_fd, cloexec_of(v, call, guest_fd));
	return r < 0 ? r : 0;
}

/* Makes t->fd: of the object itself, or of the copy that stands for it from now on. */
static int make_ready(struct vfs *v, struct bv_call *call, struct target *t)
{
	bool copied = t->l.stale;
	int r = 0;

	if (t->l.view == V_LOWER) {
		if (target_is_writable(&t->l))
			return -EPERM;
		r = copyup(v, call, &t->l, 0);
		copied = true;
	}
	if (r == 0 && copied && t->guest_fd >= 0 && t->l.view == V_UPPER)
		r = target_replace_fd(v, call, &t->l, t->guest_fd);
	if (r != 0)
		return r;
	t->fd = copied || t->l.view == V_MERGED ? real_open(v, &t->l, V_UPPER, O_PATH | O_NOFOLLOW, 0)
	                                        : loc_open_path(v, &t->l);
	if (t->fd < 0)
		return t->fd;
	real_fd_path(t->path, t->fd);
	return 0;
}

enum bv_verdict target_change(struct vfs *v, struct bv_call *call, bv_handler_fn *handler,
                              const struct target_name *name, const struct target_op *op, const void *arg)
{
	struct target t;
	int r = find(v, call, name, &t);

	if (r < 0)
		return REPLY(v, call, r);
	r = refuse(&t);
	if (r == 0 && (t.l.view == V_LOWER || t.l.view == V_MERGED))
		r = op->may(v, call, &t, arg);
	if (r == 0)
		r = make_ready(v, call, &t);
	if (r == 0)
		r = v->host->as_guest(call);
	if (r == 0)
		r = op->apply(v, call, &t, arg);
	v->host->as_creds(NULL);
	if (r >= 0 && (t.l.view == V_UPPER || t.l.view == V_MERGED))
		who_note(v, t.l.path);
	/* A merged directory's mode, owner and times are its upper copy's once they were set. */
	if (r == 0 && t.l.view == V_MERGED && t.l.node)
		t.l.node->meta = true;
	enum bv_verdict verdict = r == COPYUP_LATER ? copyup_defer(v, call, &t.l, handler)
	                                            : REPLY(v, call, r == TARGET_DONE ? 0 : r);
	target_fini(&t);
	return verdict;
}
