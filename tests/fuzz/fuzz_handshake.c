/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake on any bytes: it reads no further than it may, follows no pointer, and accepts
 * only what obeys the version rule.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bvisor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bv_module out, before;
	struct bv_error err = {""};
	memset(&before, 0x5a, sizeof(before));
	memcpy(&out, &before, sizeof(out));
	if (handshake_check(data, size, &out, "f.so", &err) < 0) {
		check(!memcmp(&out, &before, sizeof(out))); /* left alone */
		check(!strncmp(err.text, "f.so: ", 6) && !strchr(err.text, '\n'));
		return 0;
	}
	check(out.head.magic == BV_MAGIC_MODULE && out.head.major == BV_ABI_MAJOR);
	check(out.head.minor <= BV_ABI_MINOR && out.head.size <= size && !out.head.zero && !out.zero);
	check(out.name && out.version && out.init);
	check(!out.n_needs || (out.needs && out.need_size >= sizeof(*out.needs)));
	check(!out.n_options || (out.options && out.option_size >= sizeof(*out.options)));
	check(!out.n_handlers || (out.handlers && out.handler_size >= sizeof(*out.handlers)));
	check(!out.n_rules || (out.rules && out.rule_size >= sizeof(*out.rules)));
	/* What the module's author did not have reads as zero; what we do not have was zero. */
	for (size_t i = out.head.size; i < sizeof(out); i++)
		check(((const unsigned char *)&out)[i] == 0);
	for (size_t i = sizeof(out); i < out.head.size; i++)
		check(data[i] == 0);
	return 0;
}
