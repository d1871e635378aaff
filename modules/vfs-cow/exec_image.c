/* SPDX-License-Identifier: Apache-2.0 */
/* Program headers as the kernel reads them: fs/binfmt_script.c, fs/binfmt_elf.c. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>

#include "exec.h"

int header_read(int file, struct header *h)
{
	memset(h, 0, sizeof(*h));
	ssize_t n = pread(file, h->data, sizeof(h->data), 0);
	if (n < 0)
		return -errno;
	h->len = (size_t)n;
	return 0;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* next_non_spacetab() and next_terminator() of the kernel; last is inclusive. */
static const char *next_text(const char *at, const char *last)
{
	for (; at <= last; at++)
		if (!blank(*at))
			return at;
	return NULL;
}

static const char *next_end(const char *at, const char *last)
{
	for (; at <= last; at++)
		if (blank(*at) || !*at)
			return at;
	return NULL;
}

static void copy_text(char out[SCRIPT_SIZE], const char *from, const char *end)
{
	size_t len = strnlen(from, (size_t)(end - from));

	memcpy(out, from, len);
	out[len] = '\0';
}

/* load_script(), with its idea of what is truncated (Linux 5.1 on). */
bool header_script(const struct header *h, struct script *s)
{
	char buf[SCRIPT_SIZE];
	const char *last = buf + sizeof(buf) - 1;

	memcpy(buf, h->data, sizeof(buf));
	if (buf[0] != '#' || buf[1] != '!')
		return false;
	const char *end = memchr(buf, '\n', strnlen(buf, sizeof(buf)));
	if (!end) {
		end = next_text(buf + 2, last);
		if (!end || !next_end(end, last))
			return false;
		end = last;
	}
	while (blank(end[-1]))
		end--;
	const char *name = next_text(buf + 2, end);
	if (!name || name == end)
		return false;
	const char *sep = next_end(name, end);
	const char *arg = sep && *sep ? next_text(sep, end) : NULL;
	copy_text(s->interp, name, sep && sep < end ? sep : end);
	s->arg[0] = '\0';
	if (arg && arg < end)
		copy_text(s->arg, arg, end);
	return s->interp[0] != '\0';
}

/* Our own machine, as the vDSO's header says (vdso(7)); 0: unknown. */
static Elf64_Half machine(void)
{
	const Elf64_Ehdr *own = (const void *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);

	return own ? own->e_machine : 0;
}

#define TABLE_MAX 65536 /* the kernel takes no bigger table of program headers */

/* Finds PT_INTERP: 1, *at its place in the file; 0 none, or no program of this machine. */
static int find_interp(const unsigned char *data, size_t len, int file, Elf64_Phdr *ph, off_t *at)
{
	bv_autofree Elf64_Phdr *table = NULL;
	Elf64_Ehdr e;

	if (len < sizeof(e))
		return 0;
	memcpy(&e, data, sizeof(e));
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 || e.e_ident[EI_CLASS] != ELFCLASS64 ||
	    (machine() && e.e_machine != machine()) || (e.e_type != ET_EXEC && e.e_type != ET_DYN) ||
	    e.e_phentsize != sizeof(*table) || e.e_phnum == 0 || e.e_phnum * sizeof(*table) > TABLE_MAX ||
	    e.e_phoff > INT64_MAX - TABLE_MAX)
		return 0;
	size_t size = e.e_phnum * sizeof(*table);
	table = malloc(size);
	if (!table)
		return -ENOMEM;
	if (e.e_phoff + size <= len)
		memcpy(table, data + e.e_phoff, size);
	else if (pread(file, table, size, (off_t)e.e_phoff) != (ssize_t)size)
		return 0;
	for (size_t i = 0; i < e.e_phnum; i++)
		if (table[i].p_type == PT_INTERP) {
			*ph = table[i];
			*at = (off_t)(e.e_phoff + i * sizeof(*table));
			return 1;
		}
	return 0;
}

int header_interp(const struct header *h, int file, char path[PATH_MAX])
{
	Elf64_Phdr ph;
	off_t at;
	int r = find_interp(h->data, h->len, file, &ph, &at);

	if (r <= 0)
		return r;
	if (ph.p_filesz < 2 || ph.p_filesz > PATH_MAX || ph.p_offset > INT64_MAX)
		return 0; /* ENOEXEC, which the kernel will say */
	if (ph.p_offset <= h->len && ph.p_filesz <= h->len - ph.p_offset)
		memcpy(path, h->data + ph.p_offset, ph.p_filesz);
	else if (pread(file, path, ph.p_filesz, (off_t)ph.p_offset) != (ssize_t)ph.p_filesz)
		return 0;
	return path[ph.p_filesz - 1] == '\0' && path[0] ? 1 : 0;
}

static int copy_bytes(int from, int to)
{
	char buf[65536];
	off_t at = 0;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	for (;;) {
		off_t in = at, out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, 1 << 30, 0);

		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
			n = pread(from, buf, sizeof(buf), at);
			if (n > 0)
				n = pwrite(to, buf, (size_t)n, at);
		}
		if (n <= 0)
			return n < 0 ? -errno : 0;
		at += n;
	}
}

/*
 * The kernel takes the interpreter's name from p_offset; the program itself sees the old one at
 * p_vaddr, which stays, so that the dynamic linker still knows itself by the name it expects.
 */
int image_copy(int from, int to, const char *interp)
{
	unsigned char head[HEADER_SIZE];
	struct stat st;
	Elf64_Phdr ph;
	off_t at;
	int r = copy_bytes(from, to);

	if (r < 0 || !*interp)
		return r;
	ssize_t n = pread(to, head, sizeof(head), 0);
	if (n < 0 || fstat(to, &st) < 0)
		return -errno;
	r = find_interp(head, (size_t)n, to, &ph, &at);
	if (r <= 0)
		return r < 0 ? r : -ENOEXEC; /* it was one a moment ago: somebody is writing it */
	ph.p_offset = (Elf64_Off)st.st_size;
	ph.p_filesz = strlen(interp) + 1;
	if (pwrite(to, interp, ph.p_filesz, st.st_size) != (ssize_t)ph.p_filesz ||
	    pwrite(to, &ph, sizeof(ph), at) != (ssize_t)sizeof(ph))
		return -EIO;
	return 0;
}
