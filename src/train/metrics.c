#include "src/train/metrics.h"

#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/mem.h"

/* The step of a line, or -1 when it is not one of ours (the torn last line of a killed run). */
static long long line_step(const char *line, size_t n)
{
    static const char key[] = "{\"step\": ";
    size_t k = sizeof key - 1;
    if (n < k + 2 || memcmp(line, key, k) != 0 || line[n - 1] != '\n' || line[n - 2] != '}') {
        return -1;
    }
    long long step = 0;
    for (const char *p = line + k; *p >= '0' && *p <= '9'; p++) step = step * 10 + (*p - '0');
    return step;
}

/* Whether a line of ours is about an evaluation. */
static bool is_eval(const char *line, size_t n)
{
    static const char key[] = ", \"eval_loss\": ";
    return memmem(line, n, key, sizeof key - 1) != NULL;
}

static int cut_back(const char *path, const struct metrics_place *from, mode_t mode, struct err *e)
{
    struct str old = { 0 }, kept = { 0 };
    int code = from->goes_on && file_exists(path) ? file_read(&old, path, METRICS_BYTES, e) : 0;
    for (size_t at = 0; !code && at < old.n;) {
        const char *end = memchr(old.p + at, '\n', old.n - at);
        size_t n = end ? (size_t)(end - (old.p + at)) + 1 : old.n - at;
        long long of = line_step(old.p + at, n);
        if (of < 0 || (uint64_t)of > from->step) break;
        if (from->eval_pending && (uint64_t)of == from->step && is_eval(old.p + at, n)) break;
        str_add(&kept, old.p + at, n);
        at += n;
    }
    if (!code) code = str_error(&kept, e);
    if (!code) code = file_replace(path, kept.n ? kept.p : "", kept.n, mode, e);
    str_free(&old);
    str_free(&kept);
    return code;
}

int metrics_open(struct metrics *m, const char *path, const struct metrics_place *at,
                 bool is_private, struct err *e)
{
    *m = (struct metrics){ 0 };
    int code = cut_back(path, at, is_private ? 0600 : 0666, e);
    if (code) return code;
    m->path = mem_strdup(path, e);
    if (!m->path) return e->code;
    m->f = fopen(path, "ae");
    if (!m->f) {
        code = err_errno(e, "%s", path);
        metrics_close(m);
    }
    return code;
}

/* Begin a line, of that step. */
static struct json_writer begin_line(struct str *line, uint64_t step)
{
    struct json_writer w = { .out = line };
    json_write_object(&w, NULL, JSON_ONE_LINE);
    json_write_count(&w, "step", step);
    return w;
}

/* Frees the line. */
static int end_line(struct metrics *m, struct json_writer *w, struct err *e)
{
    struct str *line = w->out;
    json_write_end(w);
    str_addc(line, '\n');
    int code = str_error(line, e);
    if (!code && (fwrite(line->p, 1, line->n, m->f) != line->n || fflush(m->f) != 0)) {
        code = err_errno(e, "%s: cannot write", m->path);
    }
    str_free(line);
    return code;
}

int metrics_step(struct metrics *m, const struct step_metrics *s, struct err *e)
{
    struct str line = { 0 };
    struct json_writer w = begin_line(&line, s->step);
    json_write_real(&w, "epoch", s->epoch);
    json_write_real(&w, "loss", s->loss);
    json_write_real(&w, "learning_rate", s->learning_rate);
    json_write_real(&w, "grad_norm", s->grad_norm);
    json_write_count(&w, "tokens", s->tokens);
    json_write_count(&w, "tokens_computed", s->tokens_computed);
    json_write_count(&w, "targets", s->targets);
    json_write_decimals(&w, "tokens_per_s", s->tokens_per_s, 1);
    json_write_count(&w, "memory_bytes", s->memory_bytes);
    return end_line(m, &w, e);
}

int metrics_eval(struct metrics *m, uint64_t step, const struct evaluation *v, struct err *e)
{
    struct str line = { 0 };
    struct json_writer w = begin_line(&line, step);
    json_write_real(&w, "eval_loss", v->loss);
    json_write_real(&w, "eval_token_accuracy", v->token_accuracy);
    json_write_real(&w, "eval_exact_match", v->exact_match);
    return end_line(m, &w, e);
}

int metrics_sync(struct metrics *m, struct err *e)
{
    return fsync(fileno(m->f)) == 0 ? 0 : err_errno(e, "%s: cannot make it durable", m->path);
}

void metrics_close(struct metrics *m)
{
    if (m->f) fclose(m->f);
    mem_free(m->path);
    *m = (struct metrics){ 0 };
}
