/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_OPTION_H
#define BVISOR_OPTION_H
/* Option rows: the host parses a module's ini section into the module's conf struct. */
#include <bvisor/abi.h>

enum bv_option_type {
	BV_OPT_BOOL = 0,  /* int: yes|no|true|false|on|off|1|0 */
	BV_OPT_INT = 1,   /* int64_t */
	BV_OPT_SIZE = 2,  /* uint64_t bytes: 4096, 64K, 16M, 2G */
	BV_OPT_STR = 3,   /* const char * */
	BV_OPT_ENUM = 4,  /* int, the index in `choices` ("none|host") */
	BV_OPT_ERRNO = 5, /* int, from a name ("EPERM") */
	BV_OPT_WORDS = 6, /* struct bv_strings: words split at white space; repeated keys append */
	BV_OPT_LINES = 7, /* struct bv_strings: one item per occurrence of the key */
};

struct bv_strings {
	size_t n;
	const char *const *item;
};

/*
 * One key of the module's section.  The host writes at `offset` bytes into a zeroed conf struct
 * of conf_size bytes (see struct bv_module), which it owns and keeps until after fini.
 */
struct bv_option {
	const char *key;
	uint32_t type;       /* enum bv_option_type */
	uint32_t offset;     /* offsetof(struct conf, member) */
	const char *def;     /* default, in ini syntax; for WORDS/LINES items separated by '\n'; NULL: zero */
	const char *choices; /* BV_OPT_ENUM: "a|b|c"; otherwise NULL */
	const char *help;    /* one sentence; goes into bvisor.ini(5) and `bvisor help` */
};

#endif
