/* SPDX-License-Identifier: Apache-2.0 */
/* AF_UNIX sockets by path, by abstract name and without a name, streams and datagrams. */
#include "t.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t path_addr(struct sockaddr_un *a, const char *path)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	strncpy(a->sun_path, path, sizeof(a->sun_path) - 1);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

static socklen_t abstract_addr(struct sockaddr_un *a, const char *name, size_t n)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path + 1, name, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

static void show(const char *what, int (*get)(int, struct sockaddr *, socklen_t *), int fd)
{
	struct sockaddr_un a = {0};
	socklen_t len = sizeof(a);

	if (get(fd, (struct sockaddr *)&a, &len) < 0) {
		SAY("  %s: %s\n", what, strerrorname_np(errno));
		return;
	}
	SAY("  %s: family %d len %u ", what, a.sun_family, len);
	if (len > offsetof(struct sockaddr_un, sun_path))
		t_bytes(a.sun_path, len - offsetof(struct sockaddr_un, sun_path));
	SAY("\n");
}
static int name_of(int fd, struct sockaddr *a, socklen_t *l) { return getsockname(fd, a, l); }
static int peer_of(int fd, struct sockaddr *a, socklen_t *l) { return getpeername(fd, a, l); }

static void talk(int listener, int client, const char *what)
{
	char b[16] = "";
	int conn = accept(listener, NULL, NULL);
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	SAY("  %s: accepted %d\n", what, conn >= 0);
	T(write(client, "ping", 4));
	T(read(conn, b, sizeof(b)));
	t_bytes(b, 4);
	T(write(conn, "pong!", 5));
	T(read(client, b, sizeof(b)));
	T(getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	SAY("  the client is pid %s uid %s len %u\n", cred.pid == getpid() ? "own" : "other",
	    cred.uid == geteuid() ? "own" : "other", len);
	len = sizeof(cred);
	T(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	SAY("  the server is pid %s\n", cred.pid == getpid() ? "own" : "other");
	close(conn);
}

static void streams(const char *dir)
{
	struct sockaddr_un a;
	char path[200];
	socklen_t len;
	struct stat st;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), d;

	snprintf(path, sizeof(path), "%s/sock", dir);
	len = path_addr(&a, path);
	T(connect(c, (struct sockaddr *)&a, len)); /* nothing there */
	umask(027);
	T(bind(s, (struct sockaddr *)&a, len));
	umask(022);
	T(stat(path, &st));
	t_stat("socket", &st);
	T(connect(c, (struct sockaddr *)&a, len)); /* nobody listens */
	T(listen(s, 5));
	T(connect(c, (struct sockaddr *)&a, len));
	T(connect(c, (struct sockaddr *)&a, len)); /* again */
	show("listener", name_of, s);
	show("client", name_of, c);
	show("client's peer", peer_of, c);
	show("listener's peer", peer_of, s);
	talk(s, c, "path");
	d = socket(AF_UNIX, SOCK_STREAM, 0);
	T(bind(d, (struct sockaddr *)&a, len)); /* the name is taken */
	T(bind(s, (struct sockaddr *)&a, len)); /* the socket has a name */
	T(connect(d, (struct sockaddr *)&a, 0));
	T(connect(d, (struct sockaddr *)&a, 2));
	T(connect(d, (struct sockaddr *)&a, 200));
	T(connect(d, t_bad, len));
	T(connect(-1, (struct sockaddr *)&a, len));
	T(connect(0, (struct sockaddr *)&a, len)); /* no socket */
	a.sun_family = AF_INET;
	T(connect(d, (struct sockaddr *)&a, len));
	T(bind(d, (struct sockaddr *)&a, len));
	len = path_addr(&a, "a.txt");
	T(connect(d, (struct sockaddr *)&a, len)); /* a regular file */
	T(bind(d, (struct sockaddr *)&a, len));
	len = path_addr(&a, "nodir/sock");
	T(connect(d, (struct sockaddr *)&a, len));
	T(bind(d, (struct sockaddr *)&a, len));
	/* By another name, by a link, and after a rename. */
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/link", dir);
	T(symlink("sock", a.sun_path));
	T(bind(d, (struct sockaddr *)&a, sizeof(a))); /* links are not followed */
	T(connect(d, (struct sockaddr *)&a, sizeof(a)));
	close(d);
	unlink(a.sun_path);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/moved", dir);
	T(rename(path, a.sun_path));
	d = socket(AF_UNIX, SOCK_STREAM, 0);
	T(connect(d, (struct sockaddr *)&a, sizeof(a)));
	T(unlink(a.sun_path));
	close(d);
	d = socket(AF_UNIX, SOCK_STREAM, 0);
	T(connect(d, (struct sockaddr *)&a, sizeof(a)));
	close(d);
	close(c);
	close(s);
}

static void long_names(const char *dir)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t n;

	MUST(chdir(dir) == 0);
	memset(a.sun_path, 'n', sizeof(a.sun_path)); /* no NUL at all */
	n = sizeof(a);
	T(bind(s, (struct sockaddr *)&a, (socklen_t)n));
	T(listen(s, 1));
	T(connect(c, (struct sockaddr *)&a, (socklen_t)n));
	t_ls(".");
	MUST(unlinkat(AT_FDCWD, "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
		"nnnnnnnnnnnnnnnn", 0) == 0);
	close(s);
	close(c);
}

static void abstract(void)
{
	struct sockaddr_un a, whole;
	char name[64];
	socklen_t len;
	int s = socket(AF_UNIX, SOCK_SEQPACKET, 0), c = socket(AF_UNIX, SOCK_SEQPACKET, 0), d;

	snprintf(name, sizeof(name), "bvisor-test-%d", getpid());
	len = abstract_addr(&a, name, strlen(name));
	T(connect(c, (struct sockaddr *)&a, len));
	T(bind(s, (struct sockaddr *)&a, len));
	T(listen(s, 1));
	T(connect(c, (struct sockaddr *)&a, len));
	talk(s, c, "abstract");
	d = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	T(bind(d, (struct sockaddr *)&a, len));
	T(connect(d, (struct sockaddr *)&a, len - 1)); /* another name */
	abstract_addr(&whole, name, strlen(name));
	T(connect(d, (struct sockaddr *)&whole, sizeof(whole))); /* yet another: NULs count */
	T(bind(d, (struct sockaddr *)&whole, sizeof(whole)));
	whole = (struct sockaddr_un){0};
	len = sizeof(whole);
	T(getsockname(d, (struct sockaddr *)&whole, &len));
	SAY("  whole: len %u same name %d\n", len, strcmp(whole.sun_path + 1, name) == 0);
	close(s);
	close(c);
	close(d);
	/* A name of the kernel's making. */
	s = socket(AF_UNIX, SOCK_DGRAM, 0);
	whole.sun_family = AF_UNIX;
	T(bind(s, (struct sockaddr *)&whole, sizeof(sa_family_t)));
	len = sizeof(whole);
	T(getsockname(s, (struct sockaddr *)&whole, &len));
	SAY("  automatic: len %u\n", len);
	c = socket(AF_UNIX, SOCK_DGRAM, 0);
	T(sendto(c, "x", 1, 0, (struct sockaddr *)&whole, len));
	T(read(s, name, sizeof(name)));
	close(s);
	close(c);
}

static void datagrams(const char *dir)
{
	struct sockaddr_un a, b, from;
	socklen_t alen, blen, len = sizeof(from);
	char path[200], buf[64];
	int s = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(path, sizeof(path), "%s/d1", dir);
	alen = path_addr(&a, path);
	snprintf(path, sizeof(path), "%s/d2", dir);
	blen = path_addr(&b, path);
	T(bind(s, (struct sockaddr *)&a, alen));
	T(bind(c, (struct sockaddr *)&b, blen));
	T(sendto(c, "hello", 5, 0, (struct sockaddr *)&a, alen));
	T(recvfrom(s, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len));
	/* Whatever the name looks like, it can be answered to. */
	T(sendto(s, "back", 4, 0, (struct sockaddr *)&from, len));
	T(recv(c, buf, sizeof(buf), 0));
	T(send(c, "x", 1, 0)); /* not connected */
	T(connect(c, (struct sockaddr *)&a, alen));
	show("peer", peer_of, c);
	T(send(c, "x", 1, 0));
	T(recv(s, buf, sizeof(buf), 0));
	a.sun_family = AF_UNSPEC;
	T(connect(c, (struct sockaddr *)&a, sizeof(sa_family_t)));
	T(send(c, "x", 1, 0));
	a.sun_family = AF_UNIX;
	close(s);
	T(sendto(c, "x", 1, 0, (struct sockaddr *)&a, alen)); /* nobody is bound to it any more */
	unlink(a.sun_path);
	T(sendto(c, "x", 1, 0, (struct sockaddr *)&a, alen));
	unlink(b.sun_path);
	close(c);
}

int main(void)
{
	char dir[] = "/tmp/net_unix.XXXXXX", cwd[PATH_MAX];

	MUST(getcwd(cwd, sizeof(cwd)));
	/* The name is as long in both runs, and random parts are not printed. */
	MUST(mkdtemp(dir));
	MUST(chdir(dir) == 0);
	MUST(rename(dir, "/tmp/net_unix.dir") == 0 || true);
	close(open("a.txt", O_CREAT | O_WRONLY, 0644));
	streams("/tmp/net_unix.dir");
	abstract();
	datagrams("/tmp/net_unix.dir");
	long_names("/tmp/net_unix.dir");
	unlink("/tmp/net_unix.dir/a.txt");
	MUST(chdir(cwd) == 0);
	T(rmdir("/tmp/net_unix.dir"));
	return 0;
}
