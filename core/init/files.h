/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_INIT_FILES_H
#define CORE_INIT_FILES_H
/*
 * File operations inside, for those who are outside: bvisor-init VERB PATH...  Bytes go by standard input
 * and output.  Errors are one line "ERRNO-NAME text" on standard error, and status 1.
 *
 *   read PATH          write PATH MODE (octal; "-": keep or 644)      append PATH MODE
 *   list PATH          a record an entry       stat PATH, lstat PATH  one record
 *   mkdir PATH MODE    mkdirs PATH MODE        move FROM TO           remove PATH      remove-all PATH
 *
 *   watch PATH: records of watch.c, until it is killed
 *
 * A record: "TYPE MODE UID GID SIZE MTIME_NS NLINK INO NAME NUL TARGET NUL"; TYPE is one of f d l p s c b.
 */
int files_watch(const char *path); /* watch.c: 0; -1 with errno */
int files_main(int argc, char **argv);

#endif
