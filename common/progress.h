/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_PROGRESS_H
#define COMMON_PROGRESS_H
/* One line on a terminal that is written over while something takes long; nothing elsewhere. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_AFTER 0.3 /* seconds before it is shown at all */
#define PROGRESS_EVERY 0.1

struct progress {
	const char *what; /* "commit" */
	const char *units; /* "changes" */
	struct timespec began, shown;
	bool bar; /* the line is there */
};

static inline double progress_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) + (double)(now.tv_nsec - t->tv_nsec) / 1e9;
}

static inline void progress_begin(struct progress *p, const char *what, const char *units)
{
	*p = (struct progress){.what = what, .units = units};
	clock_gettime(CLOCK_MONOTONIC, &p->began);
}

/* n units, and done bytes of total (0: nobody knows how many; both 0: it is not about bytes). */
static inline void progress_show(struct progress *p, size_t n, uint64_t done, uint64_t total)
{
	enum { WIDTH = 30 };

	if (!isatty(STDERR_FILENO) || progress_since(&p->began) < PROGRESS_AFTER ||
	    (p->bar && progress_since(&p->shown) < PROGRESS_EVERY))
		return;
	fprintf(stderr, "\r%s ", p->what);
	if (total) {
		int filled = (int)((double)done / (double)total * WIDTH);

		fprintf(stderr, "[%.*s%*s] ", filled, "##############################",
		        WIDTH - filled, "");
	}
	fprintf(stderr, "%zu %s", n, p->units);
	if (done || total) {
		fprintf(stderr, ", %.1f ", (double)done / 1048576);
		if (total)
			fprintf(stderr, "of %.1f ", (double)total / 1048576);
		fprintf(stderr, "MiB, %.1f MiB/s",
		        (double)done / 1048576 / progress_since(&p->began));
	}
	fputs(" \033[K", stderr);
	clock_gettime(CLOCK_MONOTONIC, &p->shown);
	p->bar = true;
}

static inline void progress_end(struct progress *p)
{
	if (p->bar)
		fputs("\r\033[K", stderr);
	p->bar = false;
}

#endif
