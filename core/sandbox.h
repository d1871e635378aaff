/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SANDBOX_H
#define CORE_SANDBOX_H
/* The option rows of [core], for help and the manual page; modules bring their own. */
#include "bvisor.h"

const struct bv_option *core_options(size_t *n);

#endif
