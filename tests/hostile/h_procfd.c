/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* A read-only descriptor of a host file, reopened for writing by every magic link there is. */
#include "h.h"
#include <sys/socket.h>

static void attack(const char *path)
{
	static const int flags[] = { O_RDWR, O_WRONLY, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND, O_RDWR | O_CREAT };

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		int fd = open(path, flags[i], 0666);
		char *m;

		if (fd < 0)
			continue;
		(void)!write(fd, "BREACH", 6);
		m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (m != MAP_FAILED) {
			struct stat st;

			if (fstat(fd, &st) == 0 && st.st_size > 0)
				m[0] = 'B';
			munmap(m, 4096);
		}
		close(fd);
	}
	h_attack_path(path);
}

/* A descriptor that took the way through a socket. */
static int by_socket(int fd)
{
	union { char b[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } u = { 0 };
	struct iovec v = { (void *)"x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof(u.b) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	char got;
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0)
		return -1;
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (sendmsg(s[0], &m, 0) != 1)
		return -1;
	v.iov_base = &got;
	m.msg_controllen = sizeof(u.b);
	if (recvmsg(s[1], &m, 0) != 1 || !(c = CMSG_FIRSTHDR(&m)))
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	close(s[0]);
	close(s[1]);
	return fd;
}

static void every_name(int fd, pid_t pid)
{
	static const char *const dir[] = { "/proc/self/fd", "/dev/fd", "/proc/thread-self/fd", "/proc/self/task/../fd",
	                                   "/proc/self/root/proc/self/fd",
	                                   "/proc/self/cwd/../../../../../../../proc/self/fd" };
	char b[PATH_MAX];

	for (size_t i = 0; i < sizeof(dir) / sizeof(dir[0]); i++) {
		attack(h_fmt(b, "%s/%d", dir[i], fd));
	}
	attack(h_fmt(b, "/proc/%d/fd/%d", pid, fd));
	attack(h_fmt(b, "/proc/%d/task/%d/fd/%d", pid, pid, fd));
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char b[PATH_MAX], c[PATH_MAX];
	int fd = open(h_fmt(b, "%s/a.txt", h.host), O_RDONLY), path = open(h_fmt(b, "%s/b.txt", h.host), O_PATH);
	int ro = open(h_fmt(b, "%s/file", h.ro), O_RDONLY), dir = open(h.host, O_PATH), got;
	pid_t pid;
	char *m;

	MUST(fd >= 0 && path >= 0 && ro >= 0 && dir >= 0 && chdir(h.host) == 0);
	/* A mapping that was private or read-only must not become writable for the file. */
	m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (m != MAP_FAILED && mprotect(m, 4096, PROT_READ | PROT_WRITE) == 0) {
		m[0] = 'B';
		breach("a read-only shared mapping became writable");
	}
	every_name(fd, getpid());
	every_name(path, getpid());
	every_name(ro, getpid());
	got = by_socket(fd);
	if (got >= 0)
		every_name(got, getpid());
	pid = fork();
	if (pid == 0) {
		every_name(fd, getppid()); /* the parent's descriptor */
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	/* Names below a magic link, links to a magic link. */
	attack(h_fmt(b, "/proc/self/fd/%d/dir/x", dir));
	attack(h_fmt(b, "/proc/self/fd/%d/../%s/dir/y", dir, strrchr(h.host, '/') + 1));
	h_leaks_path(h_fmt(b, "/proc/self/fd/%d/hidden/secret.txt", dir));
	symlink(h_fmt(b, "/proc/self/fd/%d", fd), h_fmt(c, "%s/magic", h.rw));
	attack(c);
	attack("/proc/self/cwd/dir/z");
	/* linkat of a descriptor, then writing by the new name. */
	h_fmt(b, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, b, AT_FDCWD, h_fmt(c, "%s/hardfd", h.rw), AT_SYMLINK_FOLLOW) == 0)
		attack(c);
	if (linkat(fd, "", AT_FDCWD, h_fmt(c, "%s/hardfd2", h.rw), AT_EMPTY_PATH) == 0)
		attack(c);
	if (h.control)
		return h_end();
	/* Processes that are not ours: the supervisor's descriptors, init's root. */
	for (pid = 1; pid < 5000; pid++) {
		static const char *const link[] = { "root", "cwd", "exe", "fd/3", "fd/4", "fd/5", "environ", "mem" };

		if (pid == getpid())
			continue;
		for (size_t i = 0; i < sizeof(link) / sizeof(link[0]); i++) {
			struct stat st;

			if (stat(h_fmt(b, "/proc/%d/%s", pid, link[i]), &st) == 0) {
				/* The guest's own relatives: this program has none left but its parent chain. */
				if (pid == h.canary || pid == 1)
					breach("%s is there", b);
				h_leaks_path(h_fmt(c, "/proc/%d/root%s/hidden/secret.txt", pid, h.host));
			}
		}
	}
	h_fmt(b, "/proc/%d/root%s/a.txt", h.canary, h.host);
	attack(b);
	h_leaks_path(h_fmt(b, "/proc/%d/root%s/hidden/secret.txt", h.canary, h.host));
	return h_end();
}
