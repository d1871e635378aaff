/* SPDX-License-Identifier: Apache-2.0 */
/* Locks among processes: on files and directories of the host, their copies, and new ones. */
#include "t.h"
#include <poll.h>
#include <sys/file.h>

static const char *const names[] = { "a.txt", "dir", "dir/y", "new", "newdir", "script.sh" };

static void wait_for(int fd)
{
	char c;

	MUST(read(fd, &c, 1) == 1);
}

static void tell(int fd)
{
	MUST(write(fd, "x", 1) == 1);
}

/* One open file and another, in one process. */
static void alone(const char *name)
{
	int a = TFD(open(name, O_RDONLY)), b = TFD(open(name, O_RDONLY)), c = TFD(dup(a));

	SAY("%s\n", name);
	T(flock(a, LOCK_EX | LOCK_NB));
	T(flock(b, LOCK_SH | LOCK_NB));
	T(flock(b, LOCK_EX | LOCK_NB));
	T(flock(c, LOCK_EX | LOCK_NB));
	T(flock(a, LOCK_SH | LOCK_NB));
	T(flock(b, LOCK_SH | LOCK_NB));
	T(flock(a, LOCK_EX | LOCK_NB));
	T(flock(b, LOCK_EX | LOCK_NB));
	T(flock(b, LOCK_UN));
	T(flock(a, LOCK_EX | LOCK_NB));
	close(a);
	T(flock(b, LOCK_EX | LOCK_NB)); /* c has it still */
	close(c);
	T(flock(b, LOCK_EX | LOCK_NB));
	T(flock(b, LOCK_UN));
	T(flock(b, LOCK_UN));
	T(flock(b, 0));
	T(flock(b, 77));
	close(b);
	T(flock(b, LOCK_EX));
}

/* As a shell does it: exec 9<file; flock 9. */
static void inherited(const char *name)
{
	int a = open(name, O_RDONLY), b = open(name, O_RDONLY);

	SAY("%s\n", name);
	if (fork() == 0) {
		T(flock(a, LOCK_EX));
		_exit(0);
	}
	wait(NULL);
	T(flock(b, LOCK_EX | LOCK_NB));
	pid_t child = fork();
	if (child == 0) {
		close(b);
		pause();
	}
	close(a);
	T(flock(b, LOCK_EX | LOCK_NB));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	T(flock(b, LOCK_EX | LOCK_NB));
	close(b);
}

/* One waits for the other. */
static void waiting(const char *name)
{
	int p[2], a = open(name, O_RDONLY);

	SAY("%s\n", name);
	MUST(pipe(p) == 0);
	T(flock(a, LOCK_EX));
	if (fork() == 0) {
		int b = open(name, O_RDONLY);

		close(a);
		close(p[0]);
		tell(p[1]);
		T(flock(b, LOCK_EX));
		tell(p[1]);
		_exit(0);
	}
	wait_for(p[0]);
	struct pollfd f = { .fd = p[0], .events = POLLIN };
	T(poll(&f, 1, 100));
	MUST(flock(a, LOCK_UN) == 0); /* which of the two says so first is nobody's business */
	wait_for(p[0]);
	wait(NULL);
	close(p[0]);
	close(p[1]);
	close(a);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void interrupted(const char *name)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int a = open(name, O_RDONLY), b = open(name, O_RDONLY);

	SAY("%s\n", name);
	sigaction(SIGALRM, &act, NULL);
	T(flock(a, LOCK_EX));
	ualarm(50000, 0);
	T(flock(b, LOCK_EX));
	T(flock(a, LOCK_UN));
	T(flock(b, LOCK_EX | LOCK_NB));
	close(a);
	close(b);
	a = open("new", O_RDWR);
	b = open("new", O_RDWR);
	T(fcntl(a, F_OFD_SETLK, &l));
	ualarm(50000, 0);
	T(fcntl(b, F_OFD_SETLKW, &l));
	close(a);
	T(fcntl(b, F_OFD_SETLKW, &l));
	close(b);
}

/* What was opened before the first write, and after. */
static void copied(void)
{
	int before = open("dir/y", O_RDONLY), writer = open("dir/y", O_RDWR), after = open("dir/y", O_RDONLY);

	T(flock(before, LOCK_EX | LOCK_NB));
	T(flock(writer, LOCK_EX | LOCK_NB));
	T(flock(after, LOCK_SH | LOCK_NB));
	T(flock(before, LOCK_UN));
	T(flock(writer, LOCK_SH | LOCK_NB));
	T(flock(before, LOCK_SH | LOCK_NB));
	T(flock(after, LOCK_EX | LOCK_NB));
	close(before);
	close(writer);
	T(flock(after, LOCK_EX | LOCK_NB));
	close(after);
}

static void show(const struct flock *l, pid_t self)
{
	SAY("  type %d start %lld len %lld pid %s\n", l->l_type, (long long)l->l_start, (long long)l->l_len,
	    l->l_pid == self ? "mine" : l->l_pid == -1 ? "-1" : l->l_pid ? "other" : "0");
}

/* fcntl(2): of the process, and of the open file; in both the file is open for reading only. */
static void records(const char *name)
{
	struct flock rd = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3 }, l;
	int p[2], q[2], a = TFD(open(name, O_RDONLY));

	SAY("%s\n", name);
	MUST(pipe(p) == 0 && pipe(q) == 0);
	T(fcntl(a, F_SETLK, &rd));
	T(fcntl(a, F_OFD_SETLK, &rd));
	l = rd;
	l.l_type = F_WRLCK;
	T(fcntl(a, F_SETLK, &l));
	T(fcntl(a, F_OFD_SETLK, &l));
	pid_t parent = getpid();
	if (fork() == 0) {
		int b = open(name, O_RDWR);

		l = rd;
		l.l_type = F_WRLCK;
		T(fcntl(b, F_GETLK, &l));
		show(&l, parent);
		l = rd;
		l.l_type = F_WRLCK;
		l.l_pid = 0;
		T(fcntl(b, F_OFD_GETLK, &l));
		l = rd;
		T(fcntl(b, F_SETLK, &l));
		l.l_type = F_WRLCK;
		l.l_start = 10;
		T(fcntl(b, F_SETLKW, &l));
		tell(p[1]);
		wait_for(q[0]);
		_exit(0);
	}
	wait_for(p[0]);
	l = rd;
	l.l_start = 0;
	l.l_len = 0;
	T(fcntl(a, F_GETLK, &l));
	T(l.l_type);
	T(fcntl(a, F_SETLK, &l));
	tell(q[1]);
	wait(NULL);
	T(fcntl(a, F_GETLK, t_bad));
	T(fcntl(a, F_OFD_SETLK, t_bad));
	T(fcntl(-1, F_SETLK, &rd));
	T(fcntl(a, F_GETFD));
	close(a);
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
}

/* Who opens what somebody has a lease on waits until it is given up, and nobody else does. */
static void lease(const char *name)
{
	int p[2], fd = TFD(open(name, O_RDWR));
	struct stat st;

	SAY("%s\n", name);
	MUST(pipe(p) == 0);
	signal(SIGIO, on_alarm);
	T(fcntl(fd, F_SETLEASE, F_WRLCK));
	T(fcntl(fd, F_GETLEASE));
	TOPEN(open(name, O_RDONLY | O_NONBLOCK));
	pid_t child = fork();
	if (child == 0) {
		close(fd);
		tell(p[1]);
		int again = TFD(open(name, O_RDONLY));
		T(fcntl(again, F_GETFL) & O_NONBLOCK);
		T(truncate(name, 3));
		tell(p[1]);
		_exit(0);
	}
	wait_for(p[0]);
	struct pollfd f = { .fd = p[0], .events = POLLIN };
	T(poll(&f, 1, 150) == 0 || errno == EINTR);
	T(stat("a.txt", &st));
	MUST(fcntl(fd, F_SETLEASE, F_UNLCK) == 0);
	wait_for(p[0]);
	wait(NULL);
	T(stat(name, &st));
	SAY("  %lld\n", (long long)st.st_size);
	close(fd);
	close(p[0]);
	close(p[1]);
	fd = open(name, O_RDONLY);
	T(fcntl(fd, F_SETLEASE, F_RDLCK));
	T(fcntl(fd, F_GETLEASE));
	T(fcntl(fd, F_SETLEASE, F_UNLCK));
	close(fd);
}

int main(void)
{
	t_put("new", "new\n");
	MUST(mkdir("newdir", 0755) == 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		alone(names[i]);
		inherited(names[i]);
		waiting(names[i]);
		interrupted(names[i]);
	}
	copied();
	records("a.txt");
	records("script.sh");
	records("new");
	lease("new");
	lease("script.sh");
	return 0;
}
