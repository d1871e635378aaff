/* SPDX-License-Identifier: Apache-2.0 */
/* /proc of one's own processes: links, texts, what may be written.  Outputs must be equal. */
#include "t.h"

#include <ctype.h>
#include <pthread.h>
#include <sys/prctl.h>

static char *whole(const char *path)
{
	static char b[1 << 18];
	int fd = open(path, O_RDONLY);
	size_t at = 0;
	ssize_t n;

	if (fd < 0) {
		SAY("  %s: %s\n", path, strerrorname_np(errno));
		return NULL;
	}
	while (at < sizeof(b) - 1 && (n = read(fd, b + at, sizeof(b) - 1 - at)) > 0)
		at += (size_t)n;
	b[at] = '\0';
	close(fd);
	return b;
}

static long number(const char *text, const char *key)
{
	const char *at = text ? strstr(text, key) : NULL;

	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static void links(void)
{
	char b[PATH_MAX], want[PATH_MAX];
	ssize_t n;
	struct stat a, c;

	n = readlink("/proc/self", b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	T(n > 0 && atoi(b) == getpid());
	n = readlink("/proc/thread-self", b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	snprintf(want, sizeof(want), "%d/task/%d", getpid(), getpid());
	T(strcmp(b, want));
	n = readlink("/proc/self/cwd", b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	T(getcwd(want, sizeof(want)) && strcmp(b, want) == 0);
	n = readlink("/proc/self/root", b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	SAY("  root %s\n", b);
	n = readlink("/proc/self/exe", b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	SAY("  exe ends in %s\n", strrchr(b, '/') ? strrchr(b, '/') : "?");
	T(stat("/proc/self/exe", &a) | stat(b, &c));
	T(a.st_ino == c.st_ino && a.st_dev == c.st_dev);
	T(readlink("/proc/mounts", b, sizeof(b)) == 11 && memcmp(b, "self/mounts", 11) == 0);
	T(lstat("/proc/self", &a));
	SAY("  %c\n", t_type(a.st_mode));
	T(stat("/proc/self/", &a));
	SAY("  %c %o owner is me %d\n", t_type(a.st_mode), a.st_mode & 07777, a.st_uid == getuid());
	T(lstat("/proc/self/exe", &a));
	SAY("  %c\n", t_type(a.st_mode));
	TOPEN(open("/proc/self/cwd/.", O_RDONLY | O_DIRECTORY));
	TOPEN(open("/proc/self/nothing", O_RDONLY));
	TOPEN(open("/proc/self/stat/x", O_RDONLY));
	TOPEN(open("/proc/0", O_RDONLY));
	TOPEN(open("/proc/-1/stat", O_RDONLY));
	TOPEN(open("/proc/self/new", O_WRONLY | O_CREAT, 0600));
	T(mkdir("/proc/new", 0700));
	T(unlink("/proc/self/comm"));
}

static void descriptors(void)
{
	char name[64], b[256];
	int p[2], fd;
	ssize_t n;

	MUST(pipe(p) == 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p[0]);
	n = readlink(name, b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	SAY("  %.6s\n", b);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p[1]);
	fd = TFD(open(name, O_WRONLY));
	T(write(fd, "via", 3));
	T(read(p[0], b, sizeof(b)));
	close(fd);
	close(p[0]);
	close(p[1]);
	TOPEN(open(name, O_WRONLY));
	fd = TFD(open("file_here", O_RDWR | O_CREAT, 0600));
	T(write(fd, "text", 4));
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	SAY("  ends in %s\n", strrchr(b, '/') ? strrchr(b, '/') : b);
	TOPEN(open(name, O_RDONLY));
	T(unlink("file_here"));
	n = readlink(name, b, sizeof(b) - 1);
	b[n > 0 ? n : 0] = '\0';
	SAY("  ends in %s\n", strrchr(b, '/') ? strrchr(b, '/') : b);
	TOPEN(open(name, O_RDONLY));
	close(fd);
	TOPEN(open("/proc/self/fd/4711", O_RDONLY));
	TOPEN(open("/proc/self/fd/01", O_RDONLY));
	TOPEN(open("/proc/self/fd/x", O_RDONLY));
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", 1);
	T(number(whole(name), "pos:") >= 0);
}

static void texts(void)
{
	char *text = whole("/proc/self/stat"), *end;

	T(text && atoi(text) == getpid());
	end = text ? strrchr(text, ')') : NULL;
	T(end && atoi(end + 4) == getppid());
	T(end && end[2] == 'R');
	text = whole("/proc/self/status");
	T(number(text, "\nTgid:") == getpid());
	T(number(text, "\nPPid:") == getppid());
	T(number(text, "\nTracerPid:"));
	T(number(text, "\nUid:") == (long)getuid());
	T(number(text, "\nThreads:"));
	text = whole("/proc/self/cmdline");
	SAY("  argv[0] ends in %s\n", text && strrchr(text, '/') ? strrchr(text, '/') : "?");
	setenv("IGNORED", "later", 1);
	T(whole("/proc/self/environ") != NULL);
	text = whole("/proc/self/maps");
	T(text && strstr(text, "[stack]") != NULL);
	T(text && strstr(text, "/proc_files") != NULL);
	text = whole("/proc/self/smaps");
	T(text && strstr(text, "/proc_files\nSize:") != NULL);
	T(number(whole("/proc/self/smaps_rollup"), "Rss:") > 0);
	text = whole("/proc/self/statm");
	T(text && atoi(text) > 0);
	T(number(whole("/proc/self/limits"), "Max open files") > 0);
	T(number(whole("/proc/self/io"), "rchar:") > 0);
	T(whole("/proc/self/wchan") != NULL);
	T(whole("/proc/self/auxv") != NULL);
	text = whole("/proc/self/mounts");
	T(text && strstr(text, " / ") != NULL);
	T(text && strstr(text, " /proc proc ") != NULL);
	text = whole("/proc/self/mountinfo");
	T(text && strstr(text, " / / ") != NULL);
	T(whole("/proc/mounts") != NULL);
	T(whole("/proc/self/cgroup") != NULL);
	text = whole("/proc/filesystems");
	T(text && strstr(text, "proc") != NULL);
	text = whole("/proc/self/net/dev");
	T(text && strstr(text, "lo:") != NULL);
	text = whole("/proc/net/tcp");
	T(text && strstr(text, "local_address") != NULL);
	text = whole("/proc/swaps");
	T(text && strncmp(text, "Filename", 8) == 0);
}

static void writes(void)
{
	int fd = TFD(open("/proc/self/comm", O_WRONLY | O_TRUNC));
	char b[32] = "";

	T(write(fd, "renamed", 7));
	close(fd);
	T(prctl(PR_GET_NAME, b));
	SAY("  %s\n", b);
	t_cat("/proc/self/comm");
	fd = TFD(open("/proc/self/oom_score_adj", O_RDWR));
	T(write(fd, "500", 3));
	close(fd);
	t_cat("/proc/self/oom_score_adj");
	static char word[] = "before";
	fd = TFD(open("/proc/self/mem", O_RDWR));
	T(pread(fd, b, sizeof(word), (off_t)(uintptr_t)word));
	SAY("  %s\n", b);
	T(pwrite(fd, "after!", 6, (off_t)(uintptr_t)word));
	SAY("  %s\n", word);
	close(fd);
	TOPEN(open("/proc/uptime", O_RDONLY));
}

static volatile pid_t thread_id;
static volatile bool thread_stop;

static void *thread(void *arg)
{
	char b[64], want[64];
	ssize_t n = readlink("/proc/thread-self", b, sizeof(b) - 1);

	b[n > 0 ? n : 0] = '\0';
	snprintf(want, sizeof(want), "%d/task/%d", getpid(), (int)syscall(SYS_gettid));
	SAY("  thread-self is right: %d\n", strcmp(b, want) == 0);
	thread_id = (pid_t)syscall(SYS_gettid);
	while (!thread_stop)
		usleep(1000);
	return arg;
}

static int entries(const char *path, bool digits)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	if (!d)
		return -1;
	while ((e = readdir(d)))
		n += digits ? isdigit((unsigned char)e->d_name[0]) != 0 : e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void threads(void)
{
	char path[64];
	pthread_t t;

	T(entries("/proc/self/task", true));
	MUST(pthread_create(&t, NULL, thread, NULL) == 0);
	while (!thread_id)
		usleep(1000);
	T(entries("/proc/self/task", true));
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", thread_id);
	T(whole(path) != NULL);
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread_id);
	T(atoi(whole(path)) == thread_id);
	snprintf(path, sizeof(path), "/proc/%d/status", thread_id); /* not listed, but there */
	T(number(whole(path), "\nTgid:") == getpid());
	snprintf(path, sizeof(path), "/proc/self/task/%d/fd", thread_id);
	T(entries(path, true) >= 3);
	thread_stop = true;
	pthread_join(t, NULL);
	snprintf(path, sizeof(path), "/proc/self/task/%d", thread_id);
	T(access(path, F_OK));
	T(access("/proc/self/task/1", F_OK));
}

static void children(void)
{
	char path[64];
	int p[2], gone;
	pid_t pid;

	MUST(pipe(p) == 0);
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0) {
		char c;

		close(p[1]);
		_exit(read(p[0], &c, 1) != 0);
	}
	close(p[0]);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	T(atoi(whole(path)) == pid);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	T(number(whole(path), "\nPPid:") == getpid());
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	T(entries(path, true) >= 3);
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	T(access(path, F_OK));
	snprintf(path, sizeof(path), "/proc/%d", pid);
	gone = TFD(open(path, O_RDONLY | O_DIRECTORY));
	TOPEN(openat(gone, "comm", O_RDONLY));
	close(p[1]);
	t_wait(pid);
	T(access(path, F_OK));
	TOPEN(open(path, O_RDONLY));
	close(gone);
}

int main(void)
{
	links();
	descriptors();
	texts();
	writes();
	threads();
	children();
	return 0;
}
