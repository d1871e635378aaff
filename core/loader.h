/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_LOADER_H
#define CORE_LOADER_H
/* What loader.c, module_file.c and sandbox.c share. */
#include "bvisor.h"

/* A module's record with what only the loader needs; self comes first. */
struct module {
	struct bv_self self;
	struct bv_module desc; /* self.desc points here */
	int fd; /* kept open while loaded: its /proc path is the object's name */
};

/* Opens and maps the module file that `word` of [core] modules names, checks it, and fills
 * m->desc, m->fd, self.dl and self.path. */
int module_open(struct module *m, const char *module_dir, const char *word, const char *where, struct bv_error *err);
void module_close(struct module *m);
/* Whether module_dir holds a module of that name. */
bool module_exists(const char *module_dir, const char *name);
/* The directory modules are looked up in; malloc'd, NULL without memory. */
char *module_directory(const struct core_conf *conf);

/* Ends the modules that were started, last first; they stay loaded. */
void loader_stop(struct sandbox *box);

#endif
