/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FSD_H
#define FSD_H
/* The parts of the differential tester's guest, see fsd.c. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#define SLOTS 8
#define ARGS 8
#define LINE 1024

/* Ends the process: nothing that is tested went wrong. */
void die(const char *what);

/* ---- fsd_gen.c ---- */
int generate(uint64_t seed, unsigned n);

/* ---- fsd_ops.c ---- */
extern char out[8192]; /* what the last operation gave */
extern size_t out_len;
/* Before the first operation: the tree's top, no descriptors. */
void ops_begin(const char *top);
/* Carries out one line, which is cut up. */
void perform(char *line);
void say_stat(int r, const struct stat *st);
const char *err(void);
uint32_t hash(const void *data, size_t n);
int by_text(const void *a, const void *b);

/* ---- fsd_watch.c ---- */
/* From now on everything below top is watched for these events (IN_*). */
void watch_begin(const char *top, uint32_t events);
/* What was seen since; f NULL: of no interest. */
void watch_show(FILE *f);

#endif
