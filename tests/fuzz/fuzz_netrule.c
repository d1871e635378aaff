/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the network allowlist's rules: what is taken prints, and reads back, as the same rule. */
#include <stdlib.h>
#include <string.h>

#include "netrule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct netrule *rule)
{
	char line[NETRULE_TEXT], again[NETRULE_TEXT];
	struct netrule back;

	netrule_print(rule, line);
	if (netrule_scan(line, &back) < 0)
		abort();
	netrule_print(&back, again);
	if (strcmp(line, again) != 0 || !netrule_fits(&back, rule->family, rule->addr, rule->low) ||
	    (rule->low > 1 && netrule_fits(&back, rule->family, rule->addr, rule->low - 1)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct netrule rule;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (!netrule_parse(text, &rule) && rule.family)
		round_trip(&rule);
	if (netrule_scan(text, &rule) == 0)
		round_trip(&rule);
	free(text);
	return 0;
}
