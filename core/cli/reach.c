/* SPDX-License-Identifier: Apache-2.0 */
/* How commands reach the supervisor of a sandbox that runs; and bvisor allow. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cleanup.h>
#include <netrule.h>
#include <strbuf.h>

#include "control.h"
#include "join.h"
#include "named.h"

int named_connect(const struct bv_store_ops *ops, void *ctx, const char *name, const char **why)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	bv_autofd int dir = ops && BV_HAS(struct bv_store_ops, ops, place) && ops->place
	                            ? ops->place(ctx, name, why)
	                            : -ENOTSUP;

	if (dir < 0)
		return dir;
	*why = NULL;
	bv_autofd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" JOIN_SOCKET, dir);
	if (sock >= 0 && connect(sock, (struct sockaddr *)&a, sizeof(a)) == 0)
		return bv_take_fd(&sock);
	if (errno == ENOENT || errno == ECONNREFUSED)
		*why = "it is not running";
	return -errno;
}

int named_reach(const char *cmd, const struct settings *s, const char *name)
{
	struct sandbox *box;
	const char *why = NULL;
	void *ctx;

	if (named_box(cmd, s, &box))
		return -1;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	int sock = named_connect(ops, ctx, name, &why);
	if (sock < 0)
		(void)cli_fail(cmd, "sandbox '%s': %s", name, why && *why ? why : strerror(-sock));
	sandbox_free(box);
	return sock < 0 ? -1 : sock;
}

int named_ask(int sock, const struct join_request *q, const int *fd, size_t n)
{
	struct iovec iov = {(void *)(uintptr_t)q, sizeof(*q)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
	                      .cmsg_level = SOL_SOCKET,
	                      .cmsg_type = SCM_RIGHTS}};
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control.room,
	                     .msg_controllen = CMSG_SPACE(n * sizeof(int))};

	memcpy(CMSG_DATA(&control.head), fd, n * sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int named_tell(int sock, const struct join_request *q, const char *text, size_t len)
{
	struct control_msg m;

	bv_autofd int fd = memfd_create("text", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, text + at, len - at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	int r = named_ask(sock, q, &fd, 1);
	if (r < 0)
		return r;
	if (recv(sock, &m, sizeof(m), 0) != sizeof(m))
		return -ECONNRESET;
	return m.kind == CONTROL_EXIT ? 0 : m.value > 0 ? -m.value : -EPROTO;
}

/* ---- bvisor allow ---- */

#define ADDRESSES_MAX 64

/* The rules of one word, looked up here, so that the sandbox need not wait for a name service. */
static int rules_of(const char *text, struct join_request *q, struct strbuf *out)
{
	struct netrule rule, found[ADDRESSES_MAX];
	char line[NETRULE_TEXT];
	const char *why = netrule_parse(text, &rule);

	if (why)
		return cli_misuse("allow", "'%s' %s", text, why);
	size_t n = netrule_look_up(&rule, found, ADDRESSES_MAX, &why);
	if (n == 0)
		return cli_fail("allow", "'%s' cannot be reached: %s", text, why);
	for (size_t i = 0; i < n; i++, q->argc++) {
		netrule_print(&found[i], line);
		strbuf_add(out, line, strlen(line) + 1);
	}
	return 0;
}

int allow_command(int argc, char **argv)
{
	struct settings s = {0};
	struct join_request q = {.magic = JOIN_MAGIC, .flags = JOIN_ALLOW};
	bv_autostrbuf struct strbuf text = {0};
	int code = named_options("allow", argc, argv, &s, NULL);
	const char *name = argv[optind];

	if (code < 0 && !name)
		code = cli_misuse("allow", "no name of a sandbox given");
	if (code < 0 && !argv[optind + 1])
		code = cli_misuse("allow", "nothing to allow given");
	strbuf_add(&text, "", 1); /* no directory */
	for (int i = optind + 1; code <= 0 && i < argc; i++)
		code = rules_of(argv[i], &q, &text);
	if (code <= 0) {
		bv_autofd int sock = named_reach("allow", &s, name);
		int r = sock < 0      ? 0
		        : text.failed ? -ENOMEM
		                      : named_tell(sock, &q, text.data, text.len);

		code = sock < 0 ? EXIT_BVISOR
		       : r < 0  ? cli_fail("allow", "sandbox '%s': %s", name, strerror(-r))
		                : 0;
	}
	settings_fini(&s);
	return code;
}
