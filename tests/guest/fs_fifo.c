/* SPDX-License-Identifier: Apache-2.0 */
/* FIFOs between guests, and an open that blocks and is interrupted. */
#include "t.h"
#include <pthread.h>
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void arm(int flags, long ms, long every)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = flags };
	struct itimerval it = { { every / 1000, every % 1000 * 1000 }, { ms / 1000, ms % 1000 * 1000 } };

	alarms = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

static void disarm(void)
{
	struct itimerval it = { { 0, 0 }, { 0, 0 } };

	setitimer(ITIMER_REAL, &it, NULL);
}

/* A child that opens the FIFO later with the given flags and says a word. */
static pid_t later(const char *path, int flags, long ms, const char *say)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };
		char b[64] = "";
		int fd;

		disarm();
		nanosleep(&ts, NULL);
		fd = open(path, flags);
		if (fd < 0)
			_exit(50);
		if (say)
			_exit(write(fd, say, strlen(say)) < 0 ? 51 : 0);
		_exit(read(fd, b, sizeof(b)) < 0 ? 52 : 0);
	}
	return pid;
}

static void meet(const char *path)
{
	char b[64];
	int fd;
	pid_t pid;
	ssize_t n;

	SAY("%s: reader first\n", path);
	pid = later(path, O_WRONLY, 30, "hello");
	fd = TFD(open(path, O_RDONLY));
	n = T(read(fd, b, sizeof(b)));
	t_bytes(b, n > 0 ? (size_t)n : 0);
	SAY("\n");
	T(read(fd, b, sizeof(b)));
	close(fd);
	t_wait(pid);
	SAY("%s: writer first\n", path);
	pid = later(path, O_RDONLY, 30, NULL);
	fd = TFD(open(path, O_WRONLY));
	T(write(fd, "x", 1));
	close(fd);
	t_wait(pid);
}

static void interrupted(const char *path)
{
	char b[64];
	int fd;
	pid_t pid;

	SAY("%s: EINTR\n", path);
	arm(0, 50, 0);
	TOPEN(open(path, O_RDONLY));
	SAY("  alarms %d\n", alarms);
	arm(0, 50, 0);
	TOPEN(open(path, O_WRONLY));
	SAY("  alarms %d\n", alarms);
	SAY("%s: SA_RESTART\n", path);
	pid = later(path, O_WRONLY, 200, "after the alarm");
	arm(SA_RESTART, 50, 0);
	fd = TFD(open(path, O_RDONLY));
	disarm();
	SAY("  alarms %d\n", alarms);
	T(read(fd, b, sizeof(b)));
	close(fd);
	t_wait(pid);
	/* A timer that fires all the time must not starve it. */
	pid = later(path, O_WRONLY, 200, "through the storm");
	arm(SA_RESTART, 5, 5);
	fd = TFD(open(path, O_RDONLY));
	disarm();
	SAY("  several alarms %d\n", alarms > 3);
	T(read(fd, b, sizeof(b)));
	close(fd);
	t_wait(pid);
	SAY("%s: killed while blocked\n", path);
	pid = fork();
	if (pid == 0) {
		_exit(open(path, O_RDONLY) >= 0);
	}
	nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
	T(kill(pid, SIGKILL));
	t_wait(pid);
	pid = fork();
	if (pid == 0) {
		_exit(open(path, O_RDONLY) >= 0);
	}
	nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
	T(kill(pid, SIGTERM));
	t_wait(pid);
}

static void *open_end(void *arg)
{
	return (void *)(intptr_t)open(arg, O_WRONLY);
}

/* One thread blocks in open; the others must go on. */
static void threads(const char *path)
{
	pthread_t t;
	void *r;
	struct stat st;
	int fd, ok = 0;

	MUST(pthread_create(&t, NULL, open_end, (void *)path) == 0);
	for (int i = 0; i < 50; i++) {
		ok += stat("a.txt", &st) == 0;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	fd = TFD(open(path, O_RDONLY));
	pthread_join(t, &r);
	SAY("%s: other calls meanwhile %d, writer %d\n", path, ok, (intptr_t)r >= 0);
	close(fd);
	close((int)(intptr_t)r);
}

/* More blocked opens than a worker pool would have. */
static void crowd(void)
{
	pid_t pid[12];
	char p[16];
	struct stat st;

	for (int i = 0; i < 12; i++) {
		snprintf(p, sizeof(p), "crowd%d", i);
		MUST(mkfifo(p, 0600) == 0);
		pid[i] = later(p, O_RDONLY, 0, NULL);
	}
	nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
	T(stat("a.txt", &st));
	for (int i = 11; i >= 0; i--) {
		int fd;

		snprintf(p, sizeof(p), "crowd%d", i);
		fd = open(p, O_WRONLY);
		MUST(fd >= 0);
		close(fd);
		t_wait(pid[i]);
		unlink(p);
	}
}

int main(void)
{
	int r, w;

	umask(022);
	TOPEN(open("fifo", O_WRONLY | O_NONBLOCK)); /* ENXIO */
	r = TFD(open("fifo", O_RDONLY | O_NONBLOCK));
	w = TFD(open("fifo", O_WRONLY | O_NONBLOCK));
	T(write(w, "both", 4));
	T(read(r, (char[8]){ 0 }, 8));
	close(r);
	close(w);
	T(mkfifo("made", 0644));
	T(link("made", "made2"));
	meet("fifo");
	meet("made");
	interrupted("fifo");
	interrupted("made");
	threads("fifo");
	threads("made");
	crowd();
	MUST(system("echo through the shell > made & cat made2; wait") == 0);
	MUST(system("bash -c 'cat <(echo one) <(echo two)'") == 0);
	return 0;
}
