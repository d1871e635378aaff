/* SPDX-License-Identifier: Apache-2.0 */
/* What was refused in a sandbox: the broker's audit events as structs. */
#include <stdlib.h>
#include <string.h>

#include "link.h"

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Text, or the bytes that are no UTF-8 and came as KEY_hex: *made is to be freed.  NULL: there is none. */
static const char *text(const json_t *record, const char *key, const char *hex_key, char **made)
{
	const char *hex = json_string_value(json_object_get(record, hex_key));
	size_t n = hex ? strlen(hex) / 2 : 0;

	*made = hex ? malloc(n + 1) : NULL;
	if (!*made)
		return json_string_value(json_object_get(record, key));
	for (size_t i = 0; i < n; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		(*made)[i] = high < 0 || low < 0 ? '?' : (char)(high << 4 | low);
	}
	(*made)[n] = '\0';
	return *made;
}

static const char *word(const json_t *record, const char *key)
{
	const char *s = json_string_value(json_object_get(record, key));

	return s ? s : "";
}

void sandbox_audit(struct bvisor_sandbox *sb, const json_t *record)
{
	char *what, *command;
	struct bvisor_denial d = {
		.kind = word(record, "event"),
		.by = word(record, "by"),
		.call = word(record, "call"),
		.error = word(record, "errno"),
		.what = text(record, "what", "what_hex", &what),
		.command = text(record, "command", "command_hex", &command),
		.pid = (int)json_integer_value(json_object_get(record, "pid")),
		.time = json_number_value(json_object_get(record, "time")),
		.lost = (uint64_t)json_integer_value(json_object_get(record, "lost")),
	};

	if (!d.command)
		d.command = "";
	if (sb->denied)
		sb->denied(sb->denied_arg, &d);
	free(what);
	free(command);
}
