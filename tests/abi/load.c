/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the configuration that bvisor would find, for moved.sh: prints where it and the first
 * module came from, or the error. */
#include <stdio.h>
#include <stdlib.h>

#include "bvisor.h"

int main(void)
{
	struct bv_error err = {""};
	struct config *config;
	struct sandbox *box;
	char *path;
	if (config_find(NULL, &path, &err) < 0 || config_load(&config, path, &err) < 0 ||
	    sandbox_new(&box, config, &err) < 0) {
		printf("%s\n", err.text);
		return 1;
	}
	printf("%s %s\n", path, box->n_modules ? box->module[0]->path : "none");
	free(path);
	sandbox_free(box);
	return 0;
}
