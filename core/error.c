/* SPDX-License-Identifier: Apache-2.0 */
/* Text for load and configuration failures; serving paths use plain -errno instead. */
#include <stdarg.h>
#include <stdio.h>

#include "bvisor.h"

int error_set(struct bv_error *err, int code, const char *fmt, ...)
{
	if (err) {
		va_list ap;
		va_start(ap, fmt);
		/* Formatted aside, since an argument may be err->text itself (a chain). */
		char text[sizeof(err->text)];
		int n = vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		snprintf(err->text, sizeof(err->text), "%s", n < 0 ? "unprintable error" : text);
	}
	return code > 0 ? -code : code;
}
