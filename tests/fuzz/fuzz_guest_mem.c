/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings, buffers and iovec arrays of a guest against a model: any bytes, at any address, over pages
 * some of which are not there.  The guest is this process.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGES 8u /* that may be there */
#define REACH 65536u /* of an offset, and of a size */

static struct {
	size_t page;
	uint8_t *mem; /* the pages, and nothing behind them as far as an offset and a size reach */
	uint8_t *model;
	uint8_t there; /* a bit a page */
} guest;

static struct {
	const uint8_t *at;
	size_t left;
} input;

static void check(bool holds)
{
	if (!holds)
		abort();
}

static uint64_t take(size_t n)
{
	uint64_t v = 0;

	while (n--)
		if (input.left)
			v = v << 8 | *input.at++, input.left--;
	return v;
}

/* Mostly in the guest's pages or behind them, at times one of the kernel's. */
static uint64_t take_address(void)
{
	return take(1) % 16 == 15 ? take(8) | UINT64_C(1) << 63
	                          : (uintptr_t)guest.mem + take(2) % REACH;
}

static bool is_there(uint64_t address)
{
	uint64_t at = address - (uintptr_t)guest.mem;

	return at < PAGES * guest.page && guest.there >> at / guest.page & 1;
}

static uint8_t *model_of(uint64_t address)
{
	return guest.model + (address - (uintptr_t)guest.mem);
}

/* How many of n bytes can be read before one faults. */
static size_t readable(uint64_t address, size_t n)
{
	size_t i = 0;

	while (i < n && is_there(address + i))
		i++;
	return i;
}

static void read_string(char *to)
{
	uint64_t from = take_address();
	size_t size = take(2), n = 0;
	ssize_t r = guest_mem_read_str(getpid(), to, from, size);

	while (n < size && is_there(from + n) && *model_of(from + n))
		n++;
	if (n == size)
		check(r == -ENAMETOOLONG);
	else if (!is_there(from + n))
		check(r == -EFAULT);
	else
		check(r == (ssize_t)n && memcmp(to, model_of(from), n + 1) == 0);
}

static void read_bytes(char *to)
{
	uint64_t from = take_address();
	size_t n = take(2);
	int r = guest_mem_read(getpid(), to, from, n);

	if (readable(from, n) < n)
		check(r == -EFAULT);
	else
		check(r == 0 && (n == 0 || memcmp(to, model_of(from), n) == 0));
}

static void put(uint64_t to, const void *bytes, size_t n)
{
	size_t fits = readable(to, n);
	int r = guest_mem_write(getpid(), to, bytes, n);

	check(r == (fits < n ? -EFAULT : 0));
	if (fits)
		memcpy(model_of(to), bytes, fits);
}

static void write_bytes(void)
{
	uint64_t to = take_address();
	size_t n = take(1);

	n = n < input.left ? n : input.left;
	put(to, input.at, n);
	input.at += n;
	input.left -= n;
}

static void write_iovecs(void)
{
	uint64_t to = take_address();
	size_t n = take(1) % 8;

	for (size_t i = 0; i < n; i++) {
		struct iovec v = {.iov_base = (void *)(uintptr_t)take_address()};

		v.iov_len = take(1) % 16 == 15 ? take(8) : take(2);
		put(to + i * sizeof(v), &v, sizeof(v));
	}
}

/* What else this process has in its memory, which is no part of the model. */
static bool is_ours(uint64_t address)
{
	return address >> 63 == 0 &&
	       address - (uintptr_t)guest.mem >= PAGES * guest.page + 3 * REACH;
}

/* UNKNOWN: from memory that is ours. */
#define UNKNOWN ((ssize_t)-1000000)

static ssize_t expect_gathered(char *to, size_t cap, uint64_t iov, uint64_t n_iov)
{
	struct iovec v[GUEST_IOV_MAX];
	size_t done = 0;

	if (n_iov > GUEST_IOV_MAX)
		return -EINVAL;
	if (readable(iov, n_iov * sizeof(*v)) < n_iov * sizeof(*v))
		return -EFAULT;
	for (size_t i = 0; i < n_iov; i++) {
		memcpy(&v[i], model_of(iov + i * sizeof(*v)), sizeof(*v));
		if ((ssize_t)v[i].iov_len < 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < n_iov; i++) {
		size_t n = v[i].iov_len < cap - done ? v[i].iov_len : cap - done;
		uint64_t from = (uintptr_t)v[i].iov_base;

		if (n && is_ours(from))
			return UNKNOWN;
		if (readable(from, n) < n)
			return -EFAULT;
		if (n)
			memcpy(to + done, model_of(from), n);
		done += n;
	}
	return (ssize_t)done;
}

static void gather(char *to, char *expected)
{
	uint64_t iov = take_address();
	uint64_t n_iov = take(1) % 8 == 7 ? take(8) : take(1);
	size_t cap = take(2);
	ssize_t want = expect_gathered(expected, cap, iov, n_iov);

	ssize_t got = guest_mem_gather(getpid(), to, cap, iov, n_iov);
	check(want == UNKNOWN ? got <= (ssize_t)cap : got == want);
	check(want <= 0 || memcmp(to, expected, (size_t)want) == 0);
}

static void protect(uint8_t there)
{
	for (size_t i = 0; i < PAGES; i++)
		check(mprotect(guest.mem + i * guest.page, guest.page,
		               there >> i & 1 ? PROT_READ | PROT_WRITE : PROT_NONE) == 0);
	guest.there = there;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char to[REACH], expected[REACH];

	if (!guest.mem) {
		guest.page = (size_t)sysconf(_SC_PAGESIZE);
		guest.mem = mmap(NULL, PAGES * guest.page + 3 * REACH, PROT_NONE,
		                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		guest.model = malloc(PAGES * guest.page);
		check(guest.mem != MAP_FAILED && guest.model);
	}
	protect(0xff);
	memset(guest.mem, 'x', PAGES * guest.page);
	memset(guest.model, 'x', PAGES * guest.page);
	input.at = data;
	input.left = size;
	protect((uint8_t)take(1));
	while (input.left)
		switch (take(1) % 5) {
		case 0:
			read_string(to);
			break;
		case 1:
			read_bytes(to);
			break;
		case 2:
			write_bytes();
			break;
		case 3:
			write_iovecs();
			break;
		default:
			gather(to, expected);
			break;
		}
	protect(0xff);
	check(memcmp(guest.mem, guest.model, PAGES * guest.page) == 0);
	return 0;
}
