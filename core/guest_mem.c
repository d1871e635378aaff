/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory through process_vm_readv(2)/process_vm_writev(2), which respect page protection
 * as the kernel's own copy_from_user does (/proc/PID/mem would not).  Says nothing about whether
 * the thread is still the one that made a call: the caller re-checks the notification.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest_mem.h"

/* The smallest page of any machine we run on: a fault cannot begin elsewhere than at a multiple. */
#define PAGE 4096u

static ssize_t copy(pid_t tid, void *local, uint64_t remote, size_t n, bool write)
{
	struct iovec here = {local, n}, there = {(void *)(uintptr_t)remote, n};
	ssize_t r = write ? process_vm_writev(tid, &here, 1, &there, 1, 0) :
	                    process_vm_readv(tid, &here, 1, &there, 1, 0);

	return r < 0 ? -errno : r;
}

static int copy_all(pid_t tid, void *local, uint64_t remote, size_t n, bool write)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = copy(tid, (char *)local + done, remote + done, n - done, write);

		if (r < 0)
			return (int)r;
		if (r == 0)
			return -EFAULT;
		/* A short transfer ended at a page that faults, or at the kernel's per-call limit. */
		done += (size_t)r;
	}
	return 0;
}

int guest_mem_read(pid_t tid, void *to, uint64_t from, size_t n)
{
	return copy_all(tid, to, from, n, false);
}

int guest_mem_write(pid_t tid, uint64_t to, const void *from, size_t n)
{
	return copy_all(tid, (void *)(uintptr_t)from, to, n, true);
}

ssize_t guest_mem_read_str(pid_t tid, char *to, uint64_t from, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t n = PAGE - (size_t)((from + done) % PAGE);

		/* Strings end before the page does, mostly, and what follows may be unmapped. */
		if (n > size - done)
			n = size - done;
		ssize_t r = copy(tid, to + done, from + done, n, false);
		if (r <= 0)
			return r < 0 ? r : -EFAULT;
		char *end = memchr(to + done, '\0', (size_t)r);
		if (end)
			return end - to;
		done += (size_t)r;
	}
	return -ENAMETOOLONG;
}

ssize_t guest_mem_gather(pid_t tid, void *to, size_t cap, uint64_t iov, uint64_t n_iov)
{
	struct iovec v[GUEST_IOV_MAX];
	size_t sum = 0;

	if (n_iov > GUEST_IOV_MAX)
		return -EINVAL;
	int r = guest_mem_read(tid, v, iov, n_iov * sizeof(v[0]));
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < n_iov; i++) {
		/* As import_iovec(): any length that is negative as ssize_t refuses all. */
		if ((ssize_t)v[i].iov_len < 0)
			return -EINVAL;
		if (v[i].iov_len > cap - sum)
			v[i].iov_len = cap - sum;
		sum += v[i].iov_len;
	}
	struct iovec here = {to, sum};
	ssize_t got = sum ? process_vm_readv(tid, &here, 1, v, n_iov, 0) : 0;
	if (got < 0)
		return -errno;
	return (size_t)got < sum ? -EFAULT : got;
}
