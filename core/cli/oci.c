/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor export and import: kept sandboxes as OCI images, by way of bvisor-oci. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>

#include "config.h"
#include "named.h"

#define TREE 3 /* bvisor-oci's descriptor of the layer's tree */
#define TOLD (-EALREADY) /* bvisor-oci has said what is wrong */

extern char **environ;

/* Where it was installed, or built. */
static char *program(void)
{
	char *path;

	if (config_beside_exe(OCI_BESIDE, &path) == 0 ||
	    config_beside_exe("../modules/vfs-cow/oci/bvisor-oci", &path) == 0)
		return path;
	return NULL;
}

/* Runs it on a tree: 0, TOLD, -errno. */
static int work(const char *verb, const char *word, int tree, int out)
{
	bv_autofree char *path = program();
	char *argv[] = {(char *)"bvisor-oci", (char *)(uintptr_t)verb, (char *)(uintptr_t)word,
	                NULL};
	bv_autofd int high = fcntl(tree, F_DUPFD_CLOEXEC, 10);
	bv_autofd int to = out < 0 ? -1 : fcntl(out, F_DUPFD_CLOEXEC, 10);
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status;

	if (!path) {
		cli_fail(verb, "the program bvisor-oci is not installed beside bvisor");
		return TOLD;
	}
	if (high < 0 || (out >= 0 && to < 0))
		return -errno;
	int r = posix_spawn_file_actions_init(&actions);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, high, TREE);
	if (r == 0 && out >= 0)
		r = posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFSIGNALED(status))
		cli_fail(verb, "bvisor-oci was killed by signal %d (%s)", WTERMSIG(status),
		         strsignal(WTERMSIG(status)));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : TOLD;
}

static int outcome(const char *cmd, int r, const char *why)
{
	if (r == 0)
		return 0;
	return r == TOLD ? EXIT_BVISOR : cli_fail(cmd, "%s", why && *why ? why : strerror(-r));
}

/* A file beside `file`, without a name where the filesystem can, so that a kill leaves none. */
static int part_open(const char *file, const char *temp)
{
	bv_autofree char *copy = strdup(file);
	int fd = copy ? open(dirname(copy), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666) : -1;

	return fd >= 0 ? fd : open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

static int part_place(int fd, const char *temp, const char *file)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return -1;
	if (st.st_nlink == 0 && linkat(AT_FDCWD, path, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) < 0)
		return -1;
	return rename(temp, file);
}

/* The image appears whole or not at all. */
static int export_file(const char *name, int tree, const char *file)
{
	bv_autofree char *temp = NULL;

	if (strcmp(file, "-") == 0) {
		if (isatty(STDOUT_FILENO))
			return cli_misuse("export", "standard output is a terminal");
		return outcome("export", work("export", name, tree, STDOUT_FILENO), NULL);
	}
	if (asprintf(&temp, "%s.%d.part", file, (int)getpid()) < 0) {
		temp = NULL;
		return cli_fail("export", "out of memory");
	}
	bv_autofd int fd = part_open(file, temp);
	if (fd < 0)
		return cli_fail("export", "%s: %s", file, strerror(errno));
	int code = outcome("export", work("export", name, tree, fd), NULL);
	if (code == 0 && part_place(fd, temp, file) < 0)
		code = cli_fail("export", "%s: %s", file, strerror(errno));
	if (code)
		(void)unlink(temp);
	return code;
}

static int export_image(const struct settings *s, const char *name, const char *file)
{
	struct sandbox *box;
	const char *why = NULL;
	void *ctx;
	int code = named_box("export", s, &box);

	if (code)
		return code;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	bv_autofd int tree = ops && BV_HAS(struct bv_store_ops, ops, view) && ops->view
	                             ? ops->view(ctx, name, &why)
	                             : -ENOTSUP;
	code = tree < 0 ? outcome("export", tree, why) : export_file(name, tree, file);
	sandbox_free(box);
	return code;
}

static int fill(void *arg, int tree)
{
	return work("import", arg, tree, -1);
}

static int import_image(const struct settings *s, const char *name, const char *file)
{
	struct sandbox *box;
	const char *why = NULL;
	void *ctx;
	int code = named_box("import", s, &box);

	if (code)
		return code;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	int r = ops && BV_HAS(struct bv_store_ops, ops, receive) && ops->receive
	                ? ops->receive(ctx, name, fill, (void *)(uintptr_t)file, &why)
	                : -ENOTSUP;
	code = outcome("import", r, why);
	sandbox_free(box);
	return code;
}

static int parse(const char *cmd, int argc, char **argv, struct settings *s, const char **file)
{
	static const struct option options[] = {{"oci", required_argument, NULL, 'i'},
	                                        {"config", required_argument, NULL, 'c'},
	                                        {"option", required_argument, NULL, 'o'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, ":c:o:h", options, NULL)) != -1) {
		int code = 0;

		if (c == '?' || c == ':')
			return cli_bad_option(cmd, argv, c);
		if (c == 'h')
			return cli_help(cmd);
		if (c == 'i')
			*file = optarg;
		else
			code = settings_parse(cmd, c, s);
		if (code)
			return code;
	}
	if (argc - optind != 1)
		return cli_misuse(cmd, argc == optind ? "no name of a sandbox given"
		                                      : "takes one name only");
	return *file ? -1 : cli_misuse(cmd, "--oci FILE is missing");
}

static int act(const char *cmd, int argc, char **argv,
               int (*fn)(const struct settings *s, const char *name, const char *file))
{
	struct settings s = {0};
	const char *file = NULL;
	int code = parse(cmd, argc, argv, &s, &file);

	if (code < 0)
		code = fn(&s, argv[optind], file);
	settings_fini(&s);
	return code;
}

int export_command(int argc, char **argv)
{
	return act("export", argc, argv, export_image);
}

int import_command(int argc, char **argv)
{
	return act("import", argc, argv, import_image);
}
