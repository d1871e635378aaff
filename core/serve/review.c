/* SPDX-License-Identifier: Apache-2.0 */
/* What bvisor's own commands do with kept sandboxes, for a client: in a child of the broker. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "review_jobs.h"
#include "temp.h"

#define OUTPUT_MAX (FRAME_MAX / 2 - 4096) /* of each, with room for the rest of the answer */
/* For what waits until a sandbox that is just ending lets go of its files. */
#define TRIES 30
#define RETRY_US 100000

struct job {
	struct job *next;
	struct client *client;
	json_t *id;
	pid_t pid;
	int out, err; /* memory files */
	bool cancelled;
};

static const char *const allowed[] = {"diff", "commit", "rollback", "snapshot", "fork",   "merge",
                                      "log",  "ls",     "rm",       "export",   "import", "allow"};

static _Noreturn void become(char **argv, int argc, int out, int err, pid_t parent, int tries)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0 || dup2(null, 0) < 0 ||
	    dup2(out < 0 ? null : out, 1) < 0 || dup2(err < 0 ? null : err, 2) < 0)
		_exit(EXIT_BVISOR);
	(void)syscall(SYS_close_range, 3, ~0u, 0);
	broker_give_back_files();
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	optind = 0;
	int code = cli_main(argc, argv);
	while (code && --tries > 0) {
		usleep(RETRY_US);
		optind = 0;
		code = cli_main(argc, argv);
	}
	_exit(fflush(stdout) == 0 ? code : EXIT_BVISOR);
}

static void job_free(struct job *j)
{
	if (j->out >= 0)
		close(j->out);
	if (j->err >= 0)
		close(j->err);
	json_decref(j->id);
	free(j);
}

/* state: an option to go behind the command, or NULL. */
static char **words(json_t *argv, const char *state, int *n)
{
	size_t i, count = json_array_size(argv);
	char **word = calloc(count + 4, sizeof(*word)), **to = word;
	json_t *item;

	if (!word)
		return NULL;
	*to++ = (char *)(uintptr_t) "bvisor";
	json_array_foreach (argv, i, item) {
		*to++ = (char *)(uintptr_t)json_string_value(item);
		if (i == 0 && state) {
			*to++ = (char *)(uintptr_t) "-o";
			*to++ = (char *)(uintptr_t)state;
		}
	}
	*n = (int)(to - word);
	return word;
}

static pid_t spawn(char **word, int n, int out, int err, int tries)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		become(word, n, out, err, parent, tries);
	return pid;
}

pid_t review_spawn(char **word, int n)
{
	return spawn(word, n, -1, -1, 1);
}

void review_job(struct broker *b, char **word, int n)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return; /* the end of the broker makes up for it */
	*j = (struct job){.next = b->jobs, .out = -1, .err = -1};
	j->pid = spawn(word, n, -1, -1, TRIES);
	if (j->pid > 0)
		b->jobs = j;
	else
		job_free(j);
}

static bool is_allowed(json_t *argv)
{
	const char *verb = json_string_value(json_array_get(argv, 0));
	json_t *item;
	size_t i;

	json_array_foreach (argv, i, item)
		if (!json_is_string(item) ||
		    strlen(json_string_value(item)) != json_string_length(item))
			return false;
	for (i = 0; verb && i < BV_ROWS_OF(allowed); i++)
		if (strcmp(allowed[i], verb) == 0)
			return true;
	return false;
}

void review_call(struct client *c, json_t *id, json_t *argv, bool temporary)
{
	const char *state = temporary ? temp_state(c->broker) : NULL;
	struct job *j;
	int n;

	if (!is_allowed(argv)) {
		client_error(c, id, "invalid", EINVAL,
		             "command: argv begins with one of diff commit rollback snapshot fork "
		             "merge log ls rm export import");
		return;
	}
	bv_autofree char **word = words(argv, state, &n);
	j = calloc(1, sizeof(*j));
	if (!j || !word || (temporary && !state)) {
		free(j);
		client_error(c, id, "sandbox", ENOMEM, "%s",
		             temporary && !state ? "there is no place for temporary sandboxes"
		                                 : "out of memory");
		return;
	}
	*j = (struct job){.next = c->broker->jobs, .client = c, .id = id};
	j->out = memfd_create("stdout", MFD_CLOEXEC);
	j->err = memfd_create("stderr", MFD_CLOEXEC);
	j->pid = j->out < 0 || j->err < 0 ? -1 : spawn(word, n, j->out, j->err, 1);
	if (j->pid < 0) {
		client_error(c, json_incref(id), "sandbox", errno, "command: %s", strerror(errno));
		job_free(j);
		return;
	}
	c->broker->jobs = j;
}

/* How long it becomes as a string of JSON, whose control characters are six. */
static size_t quoted(const char *bytes, size_t n)
{
	size_t size = n;

	for (size_t i = 0; i < n; i++)
		size += (unsigned char)bytes[i] < 0x20 ? 5 : bytes[i] == '"' || bytes[i] == '\\';
	return size;
}

/* As text, or where it is no UTF-8 in hexadecimal digits under another key.  0; -EFBIG, -errno. */
static int put(json_t *to, const char *key, int fd)
{
	struct stat st;
	bv_autostrbuf struct strbuf b = {0};

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > OUTPUT_MAX)
		return -EFBIG;
	if (!strbuf_reserve(&b, (size_t)st.st_size))
		return -ENOMEM;
	ssize_t n = pread(fd, b.data, (size_t)st.st_size, 0);
	if (n < 0)
		return -errno;
	json_t *text = json_stringn(b.data, (size_t)n);
	if (text)
		return quoted(b.data, (size_t)n) > OUTPUT_MAX ? (json_decref(text), -EFBIG)
		                                              : json_object_set_new(to, key, text);
	if (n > OUTPUT_MAX / 2)
		return -EFBIG;
	bv_autostrbuf struct strbuf hex = {0};
	for (ssize_t i = 0; i < n; i++)
		strbuf_printf(&hex, "%02x", (unsigned char)b.data[i]);
	char name[32];
	snprintf(name, sizeof(name), "%s_hex", key);
	return hex.failed ? -ENOMEM
	                  : json_object_set_new(to, name, json_string(hex.data ? hex.data : ""));
}

bool review_reaped(struct broker *b, pid_t pid, int status)
{
	for (struct job **at = &b->jobs; *at; at = &(*at)->next) {
		struct job *j = *at;

		if (j->pid != pid)
			continue;
		*at = j->next;
		if (j->client && j->cancelled && WIFSIGNALED(status)) {
			client_error(j->client, json_incref(j->id), "cancelled", ECANCELED,
			             "it was cancelled");
		} else if (j->client) {
			json_t *result = json_pack("{s:i}", "status",
			                           WIFEXITED(status) ? WEXITSTATUS(status)
			                                             : 128 + WTERMSIG(status));

			int r = put(result, "stdout", j->out);
			if (r == 0)
				r = put(result, "stderr", j->err);
			if (r == 0) {
				client_result(j->client, json_incref(j->id), result);
			} else {
				json_decref(result);
				client_error(j->client, json_incref(j->id), "sandbox",
				             r < 0 ? -r : EIO, "command: %s",
				             r == -EFBIG ? "it says more than 4 MiB"
				                         : "what it says cannot be read");
			}
		}
		job_free(j);
		return true;
	}
	return false;
}

bool review_cancel(struct client *c, json_int_t request)
{
	for (struct job *j = c->broker->jobs; j; j = j->next)
		if (j->client == c && json_integer_value(j->id) == request) {
			/* As Ctrl-C at a terminal would: what is half done is finished or swept by the next one. */
			j->cancelled = kill(j->pid, SIGTERM) == 0;
			return true;
		}
	return false;
}

void review_fini(struct broker *b)
{
	while (b->jobs) {
		struct job *j = b->jobs;

		b->jobs = j->next;
		job_free(j);
	}
}

void review_forget(struct client *c)
{
	for (struct job *j = c->broker->jobs; j; j = j->next)
		if (j->client == c)
			j->client = NULL; /* what it does is done, and nobody is told */
}
