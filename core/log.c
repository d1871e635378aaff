/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines on stderr, one write(2) each so that lines of several processes do not mix.  The
 * level is the one piece of process-wide state besides the front's signals: it is a property of
 * the process's stderr, not of a sandbox, and workers read it.
 */
#include <bvisor/log.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bvisor.h"

static atomic_int current_level = BV_LOG_WARN;

void log_set_level(int level)
{
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

int log_level(void)
{
	return atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_line(int level, const char *topic, const char *fmt, ...)
{
	static const char *const word[] = {"error: ", "warning: ", "", "debug: "};
	if (level > log_level() || level < 0)
		return;
	int saved = errno;
	char line[2048];
	size_t cap = sizeof(line) - 1; /* room for the newline */
	int n = snprintf(line, cap, "bvisor: %s%s%s", word[level > BV_LOG_DEBUG ? BV_LOG_DEBUG : level],
			 topic ? topic : "", topic ? ": " : "");
	size_t len = n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
	va_list ap;
	va_start(ap, fmt);
	n = vsnprintf(line + len, cap - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < cap - len ? (size_t)n : cap - len - 1;
	/* Guest-made text may be in it: no control byte reaches the user's terminal. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	for (size_t done = 0; done < len;) {
		ssize_t w = write(STDERR_FILENO, line + done, len - done);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			break; /* nowhere to complain */
		done += (size_t)w;
	}
	errno = saved;
}
