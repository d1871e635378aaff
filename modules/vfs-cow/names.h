/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_NAMES_H
#define VFS_COW_NAMES_H
/* Lists of names: each ends in a NUL byte. */
#include <strbuf.h>

/* Appends the entries of a directory but "." and "..", in its own order.  fd (readable) is taken, a
 * negative one is the -errno of its opening.  0 or -errno. */
int names_read(int fd, struct strbuf *out);
/* Puts them in byte order, each once.  0 or -ENOMEM. */
int names_sort(struct strbuf *names);
/* for (const char *name = names_first(&b); name; name = names_next(&b, name)) */
const char *names_first(const struct strbuf *names);
const char *names_next(const struct strbuf *names, const char *name);

#endif
