/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCKLIST_RANGE_H
#define BLOCKLIST_RANGE_H
/* Ranges of 32-bit numbers as the ini writes them: "0x5401" or "0x5401-0x540b". */
#include <stddef.h>
#include <stdint.h>

struct range {
	uint32_t first, last;
};

/* Reads one word.  0, or -EINVAL for anything but a number or two in ascending order. */
int range_parse(const char *word, struct range *out);
/* Sorts and joins what touches or overlaps, so that few filter rules remain: the new count. */
size_t range_merge(struct range *r, size_t n);

#endif
