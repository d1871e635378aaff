/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before metadata changes: find the object, ask whether the guest may, copy up.  A read-only
 * descriptor of a host file is enough for fchmod(2) and its like, so those are found here by
 * descriptor, and the descriptor is replaced by one of the copy.
 */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void target_fini(struct target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	loc_fini(&t->l);
}

/* close-on-exec belongs to the number, which only the guest's own fdinfo tells. */
static unsigned cloexec_of(struct bv_call *call, int guest_fd)
{
	char info[64], buf[256];
	unsigned flags = 0;

	snprintf(info, sizeof(info), "fdinfo/%d", guest_fd);
	bv_autofd int fd = openat(call->proc_fd, info, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	const char *text = strstr(buf, "flags:");
	if (text)
		(void)sscanf(text, "flags: %o", &flags);
	return flags & O_CLOEXEC;
}

/* Other duplicates of the descriptor keep the old object; this number is what the guest used. */
static int replace_fd(struct vfs *v, struct bv_call *call, int guest_fd, const struct target *t)
{
	int flags = fcntl(t->l.fd, F_GETFL);

	if (flags < 0 || (flags & O_PATH))
		return 0;
	bv_autofd int fd = real_open(v, &t->l, t->l.view, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW), 0);
	if (fd < 0)
		return fd;
	off_t at = lseek(t->l.fd, 0, SEEK_CUR);
	if (at > 0)
		(void)lseek(fd, at, SEEK_SET);
	int r = v->host->add_fd(call, fd, guest_fd, cloexec_of(call, guest_fd));
	return r < 0 ? r : 0;
}

static int may_change(struct vfs *v, struct bv_call *call, struct target *t, bool owner)
{
	switch (t->l.view) {
	case V_RO:
		return -EROFS;
	case V_SYNTH:
		return -EPERM;
	case V_ANON:
		if (!t->l.ours)
			return -EPERM;
		break;
	default:
		break;
	}
	if (S_ISCHR(t->st.st_mode) || S_ISBLK(t->st.st_mode))
		return -EPERM; /* the host's own terminals and devices */
	return owner ? perm_owner(v, call, &t->st) : 0;
}

int target_open(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned walk, bool by_fd, bool owner,
                struct target *t)
{
	int r;

	t->fd = -1;
	r = by_fd ? vfs_loc_fd(v, call, dirfd, &t->l) : vfs_walk_guest(v, call, dirfd, ptr, walk | W_PROBE, &t->l);
	if (r < 0)
		return r;
	r = loc_stat(v, call, &t->l, &t->st);
	if (r == 0)
		r = may_change(v, call, t, owner);
	if (r == 0 && t->l.view == V_LOWER) {
		r = copyup(v, call, &t->l, 0);
		if (r == COPYUP_LATER)
			return r;
		if (r == 0 && by_fd && t->l.view == V_UPPER)
			r = replace_fd(v, call, dirfd, t);
		/* From here on the copy is meant, not the descriptor that led to the host's file. */
		if (t->l.fd >= 0)
			close(t->l.fd);
		t->l.fd = -1;
	}
	if (r == 0) {
		t->fd = t->l.view == V_MERGED ? real_open(v, &t->l, V_UPPER, O_PATH | O_NOFOLLOW, 0)
		                              : loc_open_path(v, &t->l);
		r = t->fd < 0 ? t->fd : 0;
	}
	if (r < 0)
		target_fini(t);
	return r;
}
