#include "src/data/formats.h"

#include <string.h>

#include "src/data/hint.h"
#include "src/data/reading.h"

static const struct format {
    const char *keys; /* for messages: the keys that the value must have */
    bool (*is)(const json_t *v);
    int (*read)(const struct reading *r, const json_t *v);
} formats[FORMATS] = {
#define ROW(id, name, number, keys) [FORMAT_##id] = { keys, is_##name, read_##name },
    DATA_FORMATS(ROW)
};

/* The order in which the formats are tried. */
static const enum data_format tried[] = {
#define TRIED(id, name, number, keys) FORMAT_##id,
    DATA_FORMATS(TRIED)
};
enum { FORMATS_TRIED = sizeof tried / sizeof *tried };

enum data_format format_detect(const json_t *v)
{
    for (size_t i = 0; i < FORMATS_TRIED; i++)
        if (formats[tried[i]].is(v)) return tried[i];
    return FORMAT_AUTO;
}

int format_unknown(const json_t *v, const char *where, struct err *e)
{
    if (!json_is_object(v)) {
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(v));
    }
    enum { SHOWN = 6 };
    struct str s = { 0 };
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        if (n++ < SHOWN) str_addf(&s, "%s%s", n > 1 ? ", " : "", err_quotez(key));
    }
    str_addz(&s, n == 0 ? "none" : n > SHOWN ? ", ..." : "");
    hint_columns(&s, v);
    str_addz(&s, "; wanted those of");
    for (size_t i = 0; i < FORMATS_TRIED; i++) {
        str_addf(&s, "%s %s (%s)", i ? "," : "", data_format_name(tried[i]),
                 formats[tried[i]].keys);
    }
    int code = str_error(&s, e);
    if (!code) {
        code = err_set(e,
                       "%s: keys: found %s; or name the columns with data.columns: {prompt: ..., "
                       "completion: ...}",
                       where, s.p);
    }
    str_free(&s);
    return code;
}

static bool has_text(const struct conversation *c, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        if (memmem(t->text, t->n, text, n)) return true;
        if (t->input && memmem(t->input, t->input_n, text, n)) return true;
    }
    return false;
}

/* Records for models that see images: the column is not used, and the user would not notice the
 * mark in the text. */
static void remark_media(struct conversation *c, const json_t *v)
{
    static const struct {
        const char *column, *mark;
    } media[] = {
        { "image", "<image" },  { "images", "<image" }, { "video", "<video" },
        { "videos", "<video" }, { "audio", "<audio" },  { "audios", "<audio" },
    };
    for (size_t i = 0; i < sizeof media / sizeof *media; i++) {
        if (!json_has(v, media[i].column) || !has_text(c, media[i].mark)) continue;
        conversation_remark(c, REMARK_MEDIA, media[i].column);
    }
}

/* Exports of tables write lists as texts, and a prompt or an answer may be such a list. */
static void remark_encoded(struct conversation *c, enum data_format f, const json_t *v,
                           const struct used *used)
{
    static const char *const begins[] = { "[{\"role\"",  "[{\"content\"", "[{\"from\"", "[{'role'",
                                          "[{'content'", "[{'from'",      "[ {\"role\"" };
    bool reads_lists = f == FORMAT_MESSAGES || f == FORMAT_SHAREGPT;
    if (c->kind != RECORD_CHAT && c->kind != RECORD_ALPACA && c->kind != RECORD_TEXT) return;
    for (size_t i = 0; i < used->n; i++) {
        const char *key = used->key[i], *text = json_string_value(json_object_get(v, key));
        bool is_list = reads_lists && strcmp(key, "prompt") != 0 && strcmp(key, "chosen") != 0;
        if (!text || is_list) continue;
        text += strspn(text, " \n");
        for (size_t k = 0; *text == '[' && k < sizeof begins / sizeof *begins; k++)
            if (strncmp(text, begins[k], strlen(begins[k])) == 0)
                conversation_remark(c, REMARK_ENCODED, key);
    }
}

/* Formats that have the same readers. */
static enum data_format family(enum data_format f)
{
    if (f == FORMAT_ALPACA) return FORMAT_PROMPT_COMPLETION;
    return f == FORMAT_OASST_THREADS ? FORMAT_OASST : f;
}

static bool usual_names(const struct record_columns *c)
{
#define RECORD_COLUMN(name) &&!c->name
    return true RECORD_COLUMNS(RECORD_COLUMN);
#undef RECORD_COLUMN
}

/* The error for a record of another format, which keys that are missing would not explain. */
static int refuse_other(const struct reading *r, enum data_format f, enum data_format found)
{
    return err_set(
        r->e,
        "%s: keys: found a record of the format %s, wanted %s, that of data.format or of "
        "the first record; each format needs a file of its own",
        r->where, data_format_name(found), data_format_name(f));
}

int format_read(struct conversation *c, enum data_format f, const json_t *v,
                const struct format_options *o, const char *where, struct err *e)
{
    CHECK(f != FORMAT_AUTO && f < FORMATS);
    static const struct record_columns none = { 0 };
    struct used used = { .n = 0 };
    struct reading r = { where, o && o->columns ? o->columns : &none, c, e, v, o, &used };
    bool is_tree = json_is_array(v) && (f == FORMAT_OASST || f == FORMAT_OASST_THREADS);
    if (!json_is_object(v) && !is_tree) {
        c->fault = FAULT_TYPE;
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(v));
    }
    int code = formats[f].read(&r, v);
    if (code && c->fault == FAULT_KEY && usual_names(r.columns)) {
        enum data_format found = format_detect(v);
        if (found != FORMAT_AUTO && family(found) != family(f)) code = refuse_other(&r, f, found);
    }
    if (!code && !is_tree) code = reading_excluded(&r, v);
    if (!code && !is_tree) reading_leftover(&r, "", v, &used);
    if (!code && !is_tree) remark_media(c, v);
    if (!code && !is_tree) remark_encoded(c, f, v, &used);
    return code ? code : str_error(&c->remarks, e);
}
