#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/term.h"
#include "src/commands/eval.h"

/* ---- a table for people ---------------------------------------------------------------------- */

enum { ROWS = 5, COLUMNS = 3, CELL = 40 };

/* A text for each column: base, the model itself, their difference. */
struct row {
    const char *name;
    char cell[COLUMNS][CELL];
};

static size_t count_exact(const struct evaluation *v)
{
    return (size_t)llround(v->exact_match * (double)v->examples);
}

/* Four decimals, as long as that is short. */
static void put_number(char cell[CELL], double v, bool difference)
{
    const char *sign = difference && v >= 0 ? "+" : "";
    snprintf(cell, CELL, fabs(v) < 1000 ? "%s%.4f" : "%s%.6g", sign, v);
}

static struct row number_row(const char *name, double base, double own)
{
    struct row r = { .name = name };
    put_number(r.cell[0], base, false);
    put_number(r.cell[1], own, false);
    put_number(r.cell[2], own - base, true);
    return r;
}

static void put_exact(char cell[CELL], const struct evaluation *v, bool narrow)
{
    snprintf(cell, CELL, narrow ? "%zu/%zu" : "%zu of %zu", count_exact(v), v->examples);
}

static struct row exact_row(const struct evaluation *base, const struct evaluation *own,
                            bool narrow)
{
    struct row r = { .name = "exact match" };
    put_exact(r.cell[0], base, narrow);
    put_exact(r.cell[1], own, narrow);
    snprintf(r.cell[2], CELL, "%+lld", (long long)count_exact(own) - (long long)count_exact(base));
    return r;
}

static int longest(const struct row *r, size_t n, int column)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        if (strlen(r[i].cell[column]) > most) most = strlen(r[i].cell[column]);
    return (int)most;
}

/* Columns from .. to-1 of n rows. */
static void print_rows(const struct row *r, size_t n, int from, int to, int gap)
{
    int width[COLUMNS];
    for (int j = from; j < to; j++) width[j] = longest(r, n, j);
    for (size_t i = 0; i < n; i++) {
        printf("%-14s", r[i].name);
        for (int j = from; j < to; j++) printf("%*s%*s", gap, "", width[j], r[i].cell[j]);
        putchar('\n');
    }
}

void exam_print(const struct exam_result *r)
{
    enum { USUAL = 50 }; /* columns that the table takes when no number is unusually long */
    const struct evaluation *own = &r->own, *base = &r->base;
    bool narrow = term_is_live(stdout) && term_width(stdout) < USUAL;
    struct row rows[ROWS] = {
        { "", { "base", "adapter", "difference" } },
        number_row("loss", base->loss, own->loss),
        number_row("perplexity", exp(base->loss), exp(own->loss)),
        number_row("token accuracy", base->token_accuracy, own->token_accuracy),
        exact_row(base, own, narrow),
    };
    if (narrow) snprintf(rows[0].cell[2], CELL, "diff.");
    if (r->compared) {
        print_rows(rows, ROWS, 0, COLUMNS, narrow ? 1 : 2);
    } else {
        print_rows(rows + 1, ROWS - 1, 1, 2, 2);
    }
    printf("targets         %zu of %s\n", own->targets, str_count(own->tokens, "token"));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void write_numbers(struct json_writer *w, const struct evaluation *v)
{
    json_write_real(w, "loss", v->loss);
    json_write_real(w, "perplexity", exp(v->loss));
    json_write_count(w, "targets", v->targets);
    json_write_count(w, "tokens", v->tokens);
    json_write_count(w, "examples", v->examples);
    json_write_real(w, "token_accuracy", v->token_accuracy);
    json_write_real(w, "exact_match", v->exact_match);
}

void exam_write_json(struct json_writer *w, const struct exam_result *r)
{
    const struct evaluation *own = &r->own, *base = &r->base;
    write_numbers(w, own);
    if (!r->compared) return;
    json_write_object(w, "base", JSON_ONE_LINE);
    write_numbers(w, base);
    json_write_end(w);
    json_write_object(w, "difference", JSON_ONE_LINE);
    json_write_real(w, "loss", own->loss - base->loss);
    json_write_real(w, "perplexity", exp(own->loss) - exp(base->loss));
    json_write_real(w, "token_accuracy", own->token_accuracy - base->token_accuracy);
    json_write_real(w, "exact_match", own->exact_match - base->exact_match);
    json_write_end(w);
}
