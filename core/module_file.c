/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a word of [core] modules to a mapped and accepted shared object.  Modules are trusted
 * code, so a file that others could have written is refused, and what is checked is what is
 * loaded: all looks go to one open descriptor, and dlopen gets that descriptor's name.
 */
#include <cleanup.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "handshake.h"
#include "loader.h"

char *module_directory(const struct core_conf *conf)
{
	const char *env = getenv("BVISOR_MODULE_DIR");
	char *beside;
	if (conf->module_dir && *conf->module_dir)
		return strdup(conf->module_dir);
	if (env && *env)
		return strdup(env);
	if (config_beside_exe(MODULE_DIR_BESIDE, &beside) == 0)
		return beside;
	return strdup(MODULE_DIR);
}

static bool plain_name(const char *word)
{
	for (const char *p = word; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
			return false;
	return *word != '\0';
}

bool module_exists(const char *module_dir, const char *name)
{
	bv_autofree char *path = NULL;
	if (!plain_name(name) || asprintf(&path, "%s/%s.so", module_dir, name) < 0)
		return false;
	return access(path, F_OK) == 0;
}

/* Refuses what somebody else could have put there. */
static int check_owner(int fd, const char *path, const char *what, struct bv_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	if (st.st_mode & S_IWOTH)
		return error_set(err, EPERM, "%s: refused: %s is world-writable", path, what);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return error_set(err, EPERM, "%s: refused: %s belongs to user %u, neither root nor you", path, what,
				 (unsigned)st.st_uid);
	return 0;
}

/* The file at an absolute path whose last part is no symlink, if its directory is safe too; -ELOOP. */
static int open_plain(const char *path, struct bv_error *err)
{
	const char *slash = strrchr(path, '/');
	bv_autofree char *parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!parent)
		return error_set(err, ENOMEM, "out of memory");
	bv_autofd int dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	bv_autofd int fd = openat(dir, slash + 1, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	int r = check_owner(dir, path, "its directory", err);
	if (!r)
		r = check_owner(fd, path, "the file", err);
	return r < 0 ? r : bv_take_fd(&fd);
}

/* An open descriptor of the file at an absolute path, whose directory was checked as well. */
static int open_checked(const char *path, struct bv_error *err)
{
	int fd = open_plain(path, err);
	if (fd != -ELOOP)
		return fd;
	bv_autofree char *real = realpath(path, NULL);
	/* realpath leaves no link at the end: one that is there now was put in its place. */
	return real ? open_plain(real, err) : error_set(err, errno, "%s: %s", path, strerror(errno));
}

static int find(const char *module_dir, const char *word, const char *where, char **path, struct bv_error *err)
{
	int n;
	if (word[0] == '/')
		n = asprintf(path, "%s", word);
	else if (strchr(word, '/'))
		return error_set(err, EINVAL, "%s: module path '%s' is relative; give a name or an absolute path",
				 where, word);
	else if (!plain_name(word))
		return error_set(err, EINVAL, "%s: '%s' is no module name (letters, digits, - and _)", where, word);
	else if (module_dir[0] != '/')
		return error_set(err, EINVAL, "%s: the module directory '%s' is not an absolute path", where,
				 module_dir);
	else
		n = asprintf(path, "%s/%s.so", module_dir, word);
	if (n < 0) {
		*path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

/* Maps the object and has its descriptor checked. */
static int map(struct module *m, const char *path, struct bv_error *err)
{
	/*
	 * glibc takes an object it already has under that very name for this one, so the name must
	 * not come again while it is loaded: hence the process id, and m->fd stays open.  The name
	 * also works for debuggers, from outside of the process.
	 */
	char name[64];
	snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)getpid(), m->fd);
	m->self.dl = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!m->self.dl)
		return error_set(err, ENOEXEC, "%s: %s", path, dlerror());
	const void *desc = dlsym(m->self.dl, "bvisor_module");
	if (!desc)
		return error_set(err, ENOEXEC, "%s: no module: the symbol bvisor_module is missing", path);
	Dl_info info;
	ElfW(Sym) *symbol = NULL;
	if (!dladdr1(desc, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol || info.dli_saddr != desc)
		return error_set(err, ENOEXEC, "%s: bad size: the symbol bvisor_module has none", path);
	return handshake_check(desc, symbol->st_size, &m->desc, path, err);
}

int module_open(struct module *m, const char *module_dir, const char *word, const char *where, struct bv_error *err)
{
	struct bv_error inner = {""};
	m->fd = -1;
	int r = find(module_dir, word, where, &m->self.path, err);
	if (r < 0)
		return r;
	const char *path = m->self.path;
	r = m->fd = open_checked(path, &inner);
	if (r >= 0)
		r = elf_check(m->fd, path, &inner);
	if (r >= 0)
		r = map(m, path, &inner);
	if (r >= 0) {
		r = handshake_tables(&m->desc, path, &inner);
		if (r < 0)
			goto failed;
		m->self.desc = &m->desc;
		if (word[0] != '/' && strcmp(word, m->desc.name) != 0)
			r = error_set(&inner, EINVAL, "%s: calls itself '%s'", path, m->desc.name);
	}
	if (r >= 0)
		return 0;
failed:
	error_set(err, -r, "%s: module '%s': %s", where, word, inner.text);
	module_close(m);
	return r;
}

void module_close(struct module *m)
{
	if (m->self.desc)
		handshake_tables_free(&m->desc);
	m->self.desc = NULL;
	if (m->self.dl)
		dlclose(m->self.dl);
	m->self.dl = NULL;
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	free(m->self.path);
	m->self.path = NULL;
}
