/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_WORDS_H
#define CORE_SERVE_WORDS_H
/* A command line under construction. */
#include "serve.h"

struct words {
	const char *
		*word; /* NULL-terminated; those behind -e and -o are owned, the others borrowed */
	size_t n, cap;
	bool failed; /* out of memory */
};

bool words_text(const json_t *value); /* a string without NUL */
/* The words of a run of these parameters: NULL, or what is wrong with *bad.  name: of a kept one; state: an
 * option of a temporary one; either may be NULL. */
const char *words_of_box(struct words *w, json_t *params, const char *state, const char *name,
                         const char *init, const char **bad);
void words_fini(struct words *w);

#endif
