/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H
/* What only the loader and sandbox need of config.c beyond bvisor.h. */
#include "bvisor.h"

#define CONFIG_LINE_MAX 4096u /* bytes of one line, without its newline */

/* Section headers as they stand in the file, also of sections without keys. */
size_t config_sections(const struct config *c);
const char *config_section(const struct config *c, size_t i, const char **where);
/* The file's name for messages; "command line" when there is none. */
const char *config_name(const struct config *c);

/* Where this executable's installation lives when it was moved or is run in place: the directory
 * of /proc/self/exe joined with `relative`, malloc'd; -ENOENT when that does not exist. */
int config_beside_exe(const char *relative, char **path);

#endif
