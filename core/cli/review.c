/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what a sandbox changed.  Paths are the guest's and may hold any byte but NUL: nothing
 * that could steer a terminal or break the format leaves here unescaped.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bvisor/svc/review.h>
#include <strbuf.h>

#include "named.h"
#include "renames.h"

struct printer {
	FILE *to;
	size_t n;
	struct renames renames;
	const struct bv_review *who; /* --who, or NULL */
};

size_t review_utf8(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = 0;

	if (u[0] < 0x80)
		return 1;
	if (u[0] >= 0xc2 && u[0] < 0xf5)
		len = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	for (size_t i = 1; i < len; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what lies behind U+10FFFF (RFC 3629). */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return len;
}

/* Bytes at s that may be shown as they are; 0: the first one must be escaped. */
static size_t plain(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = review_utf8(s);

	if (u[0] < ' ' || u[0] == 0x7f || u[0] == '"' || u[0] == '\\')
		return 0;
	if (u[0] == 0xc2 && u[1] < 0xa0) /* C1 control codes */
		return 0;
	if (u[0] == 0xe2 && u[1] == 0x80 &&
	    (u[2] >= 0xa8 && u[2] <= 0xae)) /* line ends, direction */
		return 0;
	if (u[0] == 0xe2 && u[1] == 0x81 && (u[2] >= 0xa6 && u[2] <= 0xa9))
		return 0;
	return len;
}

void review_quote(const char *path, FILE *to)
{
	static const char code[] = "\a\b\t\n\v\f\r\"\\", letter[] = "abtnvfr\"\\";
	const char *p = path;

	while (*p && plain(p))
		p += plain(p);
	if (*p == '\0') {
		fputs(path, to);
		return;
	}
	putc('"', to);
	for (p = path; *p;) {
		size_t n = plain(p);
		const char *known = n ? NULL : strchr(code, *p);

		if (n)
			fwrite(p, 1, n, to);
		else if (known)
			fprintf(to, "\\%c", letter[known - code]);
		else
			fprintf(to, "\\%03o", (unsigned char)*p);
		p += n ? n : 1;
	}
	putc('"', to);
}

/* When the path was changed last, and by which command. */
static void print_who(const struct printer *p, const char *path)
{
	char when[32] = "";
	struct bv_who who;
	struct tm tm;

	if (!p->who || !p->who->who(p->who, path, &who))
		return;
	time_t t = (time_t)who.time;
	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	fprintf(p->to, "  %s  ", when);
	review_quote(who.command, p->to);
}

static int text_line(void *arg, const struct bv_change *c)
{
	struct printer *p = arg;
	const char *from = c->kind == 'A' ? renames_from(&p->renames, c->path) : NULL;

	if (c->kind == 'D' && renames_gone(&p->renames, c->path))
		return 0;
	fprintf(p->to, "%c ", from ? 'R' : c->kind);
	if (from) {
		review_quote(from, p->to);
		fputs(" -> ", p->to);
	}
	review_quote(c->path, p->to);
	fprintf(p->to, "  %llu", (unsigned long long)c->size);
	if (c->what & BV_CHANGED_MODE)
		fprintf(p->to, "  mode %o -> %o", c->old_mode & 07777, c->mode & 07777);
	if (c->what & BV_CHANGED_OWNER)
		fprintf(p->to, "  owner %u:%u -> %u:%u", c->old_uid, c->old_gid, c->uid, c->gid);
	if (c->what & BV_CHANGED_XATTR)
		fputs("  xattrs", p->to);
	if (c->what == BV_CHANGED_TIME)
		fputs("  time", p->to);
	print_who(p, c->path);
	putc('\n', p->to);
	return ferror(p->to) ? -EIO : 0;
}

/* JSON strings are Unicode.  What is not becomes U+FFFD, and KEY_hex gives all the bytes. */
static int set_text(json_t *o, const char *key, const char *key_hex, const char *path)
{
	bv_autostrbuf struct strbuf text = {0}, hex = {0};
	bool lossy = false;

	for (const char *s = path; *s;) {
		size_t n = review_utf8(s);

		if (n)
			strbuf_add(&text, s, n);
		else
			strbuf_puts(&text, "\xef\xbf\xbd");
		lossy |= n == 0;
		s += n ? n : 1;
	}
	for (const char *s = path; lossy && *s; s++)
		strbuf_printf(&hex, "%02x", (unsigned char)*s);
	if (text.failed || hex.failed)
		return -ENOMEM;
	if (json_object_set_new(o, key, json_string(text.data)) < 0 ||
	    (lossy && json_object_set_new(o, key_hex, json_string(hex.data)) < 0))
		return -ENOMEM;
	return 0;
}

static int set_who(json_t *o, const struct printer *p, const char *path)
{
	struct bv_who who;

	if (!p->who || !p->who->who(p->who, path, &who))
		return 0;
	if (json_object_set_new(o, "changed", json_integer((json_int_t)who.time)) < 0)
		return -ENOMEM;
	return set_text(o, "command", "command_hex", who.command);
}

/* What of an object is different; without a list it is its content. */
static int set_what(json_t *o, const struct bv_change *c)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{BV_CHANGED_DATA, "data"},   {BV_CHANGED_MODE, "mode"}, {BV_CHANGED_OWNER, "owner"},
	             {BV_CHANGED_XATTR, "xattrs"}, {BV_CHANGED_TIME, "time"}};
	json_t *what = json_array();
	int r = json_object_set_new(o, "what", what);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (c->what & names[i].bit)
			r |= json_array_append_new(what, json_string(names[i].name));
	if (c->what & BV_CHANGED_MODE)
		r |= json_object_set_new(o, "mode", json_pack("[i, i]", (int)(c->old_mode & 07777), (int)(c->mode & 07777)));
	if (c->what & BV_CHANGED_OWNER)
		r |= json_object_set_new(o, "owner", json_pack("[[I, I], [I, I]]", (json_int_t)c->old_uid,
		                                               (json_int_t)c->old_gid, (json_int_t)c->uid,
		                                               (json_int_t)c->gid));
	return r < 0 ? -ENOMEM : 0;
}

static int json_line(void *arg, const struct bv_change *c)
{
	struct printer *p = arg;
	const char *from = c->kind == 'A' ? renames_from(&p->renames, c->path) : NULL;
	char kind[2] = {from ? 'R' : c->kind}, type[2] = {c->type};

	if (c->kind == 'D' && renames_gone(&p->renames, c->path))
		return 0;
	json_t *o = json_pack("{s:s, s:s, s:I}", "kind", kind, "type", type, "size",
	                      (json_int_t)c->size);
	int r = o ? set_text(o, "path", "path_hex", c->path) : -ENOMEM;

	if (r == 0 && from)
		r = set_text(o, "from", "from_hex", from);

	if (r == 0 && c->kind == 'M')
		r = set_what(o, c);
	if (r == 0)
		r = set_who(o, p, c->path);

	if (r == 0) {
		fputs(p->n++ ? ",\n" : "\n", p->to);
		r = json_dumpf(o, p->to, JSON_COMPACT) < 0 ? -EIO : 0;
	}
	json_decref(o);
	return r;
}

int review_print(struct sandbox *box, enum diff_format format, bool who, FILE *to)
{
	const struct bv_review *review =
		(const struct bv_review *)loader_service(box, BV_REVIEW_SERVICE);
	struct printer p = {.to = to};
	int r;

	if (!review || !BV_HAS(struct bv_review, review, changes))
		return -ENOTSUP; /* no module records changes */
	if (format == DIFF_PATCH || format == DIFF_STAT) {
		if (!BV_HAS(struct bv_review, review, link))
			return -ENOTSUP;
		return format == DIFF_PATCH ? patch_print(review, to) : patch_stat(review, to);
	}
	if (who && BV_HAS(struct bv_review, review, who))
		p.who = review;
	if (format == DIFF_JSON)
		putc('[', to);
	r = renames_find(review, &p.renames);
	errno = 0;
	if (r == 0)
		r = review->changes(review, format == DIFF_JSON ? json_line : text_line, &p);
	renames_fini(&p.renames);
	if (r == 0 && format == DIFF_JSON)
		fputs(p.n ? "\n]\n" : "]\n", to);
	if (r == -EIO && errno == EPIPE)
		return -EPIPE;
	return r;
}
