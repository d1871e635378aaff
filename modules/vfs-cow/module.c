/* SPDX-License-Identifier: Apache-2.0 */
/* vfs-cow's descriptor and start: options, mount table, upper layer, services. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "fetch.h"
#include "quota.h"
#include "review.h"
#include "watch.h"

static const struct bv_option options[] = {
	{"upper", BV_OPT_STR, offsetof(struct conf, upper), "tmp:", NULL,
         "Where writes go: SCHEME:REST. tmp: is ephemeral, in $TMPDIR or /tmp; tmp:/DIR puts it "
         "below DIR; local:NAME is kept."},
	{"state", BV_OPT_STR, offsetof(struct conf, state), NULL, NULL,
         "The directory of kept upper layers, absolute; default: $XDG_STATE_HOME/bvisor or "
         "~/.local/state/bvisor."},
	{"create", BV_OPT_BOOL, offsetof(struct conf, create), "yes", NULL,
         "Whether a kept upper layer that does not exist is made; no: not starting is the answer."},
	{"mount", BV_OPT_LINES, offsetof(struct conf, mount), NULL, NULL,
         "One rule a line: cow DIR, ro DIR, rw DIR, hide PATH, tmp DIR, bind SRC DST [ro|rw]. Wins "
         "over the keys below."},
	{"tmp", BV_OPT_WORDS, offsetof(struct conf, tmp), "/tmp\n/var/tmp\n/dev/shm", NULL,
         "Private directories, empty at the start."},
	{"show_cwd", BV_OPT_BOOL, offsetof(struct conf, show_cwd), "yes", NULL,
         "Whether the directory that the sandbox is started in is shown although it lies in a "
         "private one."},
	{"ro", BV_OPT_WORDS, offsetof(struct conf, ro), "/sys", NULL,
         "Host directories that cannot be written, not even inside."},
	{"hide", BV_OPT_WORDS, offsetof(struct conf, hide),
         "/run\n/boot\n/etc/shadow\n/etc/shadow-\n/etc/gshadow\n/etc/gshadow-\n/etc/sudoers\n"
         "/etc/sudoers.d\n/etc/krb5.keytab\n/etc/docker\n/etc/kubernetes\n/etc/ssl/private\n"
         "/var/run\n/var/lib/docker\n/var/lib/containerd\n/var/lib/kubelet\n~/.ssh\n~/.gnupg\n"
         "~/.aws\n~/.azure\n~/.kube\n~/.docker\n~/.netrc\n~/.git-credentials\n~/.pgpass\n"
         "~/.password-store\n~/.vault-token\n~/.config/gcloud\n~/.config/gh\n"
         "~/.local/share/keyrings\n~/.local/state/bvisor\n/sys/firmware\n/sys/kernel/debug\n"
         "/sys/kernel/tracing\n/sys/kernel/security\n/sys/fs/bpf\n/sys/fs/cgroup",
         NULL, "Paths that do not exist inside: secrets and sockets of the host."},
	{"dev", BV_OPT_WORDS, offsetof(struct conf, dev),
         "null\nzero\nfull\nrandom\nurandom\ntty\nptmx\npts\nshm\nfd\nstdin\nstdout\nstderr", NULL,
         "Names of the host shown in /dev; no other is, whenever it appears."},
	{"kernel_opens", BV_OPT_BOOL, offsetof(struct conf, kernel_opens), "yes", NULL,
         "Let the kernel itself open clean host files for reading, behind Landlock; no: hand over "
         "every descriptor."},
	{"provenance", BV_OPT_ENUM, offsetof(struct conf, provenance), "kept", "kept|all|no",
         "Which sandboxes record what command changed each path, for diff --who: those that are "
         "kept, all, none."},
	{"quota", BV_OPT_SIZE, offsetof(struct conf, quota), "0", NULL,
         "How many bytes the upper layer may hold; more is ENOSPC inside, and df shows it. 0: as "
         "many "
         "as its file system. With a quota write(2) and its like trap."},
	{"quota_files", BV_OPT_SIZE, offsetof(struct conf, quota_files), "0", NULL,
         "How many files, directories and other objects it may hold; 0: as many as its file "
         "system."},
	{"copyup_inline", BV_OPT_SIZE, offsetof(struct conf, copyup_inline), "256K", NULL,
         "Files up to this size are copied up at once; bigger ones by a worker, so that nobody "
         "waits for them."},
};

static const struct handler_table tables[] = {
	{open_handlers},  {stat_handlers},  {dir_handlers},   {rename_handlers},
	{link_handlers},  {meta_handlers},  {xattr_handlers}, {getdents_handlers},
	{exec_handlers},  {cwd_handlers},   {misc_handlers},  {fileattr_handlers},
	{lock_handlers},  {flock_handlers}, {quota_handlers}, {checkpoint_handlers},
	{watch_handlers}, {NULL},
};

static void free_mounts(struct vfs *v)
{
	while (v->mounts) {
		struct mount *m = v->mounts;

		v->mounts = m->next;
		if (m->fd >= 0)
			close(m->fd);
		free(m->at);
		free(m->source);
		free(m);
	}
}

static void fini(void *self)
{
	struct vfs *v = self;

	if (!v)
		return;
	listing_free_all(v);
	watch_free(v);
	undone_fini(v);
	exec_fini(v);
	quota_fini(v);
	flock_free(v);
	instead_free(v);
	store_close(v);
	moved_free(v);
	wall_free(v);
	shortcut_free(v);
	identity_free(v);
	tree_drop(v->root);
	free_mounts(v);
	free(v->named);
	free(v);
}

static int start(struct vfs *v)
{
	int r = mount_setup(v);

	if (r == 0)
		r = store_open(v);
	if (r < 0)
		return r;
	v->upper_len = strlen(v->upper.root);
	r = exec_init(v);
	if (r < 0)
		return r;
	v->tables = tables;
	r = quota_init(v);
	if (r == 0)
		r = lock_rules(v);
	if (r == 0 && v->quota)
		r = quota_rules(v);
	for (size_t t = 0; tables[t].rows && r == 0; t++) {
		if ((tables[t].rows == quota_handlers && !v->quota) ||
		    (tables[t].rows == checkpoint_handlers && !checkpoint_wanted(v)))
			continue;
		for (const struct bv_handler *row = tables[t].rows; row->syscall && r == 0; row++)
			r = v->host->route(v->self, row);
	}
	if (r == 0)
		r = v->host->provide(v->self, BV_VFS_SERVICE, &v->svc.head);
	if (r == 0)
		r = v->host->provide(v->self, BV_STORE_SERVICE, &v->svc_store.head);
	if (r == 0)
		r = v->host->provide(v->self, BV_REVIEW_SERVICE, &v->svc_review.head);
	if (r == 0)
		r = wall_build(v);
	device_adopt_stdio(v);
	return r;
}

static int init(struct bv_self *host_self, const struct bv_host *host, const void *conf, void **self)
{
	struct vfs *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->self = host_self;
	v->host = host;
	v->conf = conf;
	v->upper.root_fd = v->upper.meta_fd = -1;
	v->svc = vfs_service;
	v->svc_store = store_service;
	v->svc_review = review_service;
	v->landlock = BV_HAS(struct bv_host, host, features) && (host->features(host_self) & BV_FEATURE_LANDLOCK);
	if (host->features(host_self) & BV_FEATURE_AUDIT)
		v->named = calloc(1, PATH_MAX);
	int r = start(v);
	if (r < 0) {
		fini(v);
		return r;
	}
	*self = v;
	return 0;
}

static void task_exit(void *self, struct bv_task *task)
{
	struct vfs *v = self;

	watch_left(v, v->host->task_pid(task));
}

static const char *const provides[] = {BV_VFS_SERVICE, BV_STORE_SERVICE, BV_REVIEW_SERVICE, NULL};

BV_MODULE_EXPORT const struct bv_module bvisor_module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "vfs-cow",
	.version = "0.1.0",
	.provides = provides,
	.options = options,
	.n_options = BV_ROWS(options),
	.option_size = sizeof(struct bv_option),
	.need_size = sizeof(struct bv_need),
	.handler_size = sizeof(struct bv_handler),
	.rule_size = sizeof(struct bv_rule),
	.conf_size = sizeof(struct conf),
	.init = init,
	.fini = fini,
	.task_exit = task_exit,
};
