#include "src/train/start.h"

#include <math.h>

#include "src/convert/adapter_files.h"
#include "src/train/base_match.h"

static int note_base(struct setup *s, const struct adapter *a, const struct config *c,
                     struct err *e)
{
    char hex[SHA256_HEX];
    const char *from = c->adapter.init_from;
    struct digest_list merged = { 0 };
    struct adapter_notes about;
    int code = base_read_merged(&merged, &s->model, c->model.path, e);
    if (!code && merged.n) code = adapter_digest(hex, a, e);
    bool holds = !code && merged.n && digest_list_has(&merged, hex);
    digest_list_free(&merged);
    if (code) return code;
    if (holds) {
        str_addf(&s->notes,
                 "adapter.init_from: %s is already merged into %s, and now counts twice; leave "
                 "init_from out, or name the base that it was merged into\n",
                 err_quotez(from), err_quotez(c->model.path));
        return str_error(&s->notes, e);
    }
    code = adapter_notes_of(&about, NULL, from, e);
    if (code) return code;
    code = base_note_other(&s->notes, &s->model, from, &about, BASE_GLANCE, NULL, e);
    adapter_notes_free(&about);
    return code;
}

static bool all_zero(const real *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0) return false;
    return true;
}

/* Where A and B are zero, so is the gradient of both. */
static int note_dead(struct setup *s, const struct adapter *a, const struct config *c,
                     struct err *e)
{
    size_t dead = 0, all = 0;
    for (size_t l = 0; l < s->model.dims.layers; l++)
        for (enum module m = 0; m < MODULES; m++) {
            if (!adapter_has(a, m)) continue;
            size_t rows = module_rows(&s->model.dims, m), cols = module_cols(&s->model.dims, m);
            all++;
            dead += all_zero(adapter_a(a, a->params, l, m), a->r * cols) &&
                    all_zero(adapter_b(a, a->params, l, m), a->r * rows);
        }
    if (!dead) return 0;
    str_addf(&s->notes,
             "adapter.init_from: %s has nothing for %zu of %s that "
             "adapter.target_modules names; they stay as they are in the base, and are not "
             "trained\n",
             err_quotez(c->adapter.init_from), dead, str_count(all, "matrix"));
    return str_error(&s->notes, e);
}

/* An adapter keeps the scale that it was trained with: another scale makes another adapter. */
static int note_alpha(struct setup *s, const struct adapter *a, const struct config *c,
                      struct err *e)
{
    double given = (double)c->adapter.lora_alpha, own = a->scale * (double)a->r;
    if (!c->line[CONFIG_KEY_adapter_lora_alpha] || fabs(given - own) <= 1e-6 * own) return 0;
    str_addf(&s->notes,
             "adapter.lora_alpha: %g is not used: %s, which adapter.init_from names, has %g and "
             "keeps it; leave lora_alpha out\n",
             given, err_quotez(c->adapter.init_from), own);
    return str_error(&s->notes, e);
}

int start_adapter(struct adapter *a, const struct config *c, struct setup *s, struct err *e)
{
    struct adapter_base base = { &s->model.dims, &s->model, &s->notes };
    int code = adapter_open(a, &base, c->adapter.init_from, e);
    if (!code) code = note_base(s, a, c, e);
    if (code) return config_prefix(e, c, "adapter.init_from", 0);
    if (a->r != (size_t)c->adapter.r || a->modules != c->adapter.target_modules) {
        return config_error(e, c, "adapter.init_from",
                            "%s has rank %zu and modules of its own; adapter.r and "
                            "adapter.target_modules must agree with it",
                            c->adapter.init_from, a->r);
    }
    code = note_alpha(s, a, c, e);
    return code ? code : note_dead(s, a, c, e);
}
