/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_EXEC_REDIRECT_H
#define CORE_EXEC_REDIRECT_H
/* Runs a guest's execve, execveat or chdir with another path (design: transient ptrace). */
#include <stdbool.h>

#include <bvisor/host.h>

struct bv_task;
struct loop;
struct ncall;
struct redirect;
struct seccomp_data;

/* Copies r and starts; BV_DEFERRED, or BV_REPLIED with an errno. */
enum bv_verdict exec_redirect_start(struct ncall *nc, const struct bv_redirect *r);
/* The process makes another call: its redirect may be over before the loop has heard of it. */
void exec_redirect_met(struct loop *l, const struct bv_task *task);
/* Whether this notification is the redirected call itself, come back; true once. */
bool exec_redirect_reentry(struct redirect *r, const struct seccomp_data *data);

#endif
