/* SPDX-License-Identifier: Apache-2.0 */
#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bvisor/svc/net.h>
#include <bvisor/svc/review.h>
#include <bvisor/svc/vfs.h>
#include <cleanup.h>

#include "control.h"
#include "join_words.h"
#include "launch.h"
#include "loader.h"
#include "loop.h"
#include "notify.h"

/* One that has connected, and its process. */
struct join {
	struct join *next;
	int sock;
	pid_t pid; /* 0: not started yet, or ended */
	struct launch_state *launch;
	struct join_words words;
};

static void join_free(struct loop *l, struct join *j)
{
	for (struct join **at = &l->joins; *at; at = &(*at)->next)
		if (*at == j) {
			*at = j->next;
			break;
		}
	if (j->sock >= 0)
		close(j->sock);
	launch_free(j->launch);
	join_words_free(&j->words);
	free(j);
}

static int refuse(struct join *j, int err)
{
	control_send(j->sock, (enum control_kind)JOIN_FAILED, err);
	return -err;
}

/* ---- the request ---- */

/* Its message: the number of descriptors, owned by the caller from now on; -errno. */
static int receive(struct join *j, struct join_request *q, int fd[4])
{
	struct iovec iov = {q, sizeof(*q)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control.room,
	                     .msg_controllen = sizeof(control.room)};
	ssize_t n = recvmsg(j->sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int count = 0;

	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		for (size_t i = 0; c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		                   CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len;
		     i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (count < 4)
				fd[count] = got;
			else
				close(got);
			count++;
		}
	return n == 0 ? -EPIPE : n == sizeof(*q) && q->magic == JOIN_MAGIC ? count : -EPROTO;
}

/* The directory as the sandbox has it: a descriptor, or -errno. */
static int open_cwd(struct loop *l, const char *cwd)
{
	const struct bv_vfs *vfs = (const struct bv_vfs *)loader_service(l->box, BV_VFS_SERVICE);

	if (!vfs || !BV_HAS(struct bv_vfs, vfs, open_read))
		return -EOPNOTSUPP;
	return cwd[0] == '/' ? vfs->open_read(vfs, cwd) : -ENOENT;
}

static int start(struct loop *l, struct join *j, const struct join_request *q, const int fd[4])
{
	struct bv_error err = {""};
	char here[32];
	int listener, r = join_words_read(fd[0], q, &j->words);

	if (r < 0)
		return refuse(j, -r);
	/* Before there is a child that lives in our memory and would have to be got rid of. */
	if (!notify_room(l))
		return refuse(j, EAGAIN);
	bv_autofd int dir = open_cwd(l, j->words.cwd);
	if (dir < 0)
		return refuse(j, -dir);
	snprintf(here, sizeof(here), "/proc/self/fd/%d", dir);
	bool tty = q->flags & JOIN_TTY;
	const struct launch launch = {
		.argv = j->words.argv,
		.envp = j->words.envp,
		.cwd = here,
		.stdio = {fd[1], tty ? fd[1] : fd[2], tty ? fd[1] : fd[3]},
		.tty = tty ? fd[1] : -1,
		.session = true,
	};
	int pid = launch_join(l->box, &launch, &j->launch, &listener, &err);
	if (pid < 0) {
		log_line(BV_LOG_WARN, "core", "a process could not join: %s", err.text);
		return refuse(j, -pid);
	}
	notify_listen(l, listener);
	j->pid = pid;
	control_send(j->sock, CONTROL_STARTED, pid);
	return 0;
}

/* The network policy grows; all of it, or up to the first rule that cannot be. */
static int allow(struct loop *l, struct join *j, const struct join_request *q, int strings)
{
	const struct bv_net *net = (const struct bv_net *)loader_service(l->box, BV_NET_SERVICE);
	int r = join_words_read(strings, q, &j->words);

	if (r == 0 && (!net || !BV_HAS(struct bv_net, net, allow)))
		r = -EOPNOTSUPP;
	for (uint32_t i = 0; r == 0 && i < q->argc; i++)
		r = net->allow(net, j->words.argv[i]);
	if (r < 0)
		return refuse(j, -r);
	control_send(j->sock, CONTROL_EXIT, 0);
	return -ECANCELED; /* that was all */
}

/* What a snapshot of this sandbox had is the host's now, or is to be as there. */
static int reviewed(struct loop *l, struct join *j, unsigned flags, int records)
{
	const struct bv_review *review =
		(const struct bv_review *)loader_service(l->box, BV_REVIEW_SERVICE);
	struct stat st;
	int r = 0;

	if (!review || !BV_HAS(struct bv_review, review, note) ||
	    !BV_HAS(struct bv_review, review, undo))
		return refuse(j, EOPNOTSUPP);
	if (fstat(records, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > JOIN_NOTES_MAX)
		return refuse(j, EPROTO);
	bv_autofree char *text = malloc((size_t)st.st_size + 1);
	if (!text)
		return refuse(j, ENOMEM);
	if (pread(records, text, (size_t)st.st_size, 0) != st.st_size)
		r = -EPROTO;
	if (r == 0)
		r = (flags == JOIN_NOTE ? review->note : review->undo)(review, text,
		                                                       (size_t)st.st_size);
	if (r < 0)
		return refuse(j, -r);
	control_send(j->sock, CONTROL_EXIT, 0);
	return -ECANCELED; /* that was all */
}

/* Who has gone without a word may have been a commit, which speaks at its end. */
static void unsaid(struct loop *l)
{
	const struct bv_review *review =
		(const struct bv_review *)loader_service(l->box, BV_REVIEW_SERVICE);

	if (review && BV_HAS(struct bv_review, review, note))
		(void)review->note(review, "", 0);
}

static int request(struct loop *l, struct join *j)
{
	struct join_request q;
	int fd[4] = {-1, -1, -1, -1}, n = receive(j, &q, fd), r = n;

	if (n == 1 && q.flags == JOIN_ALLOW)
		r = allow(l, j, &q, fd[0]);
	else if (n == 1 && (q.flags == JOIN_NOTE || q.flags == JOIN_UNDO))
		r = reviewed(l, j, q.flags, fd[0]);
	else if (n >= 0)
		r = n == (q.flags & JOIN_TTY ? 2 : 4) ? start(l, j, &q, fd) : refuse(j, EPROTO);
	for (int i = 0; i < 4; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return r;
}

/* ---- who comes, and what they say ---- */

static void come(struct loop *l)
{
	struct ucred who;
	socklen_t size = sizeof(who);
	bv_autofd int sock = accept4(l->box->join_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	/* The directory keeps others out; this says so again. */
	if (sock < 0 || getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 ||
	    (who.uid != geteuid() && who.uid != 0))
		return;
	struct join *j = calloc(1, sizeof(*j));
	if (!j || loop_watch_join(l, sock) < 0) {
		free(j);
		return;
	}
	j->sock = bv_take_fd(&sock);
	j->next = l->joins;
	l->joins = j;
}

/* Its process has not been waited for, so its number, which is its group's too, is still its own. */
static void signal_group(const struct join *j, int sig)
{
	if (j->pid > 0)
		(void)kill(-j->pid, sig);
}

static void say(struct loop *l, struct join *j)
{
	unsigned char sig;
	ssize_t n;

	if (!j->pid && !j->launch) {
		int r = request(l, j);

		if (r == -EPIPE)
			unsaid(l);
		if (r < 0 && r != -EAGAIN && r != -EINTR)
			join_free(l, j);
		return;
	}
	n = recv(j->sock, &sig, sizeof(sig), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1 && sig > 0 && sig <= SIGRTMAX) {
		signal_group(j, sig);
	} else if (n != 1) { /* it is gone */
		signal_group(j, SIGKILL);
		close(j->sock);
		j->sock = -1;
		if (!j->pid)
			join_free(l, j);
	}
}

void join_event(struct loop *l, int fd)
{
	if (fd == l->box->join_fd) {
		come(l);
		return;
	}
	for (struct join *j = l->joins; j; j = j->next)
		if (j->sock == fd) {
			say(l, j);
			return;
		}
}

static struct join *of_pid(struct loop *l, pid_t pid)
{
	struct join *j = l->joins;

	while (j && j->pid != pid)
		j = j->next;
	return j;
}

void join_reaped(struct loop *l, pid_t pid, int status)
{
	struct join *j = pid > 0 ? of_pid(l, pid) : NULL;

	if (!j)
		return;
	int err = launch_exec_errno(j->launch);
	control_send(j->sock, err ? (enum control_kind)JOIN_NOT_EXECUTED : CONTROL_EXIT,
	             err ? err : status);
	j->pid = 0;
	join_free(l, j);
}

void join_stopped(struct loop *l, pid_t pid, bool stopped)
{
	const struct join *j = of_pid(l, pid);

	if (j)
		control_send(j->sock, stopped ? CONTROL_STOPPED : CONTROL_CONTINUED, 0);
}

void join_fini(struct loop *l)
{
	while (l->joins)
		join_free(l, l->joins);
}
