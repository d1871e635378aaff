/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message on its way.  It is always sent on the loop thread and never waits there; where the
 * guest would wait, a worker waits until the socket takes more, and then the loop tries again.  So
 * nothing is ever sent for a call that a signal has meanwhile taken back.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

#include "net.h"

#define STALL_MS 1000 /* how long a message that went in part may wait for more room */
#define RETRY_MS 2

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct message *message_new(struct net *m)
{
	struct message *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->net = m;
	s->sock.fd = s->target.hold = -1;
	s->deadline = -1;
	return s;
}

void message_free(struct message *s)
{
	if (!s)
		return;
	sock_put(&s->sock);
	bv_cleanup_fd(&s->target.hold);
	control_fini(&s->control);
	free(s->data);
	free(s);
}

static bool is_stream(const struct message *s)
{
	return s->sock.type == SOCK_STREAM;
}

static ssize_t send_once(struct message *s)
{
	struct iovec iov = {.iov_base = s->data + s->sent, .iov_len = s->len - s->sent};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (s->target.to.len) {
		h.msg_name = &s->target.to.any;
		h.msg_namelen = s->target.to.len;
	}
	/* Ancillary data goes with the first byte. */
	if (s->control.len && s->sent == 0) {
		h.msg_control = s->control.data;
		h.msg_controllen = s->control.len;
	}
	n = sendmsg(s->sock.fd, &h, s->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

int message_try(struct message *s, struct bv_call *call)
{
	ssize_t n;
	int r;

	if (s->drop) {
		s->sent = s->len;
		return 0;
	}
	/* The kernel checks write permission on a path socket. */
	r = s->sock.domain == AF_UNIX ? s->net->host->as_guest(call) : 0;
	if (r < 0)
		return r;
	do {
		n = send_once(s);
		if (n > 0) {
			s->sent += (size_t)n;
			s->tries = 0;
		}
	} while (n > 0 && is_stream(s) && s->sent < s->len);
	if (n >= 0 && s->net->mode == NET_NONE && sock_is_inet(&s->sock) && s->sock.type == SOCK_DGRAM)
		/* Sending gave it a port, to which others may answer. */
		return owner_remember(s->net, s->sock.cookie);
	return n < 0 ? (int)n : 0;
}

enum bv_verdict message_answer(struct message *s, struct bv_call *call, int r)
{
	const struct bv_host *host = s->net->host;

	if (s->sent > 0)
		r = 0;
	/* The thread is stopped in this call: its id is certain.  SIGPIPE comes before the error. */
	if (r == -EPIPE && !(s->flags & MSG_NOSIGNAL) && s->sock.type != SOCK_DGRAM)
		syscall(SYS_tgkill, host->task_pid(call->task), call->tid, SIGPIPE);
	if (r < 0)
		return host->reply(call, r);
	if (s->len_at) {
		uint32_t n = (uint32_t)s->sent;

		r = host->mem_write(call, s->len_at, &n, sizeof(n));
		return host->reply(call, r < 0 ? r : 1);
	}
	return host->reply(call, (int64_t)s->sent);
}

static void wait_for_room(void *arg)
{
	struct message *s = arg;
	struct pollfd p = {.fd = s->sock.fd, .events = POLLOUT};
	int64_t left = s->deadline < 0 ? -1 : s->deadline - now_ms();
	unsigned pause = s->tries < 10 ? RETRY_MS * s->tries : RETRY_MS * 10;
	struct timespec t = {.tv_nsec = pause * 1000000L};

	if (s->deadline >= 0 && left <= 0)
		return;
	/*
	 * A full receiver of datagrams does not keep an unconnected sender from being "writable"
	 * (unix_dgram_poll()): trying in vain must not become a busy loop.
	 */
	if (pause)
		nanosleep(&t, NULL);
	poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);
}

static enum bv_verdict wait_or_answer(struct message *s, struct bv_call *call, int r);

static enum bv_verdict again(struct bv_call *call, void *arg)
{
	struct message *s = arg;
	int r;

	if (!call) {
		message_free(s);
		return BV_REPLIED;
	}
	r = target_again(s->net, &s->sock, &s->target, TARGET_SEND);
	if (r == TARGET_DROP)
		s->drop = true;
	if (r >= 0)
		r = message_try(s, call);
	if (r == -EAGAIN && s->deadline >= 0 && now_ms() >= s->deadline) {
		enum bv_verdict v = message_answer(s, call, r);

		message_free(s);
		return v;
	}
	s->tries++;
	return wait_or_answer(s, call, r);
}

static enum bv_verdict wait_or_answer(struct message *s, struct bv_call *call, int r)
{
	enum bv_verdict v;

	if (r == -EAGAIN && s->blocking) {
		unsigned flags = BV_DEFER_SIGNALS;

		if (s->sent > 0) {
			/*
			 * Once a part went, the call must not be repeated.  The guest's signals wait
			 * then, so it must not last: after a pause without progress the guest is
			 * told how much went, as after a signal.
			 */
			flags = 0;
			if (s->tries == 0)
				s->deadline = now_ms() + STALL_MS;
		}
		return s->net->host->defer(call, flags, wait_for_room, again, s);
	}
	v = message_answer(s, call, r);
	message_free(s);
	return v;
}

enum bv_verdict message_send(struct message *s, struct bv_call *call)
{
	struct timeval limit = {0};
	socklen_t len = sizeof(limit);
	int r = message_try(s, call);

	if (r == -EAGAIN && s->blocking && getsockopt(s->sock.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len) == 0 &&
	    (limit.tv_sec || limit.tv_usec))
		s->deadline = now_ms() + limit.tv_sec * 1000 + limit.tv_usec / 1000;
	return wait_or_answer(s, call, r);
}
