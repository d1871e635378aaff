/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader against modules that are bad in one way each: every refusal is one clear line that
 * names the configuration's line and the file, nothing of the module has run, and what was
 * started before is ended.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bvisor.h"

static struct bv_error err;

static struct sandbox *load(const char *ini)
{
	struct config *c;
	struct sandbox *box = NULL;
	err = (struct bv_error){""};
	setenv("ABI_TRACE", "", 1);
	cr_assert_eq(config_parse(&c, ini, strlen(ini), "t.ini", &err), 0, "%s", err.text);
	int r = sandbox_new(&box, c, &err);
	cr_assert((r == 0) == (box != NULL));
	cr_assert((r == 0) == (err.text[0] == '\0'));
	return box;
}

static void accepted(const char *modules)
{
	char ini[4096];
	snprintf(ini, sizeof(ini), "[core]\nlog = error\nmodules = %s\n", modules);
	struct sandbox *box = load(ini);
	cr_assert(box, "%s", err.text);
	sandbox_free(box);
}

static void refused(const char *modules, const char *message)
{
	char ini[4096];
	snprintf(ini, sizeof(ini), "[core]\nlog = error\nmodules = %s\n", modules);
	cr_assert_null(load(ini), "%s", modules);
	cr_assert(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
	cr_assert_eq(strncmp(err.text, "t.ini:3: ", 9), 0, "%s", err.text);
	cr_assert_null(strchr(err.text, '\n'), "%s", err.text);
}

static void traced(const char *what)
{
	cr_assert_str_eq(getenv("ABI_TRACE"), what);
}

Test(abi, a_good_module)
{
	accepted("good");
	traced("g-g");
	accepted(MODULES "/good.so"); /* by its absolute path */
	accepted("good maybe optional");
	traced("gmo-o-m-g");
}

Test(abi, wrong_major)
{
	refused("good major", MODULES "/major.so: made for module ABI 2.0, this bvisor offers 1.0");
	traced("");
}

Test(abi, too_new)
{
	refused("minor", MODULES "/minor.so: too new: needs module ABI 1.1, this bvisor offers 1.0");
}

Test(abi, bad_size)
{
	refused("size", MODULES "/size.so: bad size");
	refused("surplus", MODULES "/surplus.so: uses fields this bvisor (module ABI 1.0) does not know");
}

Test(abi, missing_symbol)
{
	refused("symbol", MODULES "/symbol.so: no module: the symbol bvisor_module is missing");
	refused("magic", MODULES "/magic.so: bvisor_module is no module descriptor");
}

Test(abi, missing_service)
{
	refused("good needs", "module 'needs' needs the service 'test.nowhere' 1.0, which no listed module provides");
	traced("");
	refused("user promises", "needs the service 'test.service' 1.0, but module 'promises' did not provide it");
	traced("p-p");
	refused("newer provider", "module 'newer' needs the service 'test.service' 1.9, loaded is 1.2");
	traced("p-p");
	refused("cycle-a good cycle-b", "module 'cycle-a' and another need each other's services");
}

Test(abi, providers_start_first)
{
	accepted("user good provider");
	traced("gpu-u-p-g");
}

Test(abi, a_failed_init_ends_the_others)
{
	refused("good provider fails user", "module 'fails' did not start: there is no way");
	traced("gpf-p-g");
}

Test(abi, unknown_syscall)
{
	refused("syscall", "module 'syscall': handler row 1: unknown syscall 'uname_of_the_future'");
	refused("rule", "module 'rule': rule row 1: unknown syscall 'swapoff_of_the_future'");
}

Test(abi, unknown_option)
{
	cr_assert_null(load("[core]\nlog = error\nmodules = good\n[good]\ntext = x\ntxt = y\n"));
	cr_assert_str_eq(err.text, "t.ini:6: [good] has no key 'txt'; allowed: text, number");
	cr_assert_null(load("[core]\nlog = error\nmodules = good\n[good]\nnumber = many\n"));
	cr_assert_str_eq(err.text, "t.ini:5: [good] number = many: expected a whole number");
	cr_assert_null(load("[core]\nlog = error\nmodules = good\n[godo]\n"));
	cr_assert(strstr(err.text, "t.ini:4: unknown section [godo]; allowed: core, good"), "%s", err.text);
	/* A module that is not loaded now may have its section all the same. */
	struct sandbox *box = load("[core]\nlog = error\nmodules = good\n[user]\ntext = y\n");
	cr_assert(box, "%s", err.text);
	sandbox_free(box);
	refused("option", MODULES "/option.so: option 'text': unknown option type 77");
}

Test(abi, constructors_do_not_run)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	cr_skip("sanitizers are constructors themselves");
#endif
	refused("constructor", MODULES "/constructor.so: has ELF constructors (.init_array)");
	traced("");
}

Test(abi, names)
{
	refused("nothing", MODULES "/nothing.so: No such file or directory");
	refused("./good.so", "module path './good.so' is relative");
	refused("modules/good.so", "module path 'modules/good.so' is relative");
	refused("../good", "is relative");
	refused("good.so", "'good.so' is no module name");
	refused("good good", "module 'good' is listed twice");
	refused("good " MODULES "/good.so", "module 'good' is listed twice");
	refused("/dev/null", "/dev/null: ");
	refused("/etc/passwd", "/etc/passwd: not a shared object");
	setenv("BVISOR_MODULE_DIR", "here", 1);
	refused("good", "the module directory 'here' is not an absolute path");
}

static char top[] = "/tmp/bvisor-abi-XXXXXX";

static void shell(const char *command)
{
	char line[8192];
	snprintf(line, sizeof(line), "cd '%s' && %s", top, command);
	cr_assert_eq(system(line), 0, "%s", line);
}

static void make_top(void)
{
	cr_assert(mkdtemp(top));
	shell("mkdir dir && cp " MODULES "/good.so dir/good.so && chmod 755 dir dir/good.so");
}

static void remove_top(void)
{
	char line[128];
	snprintf(line, sizeof(line), "rm -rf '%s'", top);
	cr_assert_eq(system(line), 0);
}

static void refused_there(const char *name, const char *message)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", top, name);
	refused(path, message);
}

Test(abi, writable_by_others, .init = make_top, .fini = remove_top)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/dir/good.so", top);
	accepted(path);
	shell("chmod o+w dir/good.so");
	refused_there("dir/good.so", "refused: the file is world-writable");
	shell("chmod 755 dir/good.so; chmod 1777 dir"); /* sticky or not */
	refused_there("dir/good.so", "refused: its directory is world-writable");
	/* Through a link it is the target and its directory that count. */
	shell("mkdir links && ln -s ../dir/good.so links/good.so");
	refused_there("links/good.so", "refused: its directory is world-writable");
	shell("chmod 755 dir");
	snprintf(path, sizeof(path), "%s/links/good.so", top);
	accepted(path);
	refused_there("dir", "not a shared object");
	shell("mkfifo dir/fifo.so && chmod 644 dir/fifo.so");
	refused_there("dir/fifo.so", "not a shared object");
}

Test(abi, owned_by_others, .init = make_top, .fini = remove_top)
{
	if (geteuid() != 0)
		cr_skip("only root can give files away");
	shell("chown 1:1 dir/good.so");
	refused_there("dir/good.so", "refused: the file belongs to user 1, neither root nor you");
	shell("chown 0:0 dir/good.so && chown 1:1 dir");
	refused_there("dir/good.so", "refused: its directory belongs to user 1, neither root nor you");
}

/* Cut anywhere, the file is refused or the dynamic linker says no; nothing crashes. */
Test(abi, damaged_files, .init = make_top, .fini = remove_top)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/dir/good.so", top);
	struct stat st;
	cr_assert_eq(stat(path, &st), 0);
	/* Past the program headers a cut hits what dlopen maps: only the ELF look is ours to test. */
	static const off_t cuts[] = {0, 1, 16, 63, 64, 100, 400};
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		shell("cp " MODULES "/good.so dir/cut.so");
		snprintf(path, sizeof(path), "%s/dir/cut.so", top);
		cr_assert_eq(truncate(path, cuts[i]), 0);
		refused_there("dir/cut.so", "dir/cut.so: ");
	}
}
