#include "src/data/dataset_open.h"

#include <stdio.h>
#include <string.h>

#include "src/base/hashcache.h"
#include "src/base/mem.h"
#include "src/data/prepared.h"

/* ---- what is left, and what to say about it -------------------------------------------------- */

/* What happened to a side's records that are not used, and which setting to change. */
static void add_losses(struct str *s, const struct build *b, const struct build_side *side,
                       const struct data_counts *c)
{
    if (c->overlong) {
        str_addf(s,
                 "; %zu longer than data.max_length = %zu (the longest has %s: raise it, or set "
                 "data.overlong to truncate or split)",
                 c->overlong, b->o->max_length, str_count(c->longest, "token"));
    }
    if (c->without_targets) {
        str_addf(s,
                 "; %zu without a target within data.max_length = %zu (data.train_on is %s, the "
                 "longest has %s; a record's own train or weight may also rule its answers out)",
                 c->without_targets, b->o->max_length, train_on_name(b->o->render.train_on),
                 str_count(c->longest, "token"));
    }
    if (c->bad) str_addf(s, "; %zu malformed, the first: %s", c->bad, side->first_bad.msg);
}

/* Three of four are no accident any more: most of what was collected is not learnt. Copies that
 * data.deduplicate leaves out were meant to be. */
static void warn_losses(struct str *notes, const struct build *b, const struct build_side *side)
{
    const struct data_counts *c = &side->counts;
    size_t lost = c->overlong + c->without_targets + c->bad, all = lost + build_examples(side);
    if (lost == 0 || lost < all - all / 4) return;
    str_addf(notes, "warning: %s: %zu of %s (%d %%) are dropped, and only the rest is used",
             side->name, lost, str_count(all, "record"), (int)(100.0 * (double)lost / (double)all));
    add_losses(notes, b, side, c);
    str_addc(notes, '\n');
}

/* No example of a side is left: say what happened to its records. */
static int nothing_left(const struct build *b, const struct build_side *side,
                        const struct data_counts *c)
{
    struct str s = { 0 };
    add_losses(&s, b, side, c);
    int code = str_error(&s, b->e);
    if (!code) {
        code = err_set(b->e, "data.%s: none of %s is left%s", side->name,
                       str_count(c->records, "record"), s.n ? s.p : "");
    }
    str_free(&s);
    return code;
}

/* The file and line where the largest group begins: "data.jsonl:17". */
static void add_largest(struct str *out, const struct build *b)
{
    str_addf(out, "%s:%u", b->o->train[b->largest_source].path,
             b->sound.at[b->choice.largest_first].line);
}

/* A side is empty because groups cannot be divided, or because the fraction is none or all of the
 * examples. */
static int fraction_leaves_none(const struct build *b)
{
    const struct split_choice *c = &b->choice;
    bool none = c->wanted == 0, all = c->wanted == c->items;
    const char *left = c->validation ? "none to train on" : "none for validation";
    if (c->groups > 1 && (none || all)) {
        return err_set(b->e, "data.validation: a fraction of %g of %s leaves %s; %s",
                       b->o->validation_frac, str_count(c->items, "example"), left,
                       none ? "raise it, or name a validation file" : "lower it");
    }
    struct str where = { 0 };
    add_largest(&where, b);
    int code = str_error(&where, b->e);
    if (!code) {
        code = err_set(b->e,
                       "data.validation: a fraction of %g of %s leaves %s: examples with "
                       "the same first user text (or the same text) stay together, and the largest "
                       "group of them, from %s on, is %zu of %zu (%.0f %%); use a separate file "
                       "for validation (data.validation: FILE)",
                       b->o->validation_frac, str_count(c->items, "example"), left, where.p,
                       c->largest, c->items, 100.0 * (double)c->largest / (double)c->items);
    }
    str_free(&where);
    return code;
}

/* Note what the user should know about the examples that a fraction keeps aside. */
static void note_split(struct str *notes, const struct build *b)
{
    enum { FEW = 10 };
    const struct split_choice *c = &b->choice;
    if (c->items == 0) return;
    if (c->validation != c->wanted) {
        str_addf(notes,
                 "validation: %s instead of %zu (%g of %zu), because examples with the same first "
                 "user text stay together; the largest group, from ",
                 str_count(c->validation, "example"), c->wanted, b->o->validation_frac, c->items);
        add_largest(notes, b);
        str_addf(notes, " on, has %zu\n", c->largest);
    }
    if (c->validation < FEW) {
        str_addf(notes,
                 "validation: only %s: too few to tell a better adapter from a lucky one; keep "
                 "aside %d or more (data.validation)\n",
                 str_count(c->validation, "example"), FEW);
    }
}

/* "2 not valid JSON, 1 lacking a key" */
static void add_faults(struct str *out, const struct data_counts *c)
{
    const char *before = "";
    for (int f = 0; f < FAULTS; f++) {
        if (!c->faults[f]) continue;
        str_addf(out, "%s%zu %s", before, c->faults[f], fault_name((enum fault)f));
        before = ", ";
    }
}

/* More than a few bad records are not an accident. */
static int check_skipped(const struct build *b, const struct build_side *side)
{
    const struct data_counts *c = &side->counts;
    double frac = b->o->max_skipped_frac;
    if ((double)c->bad <= frac * (double)c->records) return 0;
    struct str s = { 0 };
    add_faults(&s, c);
    int code = str_error(&s, b->e);
    if (!code) {
        code = err_set(b->e,
                       "data.%s: %zu of %s %s malformed (%s), more than the %g %% that "
                       "data.max_skipped_frac allows; the first: %s",
                       side->name, c->bad, str_count(c->records, "record"),
                       c->bad == 1 ? "is" : "are", s.p, 100 * frac, side->first_bad.msg);
    }
    str_free(&s);
    return code;
}

static int check_sides(const struct build *b)
{
    const struct data_options *o = b->o;
    const struct build_side *t = &b->side[SIDE_TRAIN], *v = &b->side[SIDE_VALIDATION];
    size_t train = build_examples(t), validation = build_examples(v);
    bool by_fraction = o->n_validation == 0 && o->validation_frac > 0;
    int code = check_skipped(b, t);
    if (!code) code = check_skipped(b, v);
    if (code) return code;
    if (by_fraction && train + validation == 0) {
        struct data_counts sum = t->counts;
        counts_add(&sum, &v->counts);
        return nothing_left(b, t, &sum);
    }
    if (by_fraction && (train == 0 || validation == 0)) return fraction_leaves_none(b);
    if (train == 0) return nothing_left(b, t, &t->counts);
    if (o->n_validation && validation == 0) return nothing_left(b, v, &v->counts);
    return 0;
}

static void note_malformed(struct str *notes, const struct build_side *side)
{
    const struct data_counts *c = &side->counts;
    if (!c->bad) return;
    str_addf(notes, "%s: %zu of %s malformed and skipped (", side->name, c->bad,
             str_count(c->records, "record"));
    add_faults(notes, c);
    str_addf(notes, "), the first: %s\n", side->first_bad.msg);
}

static void note_counts(struct str *notes, const struct build *b, const struct build_side *side)
{
    const struct data_counts *c = &side->counts;
    const char *train_on = train_on_name(b->o->render.train_on);
    size_t max = b->o->max_length;
#define NOTHING
#define SAY(format, ...) str_addf(notes, "%s: " format "\n", side->name, __VA_ARGS__);
#define COUNT(field, number, total, of_record, run, shown, label, note)                            \
    if (c->field) {                                                                                \
        note                                                                                       \
    }
#include "src/data/counts.def"
#undef NOTHING
#undef SAY
}

/* A source of a mixture may give no examples as long as the others do; it is noted. */
static void note_empty_sources(struct str *notes, const struct build *b)
{
    const size_t *ends = b->side[SIDE_TRAIN].origins.ends;
    for (size_t i = 0; b->o->n_train > 1 && i < b->o->n_train; i++) {
        if (ends[i] == (i ? ends[i - 1] : 0))
            str_addf(notes, "train: file %zu of data.train gives no examples\n", i + 1);
    }
}

/* The readers' remarks, file by file; several files are told apart by their number. */
static void note_remarks(struct str *notes, const struct build *b)
{
    const struct data_options *o = b->o;
    for (size_t i = 0; i < o->n_train + o->n_validation; i++) {
        char file[64];
        size_t number = i < o->n_train ? i : i - o->n_train;
        const char *side = b->side[i < o->n_train ? SIDE_TRAIN : SIDE_VALIDATION].name;
        bool alone = (i < o->n_train ? o->n_train : o->n_validation) == 1;
        snprintf(file, sizeof file, alone ? "%s" : "%s, file %zu", side, number + 1);
        remarks_say(notes, &b->remarks[i], file);
    }
}

static void note_spellings(struct str *notes, const struct build *b)
{
    static const char *const what[SPELLINGS] = {
        [SPELT_IN_TEXT] = "spell special tokens in their texts, which are learnt as letters; "
                          "data.parse_special: true makes them tokens, as transformers does",
        [SPELT_IN_CHAT] =
            "spell special tokens in their texts, which are learnt as letters; take them "
            "out, since the template places its own, or write segments",
        [SPELT_MARK] =
            "spell marks of another prompt template ([INST], <|im_end|>, </s>), which are "
            "learnt as letters; take them out, or choose the model that has them as tokens",
        [SPELT_PROMPT] =
            "hold a whole prompt of a template (### Instruction: ... ### Response:), around which "
            "data.template writes a second one; take it out, or write template: plain",
    };
    for (int k = 0; k < SPELLINGS; k++) {
        const struct spelling *s = &b->spelt[k];
        if (s->n == 0) continue;
        str_addf(notes, "data: %s, the first in %s:%zu, %s\n", str_count(s->n, "record"), s->path,
                 s->line, what[k]);
    }
    if (b->unparsed) {
        str_addz(notes, "data: data.parse_special is for text records; special tokens that "
                        "conversations spell stay text\n");
    }
}

static int finish(struct str *notes, struct build *b)
{
    int code = check_sides(b);
    if (code) return code;
    for (int s = SIDE_TRAIN; s < SIDES; s++) {
        warn_losses(notes, b, &b->side[s]);
        note_malformed(notes, &b->side[s]);
        note_counts(notes, b, &b->side[s]);
    }
    note_remarks(notes, b);
    note_empty_sources(notes, b);
    note_split(notes, b);
    note_spellings(notes, b);
    if (b->untemplated) {
        str_addz(notes, "data: no template is given: prompts and answers are joined as they are "
                        "(data.template names one; plain means this)\n");
    }
    size_t shared = digests_shared(&b->side[SIDE_VALIDATION].seen, &b->side[SIDE_TRAIN].seen);
    if (shared) {
        str_addf(notes, "validation: %s %s also trained on\n", str_count(shared, "example"),
                 shared == 1 ? "is" : "are");
    }
    return str_error(notes, b->e);
}

/* ---- the files ------------------------------------------------------------------------------- */

/* What is known about the sources before they are read. */
struct files {
    char **paths; /* the training files, then the validation files */
    uint8_t (*digests)[SHA256_BYTES];
    struct stat *stats;
    size_t n;
    uint64_t bytes;
};

static void files_free(struct files *f)
{
    mem_free(f->paths);
    mem_free(f->digests);
    mem_free(f->stats);
}

static int files_stat(struct files *f, const struct data_options *o, struct err *e)
{
    f->n = o->n_train + o->n_validation;
    f->paths = mem_alloc(f->n, sizeof *f->paths, e);
    f->stats = mem_alloc(f->n, sizeof *f->stats, e);
    f->digests = mem_alloc(f->n, sizeof *f->digests, e);
    if (!f->paths || !f->stats || !f->digests) return e->code;
    for (size_t i = 0; i < f->n; i++) {
        const struct data_source *s = i < o->n_train ? &o->train[i]
                                                     : &o->validation[i - o->n_train];
        f->paths[i] = (char *)(uintptr_t)s->path;
        struct map m; /* map_open() says what is wrong with a path that is not a file */
        int code = map_open(&m, s->path, e);
        if (code) return code;
        f->stats[i] = m.st;
        f->bytes += m.size;
        map_close(&m);
    }
    return 0;
}

static int digest_of_hex(uint8_t digest[SHA256_BYTES], const char hex[SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        const char *high = strchr(digits, hex[2 * i]), *low = strchr(digits, hex[2 * i + 1]);
        digest[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return 0;
}

/* Large files use the cache of digests, because reading them takes time. */
static int files_hash(struct files *f, struct err *e)
{
    if (f->bytes <= PREPARE_ABOVE_BYTES) {
        int code = 0;
        for (size_t i = 0; !code && i < f->n; i++)
            code = sha256_file(f->digests[i], f->paths[i], NULL, e);
        return code;
    }
    struct hash_job *job;
    char(*hex)[SHA256_HEX] = mem_alloc(f->n, sizeof *hex, e);
    int code = hex ? hash_start(&job, f->paths, f->n, e) : e->code;
    if (!code) code = hash_wait(job, hex, e);
    for (size_t i = 0; !code && i < f->n; i++) digest_of_hex(f->digests[i], hex[i]);
    mem_free(hex);
    return code;
}

/* Check that the files that were read are the files that were hashed. */
static int files_same(const struct files *f, struct err *e)
{
    for (size_t i = 0; i < f->n; i++) {
        struct stat now;
        const struct stat *was = &f->stats[i];
        if (stat(f->paths[i], &now) != 0) return err_errno(e, "%s", f->paths[i]);
        if (now.st_ino != was->st_ino || now.st_size != was->st_size ||
            now.st_mtim.tv_sec != was->st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != was->st_mtim.tv_nsec) {
            return err_set(e, "%s: changed while it was read; try again", f->paths[i]);
        }
    }
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int check_options(const struct data_options *o, struct err *e)
{
    CHECK(o->n_train > 0 && o->max_length > 0);
    if (!(o->validation_frac >= 0 && o->validation_frac < 1)) {
        return err_usage(e,
                         "data.validation: found %g, wanted a fraction from 0 to below 1, or files",
                         o->validation_frac);
    }
    for (size_t i = 0; i < o->n_train; i++) {
        if (!(o->train[i].weight > 0)) {
            return err_usage(e, "data.train: %s: found a weight of %g, wanted more than 0",
                             o->train[i].path, o->train[i].weight);
        }
    }
    return 0;
}

/* Take over the memory of a build. */
static void take(struct dataset *d, struct build *b)
{
    struct build_side *t = &b->side[SIDE_TRAIN], *v = &b->side[SIDE_VALIDATION];
    d->train = t->examples;
    d->validation = v->examples;
    d->train_origins = t->origins;
    d->validation_origins = v->origins;
    d->train_counts = t->counts;
    d->validation_counts = v->counts;
    t->examples = v->examples = (struct examples){ 0 };
    t->origins = v->origins = (struct origins){ 0 };
}

static int build_in_memory(struct dataset *d, struct str *notes, const struct data_options *o,
                           const struct tokenizer *tok, struct err *e)
{
    struct build b;
    int code = build_begin(&b, o, tok, NULL, e);
    if (code) return code;
    code = build_read(&b);
    if (!code) code = finish(notes, &b);
    if (!code) take(d, &b);
    build_end(&b);
    return code;
}

static int build_file(const char *path, const char *dir, const char *key, const struct dataset *d,
                      const struct files *f, const struct data_options *o,
                      const struct tokenizer *tok, struct err *e)
{
    struct build b;
    struct str notes = { 0 };
    int code = dir_make(dir, 0700, e);
    if (!code) code = build_begin(&b, o, tok, dir, e);
    if (code) return code;
    code = build_read(&b);
    if (!code) code = finish(&notes, &b);
    if (!code) code = files_same(f, e);
    if (!code) code = prepared_write(path, &b, key, d->sha256, notes.p ? notes.p : "", e);
    build_end(&b);
    str_free(&notes);
    return code;
}

static void drop(struct dataset *d)
{
    struct share *shares = d->shares;
    size_t n = d->n_shares;
    uint8_t digest[SHA256_BYTES];
    memcpy(digest, d->sha256, sizeof digest);
    d->shares = NULL;
    dataset_close(d);
    d->shares = shares;
    d->n_shares = n;
    memcpy(d->sha256, digest, sizeof digest);
}

/* A prepared file that cannot be read is made again, because it is only a copy of the sources. */
static int open_or_build(struct dataset *d, struct str *notes, const char *dir, const char *key,
                         const struct files *f, const struct data_options *o,
                         const struct tokenizer *tok, struct err *e)
{
    char path[PATH_BYTES], name[SHA256_HEX + 8];
    snprintf(name, sizeof name, "%s.h5", key);
    int code = path_join(path, dir, name, e);
    if (code) return code;
    if (file_exists(path)) {
        size_t said = notes->n;
        d->reused = prepared_open(d, notes, path, key, build_vocabulary(o, tok), e) == 0;
        if (d->reused) return 0;
        drop(d);
        if (notes->p) notes->p[notes->n = said] = 0;
        str_addf(notes, "data: %s; it is made again\n", e->msg);
    }
    bool wanted = o->prepare == PREPARE_ALWAYS ||
                  (o->prepare == PREPARE_AUTO && f->bytes > PREPARE_ABOVE_BYTES);
    if (!wanted) return build_in_memory(d, notes, o, tok, e);
    code = build_file(path, dir, key, d, f, o, tok, e);
    return code ? code : prepared_open(d, notes, path, key, build_vocabulary(o, tok), e);
}

static int open_sources(struct dataset *d, struct str *notes, const struct files *f,
                        const struct data_options *o, const struct tokenizer *tok, struct err *e)
{
    char dir[PATH_BYTES], key[SHA256_HEX];
    bool optional = o->prepare == PREPARE_AUTO && f->bytes <= PREPARE_ABOVE_BYTES;
    if (o->prepare == PREPARE_NEVER) return build_in_memory(d, notes, o, tok, e);
    int code = prepared_dir(dir, o->cache_dir, e);
    if (code && optional) return build_in_memory(d, notes, o, tok, e);
    if (!code) {
        code = prepared_key(key, o, tok, (const uint8_t(*)[SHA256_BYTES])f->digests, e);
    }
    return code ? code : open_or_build(d, notes, dir, key, f, o, tok, e);
}

static int add_shares(struct dataset *d, const struct data_options *o, struct err *e)
{
    d->shares = mem_alloc(o->n_train, sizeof *d->shares, e);
    if (!d->shares) return e->code;
    d->n_shares = o->n_train;
    for (size_t i = 0; i < o->n_train; i++) d->shares[i].weight = o->train[i].weight;
    return 0;
}

/* Items of the examples up to `end`, where one ends. */
static size_t items_before(const struct examples *x, size_t end)
{
    return end < x->n ? examples_item_of(x, end) : examples_items(x);
}

int dataset_open(struct dataset *d, const struct data_options *o, const struct tokenizer *tok,
                 struct str *notes, struct err *e)
{
    struct files f = { 0 };
    *d = (struct dataset){ 0 };
    int code = check_options(o, e);
    if (!code) code = files_stat(&f, o, e);
    if (!code) code = files_hash(&f, e);
    if (!code && f.n == 1) memcpy(d->sha256, f.digests[0], SHA256_BYTES);
    if (!code && f.n > 1) code = sha256_of(d->sha256, f.digests, f.n * SHA256_BYTES, e);
    if (!code) code = add_shares(d, o, e);
    if (!code) code = open_sources(d, notes, &f, o, tok, e);
    for (size_t i = 0; !code && i < d->n_shares; i++) {
        const size_t *ends = d->train_origins.ends;
        d->shares[i].n = items_before(&d->train, ends[i]) -
                         (i ? items_before(&d->train, ends[i - 1]) : 0);
    }
    files_free(&f);
    if (code) dataset_close(d);
    return code;
}

void dataset_close(struct dataset *d)
{
    examples_free(&d->train);
    examples_free(&d->validation);
    origins_free(&d->train_origins);
    origins_free(&d->validation_origins);
    mem_free(d->shares);
    mem_free(d->prepared);
    map_close(&d->map);
    *d = (struct dataset){ 0 };
}
