#include "src/data/remarks.h"

#include <string.h>

#include "src/data/fields.h"
#include "src/data/hint.h"

static void count(struct remarks *r, enum remark kind, const char *name)
{
    char cut[REMARK_NAME_BYTES] = "";
    memccpy(cut, name, 0, sizeof cut - 1);
    for (size_t i = 0; i < r->n; i++) {
        if (r->row[i].kind != kind || strcmp(r->row[i].name, cut) != 0) continue;
        r->row[i].records++;
        return;
    }
    if (r->n == REMARKS_MOST) {
        r->others++;
        return;
    }
    struct remark_row *row = &r->row[r->n++];
    *row = (struct remark_row){ .kind = kind, .records = 1 };
    memcpy(row->name, cut, sizeof cut);
}

void remarks_take(struct remarks *r, const struct str *of_record)
{
    r->records++;
    for (size_t at = 0; at < of_record->n;) {
        const char *p = of_record->p + at;
        count(r, (enum remark)(*p - 'a'), p + 1);
        at += strlen(p) + 1;
    }
}

/* "in 100 % of the records", without the last words where `brief`. */
static void add_share(struct str *out, const struct remarks *r, const struct remark_row *row,
                      bool brief)
{
    double percent = 100.0 * (double)row->records / (double)r->records;
    if (row->records == r->records) {
        str_addz(out, "in 100 %");
    } else if (percent < 1) {
        str_addz(out, "in less than 1 %");
    } else {
        str_addf(out, "in %d %%", (int)percent);
    }
    if (!brief) str_addz(out, " of the records");
}

static size_t count_kind(const struct remarks *r, enum remark kind)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) n += r->row[i].kind == kind;
    return n;
}

/* A column of the record, not a member of its messages. */
static bool is_column(const struct remark_row *row)
{
    return !strstr(row->name, "[].");
}

static void say_unused(struct str *notes, const struct remarks *r, const char *file)
{
    enum { OWN_LINE = 4 }; /* more names than these share a line */
    size_t n = count_kind(r, REMARK_UNUSED), said = 0;
    bool together = n > OWN_LINE, columns = false;
    for (size_t i = 0; i < r->n; i++) {
        const struct remark_row *row = &r->row[i];
        enum field field;
        if (row->kind != REMARK_UNUSED) continue;
        columns = columns || is_column(row);
        if (!together || said == 0) str_addf(notes, "%s: ", file);
        str_addz(notes, together ? said ? ", " : "not used: " : "");
        hint_name(notes, row->name);
        str_addz(notes, together ? " " : ": ");
        add_share(notes, r, row, together);
        said++;
        if (together) continue;
        const char *near = is_column(row) ? field_nearest(&field, row->name) : NULL;
        if (near) str_addf(notes, " (similar to %s)", near);
        str_addf(notes, ", not used%s\n", is_column(row) ? "; data.columns" : "");
    }
    if (!together) return;
    if (r->others) str_addz(notes, " and more");
    str_addf(notes, " of the records%s\n", columns ? "; data.columns" : "");
}

void remarks_say(struct str *notes, const struct remarks *r, const char *file)
{
    static const char *const texts[REMARK_KINDS] = {
        [REMARK_SCALAR] = "found a number, true or false %s, read as text",
        [REMARK_JOINED] = "%s, joined in this order by a blank line; data.columns chooses",
        [REMARK_REASONING] = "%s, read as <think>...</think> in front of the answer",
        [REMARK_INDEX] =
            "found a number %s, read as the index of a choice, counted from 0 (0 is the "
            "first); if yours count from 1, write letters",
        [REMARK_EMPTY] =
            "empty %s: they teach the model to answer nothing; leave them out, or give "
            "them \"train\": false",
        [REMARK_ENCODED] = "found a list of messages written as JSON in a text %s: it is learnt "
                           "as plain text; write the list itself",
        [REMARK_MEDIA] = "%s, with a mark such as <image> in the texts: lorac reads only text, so "
                         "the model does not see it, and the mark is learnt as letters",
    };
    say_unused(notes, r, file);
    for (size_t i = 0; i < r->n; i++) {
        const struct remark_row *row = &r->row[i];
        const char *text = texts[row->kind];
        if (!text) continue;
        const char *share = strstr(text, "%s");
        str_addf(notes, "%s: ", file);
        if (row->kind == REMARK_JOINED) {
            str_addz(notes, row->name);
        } else {
            hint_name(notes, row->name);
        }
        str_addz(notes, ": ");
        str_add(notes, text, (size_t)(share - text));
        add_share(notes, r, row, false);
        str_addf(notes, "%s\n", share + 2);
    }
}

void remarks_write_unused(struct json_writer *w, const char *key, const struct remarks *r)
{
    json_write_object(w, key, JSON_ONE_LINE);
    for (size_t i = 0; i < r->n; i++) {
        const struct remark_row *row = &r->row[i];
        if (row->kind != REMARK_UNUSED) continue;
        struct str name = { 0 };
        hint_name(&name, row->name); /* a cut name may end inside a letter */
        json_write_count(w, name.p ? name.p : "", row->records);
        str_free(&name);
    }
    json_write_end(w);
}
