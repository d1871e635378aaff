/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox that runs is reviewed by a snapshot of it, which goes again. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

#include "named.h"

#define LOOK "bvisor-look." /* and our process id: the tag */

/* One that was killed left its snapshot; its name is gathered, since who lists has it open meanwhile. */
static int is_left(void *arg, const struct bv_layer_info *info)
{
	const char *tag = strchr(info->name, '@');

	if (tag && strncmp(tag + 1, LOOK, strlen(LOOK)) == 0 &&
	    kill(atoi(tag + 1 + strlen(LOOK)), 0) < 0 && errno == ESRCH)
		strbuf_add(arg, info->name, strlen(info->name) + 1);
	return 0;
}

static void sweep(const struct look *l, const char *name)
{
	bv_autostrbuf struct strbuf left = {0};
	const char *why;

	if (l->ops->snapshots(l->ctx, name, is_left, &left, &why) < 0 || left.failed)
		return;
	for (size_t at = 0; at < left.len; at += strlen(left.data + at) + 1)
		(void)l->ops->remove(l->ctx, left.data + at, &why);
}

int look_begin(const char *cmd, const struct settings *s, const char *name, bool reach,
               struct look *out)
{
	const char *why = NULL;

	*out = (struct look){.running = -1};
	int code = named_box(cmd, s, &out->box), r;
	if (code)
		return code;
	out->ops = named_store(out->box, &out->ctx);
	if (reach)
		out->running = named_connect(out->ops, out->ctx, name, &why);
	if (!out->ops || (reach ? out->running < 0 : !named_in_use(out->ops, out->ctx, name)))
		return 0;
	sweep(out, name);
	if (asprintf(&out->name, "%s@" LOOK "%d", name, (int)getpid()) < 0) {
		out->name = NULL;
		r = -ENOMEM;
	} else {
		r = out->ops->copy(out->ctx, name, out->name, &why);
	}
	if (r == 0)
		return 0;
	code = cli_fail(cmd, "%s", why && *why ? why : strerror(-r));
	free(out->name);
	out->name = NULL;
	look_end(out);
	return code;
}

void look_end(struct look *l)
{
	const char *why;

	if (l->name)
		(void)l->ops->remove(l->ctx, l->name, &why);
	if (l->running >= 0)
		close(l->running);
	free(l->name);
	sandbox_free(l->box);
	*l = (struct look){.running = -1};
}
