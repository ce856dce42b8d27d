#include "src/train/run_match.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/data/digests.h"

/* Keys that decide which examples there are, and with them which ones a fraction keeps aside. The
 * keys that name files are not among them: the files' digest says whether they are the same. */
static bool decides_split(const char *key)
{
    static const char *const keys[] = {
        "data.validation", "data.split_seed", "data.format",   "data.columns",
        "data.max_length", "data.overlong",   "data.on_error", "data.deduplicate",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

/* Why the run kept other records aside than the configuration does now. */
struct reasons {
    struct str why;
    bool sure; /* otherwise it may be that these are the same, or fewer of the same */
};

static void add_reason(struct reasons *r, const char *reason, const char *keys, bool sure)
{
    str_addf(&r->why, "%s%s%s", r->why.n ? "; " : "", reason, keys);
    r->sure = r->sure || sure;
}

static void split_reasons(struct reasons *r, const struct config *run, const struct config *now,
                          const struct setup *s, const struct adapter_notes *about)
{
    const char *names[CONFIG_KEYS];
    char hex[SHA256_HEX];
    bool fraction = run->data.validation.fraction > 0, seeded = false;
    bool ruled = run->line[CONFIG_KEY_data_split_seed] > 0; /* by today's rule */
    size_t n = config_diff(names, run, now, false);
    struct str keys = { 0 };
    for (size_t i = 0; i < n; i++) {
        bool seed = strcmp(names[i], "data.split_seed") == 0;
        if (!decides_split(names[i]) || (seed && !(fraction && ruled))) continue;
        str_addf(&keys, "%s%s", keys.n ? ", " : "", names[i]);
        seeded = seeded || seed;
    }
    if (fraction && !ruled)
        add_reason(r, "it was begun by an earlier lorac, which chose them by another rule", "",
                   true);
    if (keys.n) add_reason(r, "it had another ", keys.p, seeded || !fraction);
    hex_of(hex, s->data.sha256);
    if (about->data_sha256 && *about->data_sha256 && strcmp(about->data_sha256, hex) != 0)
        add_reason(r, "the data files have changed since, or are others", "", false);
    if (keys.failed) r->why.failed = true;
    str_free(&keys);
}

static int note_split(struct str *notes, const struct config *c, const struct setup *s,
                      const struct adapter_notes *about, struct err *e)
{
    char path[PATH_BYTES];
    struct config run;
    struct err unread;
    struct reasons r = { 0 };
    int code = path_join(path, c->output.dir, "config.yaml", e);
    if (code) return code;
    if (config_load(&run, path, NULL, 0, &unread)) {
        str_addf(
            notes,
            "data.validation: it is not known whether the run kept the same records aside; some "
            "of these may have been trained on: %s\n",
            unread.msg);
        return str_error(notes, e);
    }
    split_reasons(&r, &run, c, s, about);
    if (r.why.n) {
        str_addf(
            notes,
            "data.validation: other records %s kept aside now than in the run in %s, so some of "
            "these %s trained on, and the loss looks better than it is: %s\n",
            r.sure ? "are" : "may be", err_quotez(c->output.dir), r.sure ? "were" : "may have been",
            r.why.p);
    }
    config_free(&run);
    code = str_error(&r.why, e);
    str_free(&r.why);
    return code ? code : str_error(notes, e);
}

/* *shared = how many examples of x are also in `in`. */
static int count_shared(size_t *shared, const struct examples *x, const struct examples *in,
                        struct err *e)
{
    struct digests all = { 0 }, own = { 0 };
    struct digest d;
    uint32_t copies;
    int code = 0;
    for (size_t i = 0; !code && i < in->n; i++) {
        code = digest_of_example(&d, in, i, e);
        if (!code) code = digests_put(&all, &copies, &d, e);
    }
    for (size_t i = 0; !code && i < x->n; i++) {
        code = digest_of_example(&d, x, i, e);
        if (!code) code = digests_put(&own, &copies, &d, e);
    }
    *shared = code ? 0 : digests_shared(&own, &all);
    digests_free(&all);
    digests_free(&own);
    return code;
}

/* The data of the run, as its own configuration names them; the error says why they are not
 * known. */
static int open_run_data(struct setup *s, const struct config *c, struct err *e)
{
    char path[PATH_BYTES];
    struct config run;
    int code = path_join(path, c->output.dir, "config.yaml", e);
    if (!code) code = config_load(&run, path, NULL, 0, e);
    if (code) return code;
    code = setup_open_headers(s, &run, e);
    config_free(&run);
    return code;
}

int run_note_trained(struct str *notes, const struct config *c, const struct examples *x,
                     const char *path, const struct adapter_notes *about, struct err *e)
{
    struct setup s;
    struct err unread;
    char hex[SHA256_HEX];
    size_t shared;
    if (open_run_data(&s, c, &unread)) {
        str_add_line(notes,
                     "%s: it is not known whether the run was trained on records of it: %s\n", path,
                     unread.msg);
        return str_error(notes, e);
    }
    int code = count_shared(&shared, x, &s.data.train, e);
    hex_of(hex, s.data.sha256);
    bool changed = about->data_sha256 && *about->data_sha256 &&
                   strcmp(about->data_sha256, hex) != 0;
    if (!code && shared) {
        str_add_line(notes,
                     "%s: the run was trained on %zu of its %s, so the loss looks better than it "
                     "is\n",
                     path, shared, str_count(x->n, "example"));
    } else if (!code && changed) {
        str_add_line(notes,
                     "%s: it is not known whether the run was trained on records of it: its data "
                     "files have changed since\n",
                     path);
    }
    setup_close(&s);
    return code ? code : str_error(notes, e);
}

int run_note_template(struct str *notes, const char *where, const char *trained,
                      const struct template *used, const struct tokenizer *tok, struct err *e)
{
    uint8_t x[SHA256_BYTES], y[SHA256_BYTES];
    const struct template *t;
    struct err unknown;
    if (!used || !trained || setup_template(&t, trained, tok, &unknown)) return 0;
    int code = template_digest(x, used, e);
    if (!code) code = template_digest(y, t, e);
    if (!code && memcmp(x, y, sizeof x) != 0) {
        str_addf(
            notes,
            "%s: was trained with the template %s, and is asked here with %s: prompts it has not "
            "seen\n",
            where, template_name(t), template_name(used));
    }
    template_free(t);
    return code ? code : str_error(notes, e);
}

int run_note_other(struct str *notes, const struct config *c, const struct setup *s,
                   const struct adapter_notes *about, const char *dir, struct err *e)
{
    bool fraction = c->data.validation.fraction > 0 && s->data.validation.n > 0;
    int code = fraction ? note_split(notes, c, s, about, e) : 0;
    if (code || !s->template) return code;
    return run_note_template(notes, dir, about->template, s->template, s->tok, e);
}
