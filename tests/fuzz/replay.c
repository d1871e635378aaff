/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libFuzzer: runs the target over every file of the corpus directories given, each
 * whole, then cut short and with bytes flipped, so that the replay also walks beside the corpus.
 * A crash, a sanitizer report or abort() fails the test.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 20)

/* A copy of exactly this size, so that reading past it is noticed. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void run_file(const char *path)
{
	static uint8_t data[INPUT_MAX];
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(2);
	}
	size_t size = fread(data, 1, sizeof(data), f);
	fclose(f);
	run(data, size);
	size_t step = size / 256 + 1;
	for (size_t cut = 0; cut < size; cut += step)
		run(data, cut);
	for (size_t at = 0; at < size; at += step)
		for (int bit = 0; bit < 8; bit += 3) {
			data[at] ^= (uint8_t)(1u << bit);
			run(data, size);
			data[at] ^= (uint8_t)(1u << bit);
		}
}

int main(int argc, char **argv)
{
	unsigned files = 0;
	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		if (!dir) {
			perror(argv[i]);
			return 2;
		}
		for (const struct dirent *e; (e = readdir(dir));) {
			char path[4096];
			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			run_file(path);
			files++;
		}
		closedir(dir);
	}
	printf("%u files of the corpus replayed\n", files);
	return files ? 0 : 1; /* an empty corpus proves nothing */
}
