/* adapter_model.safetensors: finds out what each tensor is; and writes both files. */
#include "src/formats/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/base/utf8.h"
#include "src/base/wordlists.h"
#include "src/formats/foreign.h"
#include "src/formats/peft_match.h"

enum {
    NAME_BYTES = 256, /* of a tensor's name */
    STEPS_MOST = 32,  /* dots in it */
};

static const char config_name[] = "adapter_config.json", model_name[] = "adapter_model.safetensors";
static const char prefix[] = "base_model.model."; /* of every tensor */

/* ---- what a tensor's name says --------------------------------------------------------------- */

/* A name cut at its dots. */
struct steps {
    char text[NAME_BYTES];
    const char *at[STEPS_MOST];
    size_t n;
};

static bool is_step(const struct steps *s, size_t i, const char *text)
{
    return i < s->n && strcmp(s->at[i], text) == 0;
}

/* Cut a name into its steps, without those that torch.compile, FSDP, checkpointing and DDP insert,
 * and without PEFT's prefix; false if a name has too many. */
static bool cut(struct steps *s, const char *name)
{
    static const char *const wrappers[] = { "_orig_mod", "_fsdp_wrapped_module",
                                            "_checkpoint_wrapped_module" };
    size_t n = strlen(name);
    s->n = 0;
    if (n >= sizeof s->text) return false;
    memcpy(s->text, name, n + 1);
    for (char *p = s->text; p;) {
        char *dot = strchr(p, '.');
        if (dot) *dot = 0;
        bool wrapper = s->n == 0 && strcmp(p, "module") == 0;
        for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
            wrapper |= strcmp(p, wrappers[i]) == 0;
        if (!wrapper && s->n == STEPS_MOST) return false;
        if (!wrapper) s->at[s->n++] = p;
        p = dot ? dot + 1 : NULL;
    }
    if (!is_step(s, 0, "base_model") || !is_step(s, 1, "model")) return true;
    s->n -= 2;
    memmove(s->at, s->at + 2, s->n * sizeof *s->at);
    return true;
}

/* The first `n` steps, joined again. */
static char *join(const struct steps *s, size_t n, struct err *e)
{
    char text[NAME_BYTES];
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, i ? ".%s" : "%s", s->at[i]);
    return mem_strndup(text, at, e);
}

static void part_name(char out[NAME_BYTES], const char *module, enum peft_part part)
{
    int n = snprintf(out, NAME_BYTES, "%s%s.lora_%c.weight", prefix, module,
                     part == PEFT_A ? 'A' : 'B');
    CHECK(n > 0 && n < NAME_BYTES);
}

/* The number of steps of MODULE in MODULE.lora_A.weight, or with the adapter's name in
 * MODULE.lora_A.default.weight; 0: the name is neither. */
static size_t pair_steps(enum peft_part *part, const struct steps *s)
{
    for (size_t back = 2; back <= 3 && back < s->n; back++) {
        size_t at = s->n - back;
        if (is_step(s, at, "lora_A") || is_step(s, at, "lora_B")) {
            *part = is_step(s, at, "lora_A") ? PEFT_A : PEFT_B;
            return at;
        }
    }
    return 0;
}

/* The same for a weight of the base: MODULE.weight, as it is or as PEFT wraps it. */
static size_t copy_steps(const struct steps *s)
{
    size_t n = s->n - 1;
    if (n > 1 && (is_step(s, n - 1, "base_layer") || is_step(s, n - 1, "original_module")))
        return n - 1;
    if (n > 2 && is_step(s, n - 2, "modules_to_save")) return n - 2;
    return n;
}

static int read_name(struct peft_entry *t, const char *name, struct err *e)
{
    struct steps s;
    size_t module = 0;
    t->kind = PEFT_OTHER;
    if (!cut(&s, name) || s.n < 2 || !is_step(&s, s.n - 1, "weight")) return 0;
    module = pair_steps(&t->part, &s);
    t->kind = module ? PEFT_PAIR : PEFT_COPY;
    if (!module) module = copy_steps(&s);
    t->module = join(&s, module, e);
    if (!t->module) return e->code;
    char usual[NAME_BYTES];
    if (t->kind == PEFT_COPY || strlen(t->module) + sizeof prefix + 20 > sizeof usual) return 0;
    part_name(usual, t->module, t->part);
    t->renamed = strcmp(usual, name) != 0;
    return 0;
}

static int by_module(const void *a, const void *b)
{
    const struct peft_entry *x = a, *y = b;
    if ((x->kind == PEFT_PAIR) != (y->kind == PEFT_PAIR)) return x->kind == PEFT_PAIR ? -1 : 1;
    int order = x->kind == PEFT_PAIR ? strcmp(x->module, y->module) : 0;
    if (!order && x->kind == PEFT_PAIR && x->part != y->part) return x->part < y->part ? -1 : 1;
    return order ? order : (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A file with two adapters in it, or with two spellings of one, is ambiguous. */
static int refuse_doubles(const struct peft *p, struct err *e)
{
    for (size_t i = 0; i + 1 < p->file.n; i++) {
        const struct peft_entry *x = &p->entries[i], *y = x + 1;
        if (y->kind != PEFT_PAIR) break;
        if (strcmp(x->module, y->module) != 0 || x->part != y->part) continue;
        return err_set(e, "%s: tensors %s and %s: are both lora_%c of %s; wanted one adapter",
                       p->path, err_quotez(p->file.tensors[x->tensor].name),
                       err_quotez(p->file.tensors[y->tensor].name), x->part == PEFT_A ? 'A' : 'B',
                       err_quotez(x->module));
    }
    return 0;
}

/* Find out which pairs are adapted, and which patterns match any of those. */
static int choose_modules(struct peft *p, struct err *e)
{
    struct peft_config *c = &p->config;
    const struct {
        struct peft_pattern *at;
        size_t n;
    } lists[] = { { c->rank_pattern, c->n_rank }, { c->alpha_pattern, c->n_alpha } };
    bool is = false;
    int code = 0;
    for (size_t i = 0; !code && i < p->file.n && p->entries[i].kind == PEFT_PAIR; i++) {
        struct peft_entry *t = &p->entries[i];
        bool same = i && strcmp(t->module, t[-1].module) == 0;
        if (!same) code = peft_targets(&is, c, t->module, e);
        for (size_t k = 0; !same && !code && is && k < 2; k++)
            for (size_t j = 0; !code && j < lists[k].n; j++)
                if (!lists[k].at[j].used)
                    code = peft_pattern_match(&lists[k].at[j].used, NULL, &lists[k].at[j],
                                              t->module, c->path, e);
        t->read = !is; /* ignored pairs are never asked for */
    }
    for (size_t i = 0; !code && i < p->file.n; i++) {
        struct peft_entry *t = &p->entries[i];
        if (t->kind == PEFT_PAIR && t->read) t->kind = PEFT_IGNORED;
    }
    return code;
}

/* Whether layers_to_transform is why the module is not adapted. */
static int left_by_layers(bool *is, const struct peft_config *c, const char *module, struct err *e)
{
    struct peft_config all = *c;
    *is = false;
    all.n_layers = 0;
    return c->n_layers ? peft_targets(is, &all, module, e) : 0;
}

/* If there is nothing to load, say what the file holds instead. */
static int refuse_empty(const struct peft *p, struct err *e)
{
    const struct foreign *is = foreign_file(&p->file);
    const struct peft_entry *ignored = NULL;
    for (size_t i = 0; i < p->file.n; i++) {
        if (p->entries[i].kind == PEFT_PAIR) return 0;
        if (p->entries[i].kind == PEFT_IGNORED && !ignored) ignored = &p->entries[i];
    }
    if (is) {
        return err_set(e, "%s: holds no LoRA of PEFT's form (tensor %s): it is %s; %s", p->path,
                       err_quotez(p->file.tensors[0].name), is->what, is->remedy);
    }
    if (!ignored) return 0; /* the loader says what is missing */
    bool by_layers;
    int code = left_by_layers(&by_layers, &p->config, ignored->module, e);
    if (code) return code;
    if (by_layers) {
        char more[48] = "";
        if (p->config.n_layers > 1)
            snprintf(more, sizeof more, " and %zu more", p->config.n_layers - 1);
        return err_set(e,
                       "%s: has tensors for %s, but layers_to_transform of %s names layer %lld%s, "
                       "for which it has none",
                       p->path, err_quotez(ignored->module), config_name,
                       (long long)p->config.layers[0], more);
    }
    return err_set(
        e,
        "%s: has tensors for %s, but target_modules of %s names none of the modules that "
        "it has tensors for",
        p->path, err_quotez(ignored->module), config_name);
}

/* modules_to_save promises trained weights; without them the result would be wrong. */
static int refuse_unsaved(const struct peft *p, struct err *e)
{
    const struct peft_config *c = &p->config;
    int code = 0;
    for (size_t k = 0; k < c->n_save && !code; k++) {
        bool found = false;
        for (size_t i = 0; i < p->file.n && !found && !code; i++)
            if (p->entries[i].kind == PEFT_COPY)
                code = peft_pattern_match(&found, NULL, &c->save[k], p->entries[i].module, c->path,
                                          e);
        if (!found && !code) {
            code = err_set(e,
                           "%s: modules_to_save names %s, for which %s has no tensor; PEFT "
                           "refuses that, too",
                           c->path, err_quotez(c->save[k].key), model_name);
        }
    }
    return code;
}

static int read_names(struct peft *p, struct err *e)
{
    int code = 0;
    p->entries = mem_alloc(p->file.n, sizeof *p->entries, e);
    if (!p->entries) return e->code;
    for (size_t i = 0; !code && i < p->file.n; i++) {
        p->entries[i].tensor = i;
        code = read_name(&p->entries[i], p->file.tensors[i].name, e);
    }
    if (code) return code;
    qsort(p->entries, p->file.n, sizeof *p->entries, by_module);
    code = refuse_doubles(p, e);
    if (!code) code = choose_modules(p, e);
    if (!code) code = refuse_empty(p, e);
    return code ? code : refuse_unsaved(p, e);
}

/* The file of the tensors is missing, but there may be another one. */
static int refuse_missing(const char *dir, struct err *e)
{
    char other[PATH_BYTES];
    int code = path_join(other, dir, "adapter_model.bin", e);
    if (!code && file_exists(other)) {
        return err_set(e,
                       "%s: found adapter_model.bin, which may hold programs, wanted %s; save the "
                       "adapter with a current PEFT (save_pretrained)",
                       dir, model_name);
    }
    if (!code) code = path_join(other, dir, "adapters.safetensors", e);
    if (!code && file_exists(other)) {
        return err_set(e, "%s: found adapters.safetensors, wanted %s: it is %s; %s", dir,
                       model_name, foreign_mlx.what, foreign_mlx.remedy);
    }
    return code;
}

static int open_tensors(struct peft *p, const char *dir, struct err *e)
{
    char path[PATH_BYTES];
    int code = path_join(path, dir, model_name, e);
    if (!code && !file_exists(path)) code = refuse_missing(dir, e);
    if (code) return code;
    p->path = mem_strdup(path, e);
    code = p->path ? safetensors_open(&p->file, path, e) : e->code;
    return code ? code : read_names(p, e);
}

int peft_open(struct peft *p, const char *dir, struct err *e)
{
    *p = (struct peft){ 0 };
    int code = peft_config_read(&p->config, dir, e);
    if (!code) code = open_tensors(p, dir, e);
    if (code) peft_close(p);
    return code;
}

void peft_close(struct peft *p)
{
    for (size_t i = 0; p->entries && i < p->file.n; i++) mem_free(p->entries[i].module);
    peft_config_free(&p->config);
    safetensors_close(&p->file);
    mem_free(p->entries);
    mem_free(p->path);
    *p = (struct peft){ 0 };
}

/* ---- asking for tensors ---------------------------------------------------------------------- */

/* The pairs are sorted first, with the ignored ones among them, for which nobody searches. */
static struct peft_entry *find(const struct peft *p, const char *module, enum peft_part part)
{
    size_t low = 0, high = p->file.n;
    while (low < high) {
        size_t i = (low + high) / 2;
        struct peft_entry *t = &p->entries[i];
        int order = -1; /* other tensors come after all pairs */
        if (t->kind == PEFT_PAIR || t->kind == PEFT_IGNORED) order = strcmp(module, t->module);
        if (!order) order = (part > t->part) - (part < t->part);
        if (!order) return t->kind == PEFT_PAIR ? t : NULL;
        if (order < 0) {
            high = i;
        } else {
            low = i + 1;
        }
    }
    return NULL;
}

bool peft_has(const struct peft *p, const char *module)
{
    return find(p, module, PEFT_A) || find(p, module, PEFT_B);
}

/* The shape is wrong. The sides of a pair that are not its rank come from the base. */
static int refuse_shape(const struct peft *p, const struct tensor *t, const char *name,
                        enum peft_part part, size_t rows, size_t cols, struct err *e)
{
    char shape[TENSOR_RANK * 22] = "", base[96] = "";
    size_t n = 0;
    for (unsigned i = 0; i < t->rank; i++) {
        n += (size_t)snprintf(shape + n, sizeof shape - n, i ? ", %zu" : "%zu", (size_t)t->dims[i]);
    }
    bool other = t->rank == 2 && (part == PEFT_A ? t->dims[1] != cols : t->dims[0] != rows);
    if (other && p->config.base_model) {
        snprintf(base, sizeof base, ", %s", err_quotez(p->config.base_model));
    }
    return err_set(e, "%s: %s%s%stensor %s: found shape (%s), wanted (%zu, %zu)", p->path,
                   other ? "was trained on another base" : "", base, other ? ": " : "", name, shape,
                   rows, cols);
}

int peft_tensor(const struct tensor **t, struct peft *p, const char *module, enum peft_part part,
                size_t rows, size_t cols, struct err *e)
{
    char name[NAME_BYTES];
    struct peft_entry *entry = find(p, module, part);
    part_name(name, module, part);
    if (!entry) return err_set(e, "%s: tensor %s is missing", p->path, name);
    *t = &p->file.tensors[entry->tensor];
    entry->read = true;
    if ((*t)->type == STORAGE_OTHER) {
        return err_set(e, "%s: tensor %s: found type %s, wanted F32, F16 or BF16", p->path, name,
                       (*t)->type_name);
    }
    if ((*t)->rank == 2 && (*t)->dims[0] == rows && (*t)->dims[1] == cols) return 0;
    return refuse_shape(p, *t, name, part, rows, cols, e);
}

bool peft_copy(const struct tensor **t, const char **module, struct peft *p, size_t *i)
{
    for (; *i < p->file.n; ++*i) {
        struct peft_entry *x = &p->entries[*i];
        if (x->kind != PEFT_COPY) continue;
        x->read = true;
        *t = &p->file.tensors[x->tensor];
        *module = x->module;
        ++*i;
        return true;
    }
    return false;
}

int peft_check_all_read(const struct peft *p, struct err *e)
{
    size_t skip = sizeof prefix - 1;
    for (size_t i = 0; i < p->file.n; i++) {
        if (p->entries[i].read) continue;
        const char *name = p->file.tensors[p->entries[i].tensor].name;
        const struct foreign *is = foreign_tensor(name);
        bool usual = strncmp(name, prefix, skip) == 0; /* a quotation cannot hold the whole name */
        return err_set(
            e, "%s: tensor %s%s: does not belong to a LoRA adapter of this model%s%s%s%s", p->path,
            usual ? prefix : "", err_quotez(usual ? name + skip : name), is ? ": it is " : "",
            is ? is->what : "", is ? "; " : "", is ? is->remedy : "");
    }
    return 0;
}

/* ---- what was ignored ------------------------------------------------------------------------ */

static void note_tensors(struct str *notes, const struct peft *p)
{
    const struct peft_entry *renamed = NULL, *ignored = NULL;
    size_t n = 0;
    for (size_t i = 0; i < p->file.n; i++) {
        const struct peft_entry *t = &p->entries[i];
        if (t->kind == PEFT_PAIR && t->renamed && !renamed) renamed = t;
        if (t->kind != PEFT_IGNORED) continue;
        if (!ignored) ignored = t;
        n++;
    }
    if (renamed) {
        char usual[NAME_BYTES];
        part_name(usual, renamed->module, renamed->part);
        str_addf(notes, "%s: its tensors are not named as PEFT names them; %s is read as %s\n",
                 p->path, err_quotez(p->file.tensors[renamed->tensor].name), err_quotez(usual));
    }
    if (ignored) {
        str_addf(notes,
                 "%s: %zu tensor%s not used, since %s does not name the module, as in PEFT; the "
                 "first is of %s\n",
                 p->path, n, n == 1 ? " is" : "s are", config_name, err_quotez(ignored->module));
    }
}

static void note_patterns(struct str *notes, const struct peft *p, const char *key,
                          const struct peft_pattern *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (at[i].used) continue;
        str_addf(notes, "%s: %s: %s matches no module of the adapter and has no effect\n",
                 p->config.path, key, err_quotez(at[i].key));
    }
}

void peft_notes(struct str *notes, const struct peft *p)
{
    const struct peft_config *c = &p->config;
    if (c->fan_in_fan_out) {
        str_addf(notes,
                 "%s: fan_in_fan_out: true has no effect on a Llama's linear layers; PEFT turns it "
                 "off, too\n",
                 c->path);
    }
    if (c->n_layers_pattern && !c->n_layers) {
        str_addf(notes, "%s: layers_pattern has no effect without layers_to_transform\n", c->path);
    }
    note_tensors(notes, p);
    note_patterns(notes, p, "rank_pattern", c->rank_pattern, c->n_rank);
    note_patterns(notes, p, "alpha_pattern", c->alpha_pattern, c->n_alpha);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Write a number as Python's json does: 16, 0.05; with `point`, 0 is written 0.0. */
static void write_number(struct json_writer *w, const char *key, double v, bool point)
{
    if (v == floor(v) && fabs(v) < 1e15)
        json_write_decimals(w, key, v, point);
    else
        json_write_real(w, key, v);
}

static void write_patterns(struct json_writer *w, const char *key, const struct peft_pattern *p,
                           size_t n)
{
    if (n == 0) return;
    json_write_object(w, key, JSON_LINES);
    for (size_t i = 0; i < n; i++) write_number(w, p[i].key, p[i].value, false);
    json_write_end(w);
}

static int write_targets(struct json_writer *w, const struct peft_config *c, struct err *e)
{
    size_t n = c->all_linear ? MODULES : c->n_targets;
    CHECK(n > 0);
    const char **names = mem_alloc(n, sizeof *names, e);
    if (!names) return e->code;
    for (size_t i = 0; i < n; i++)
        names[i] = c->all_linear ? module_words[i] : c->target_modules[i];
    qsort(names, n, sizeof *names, by_text);
    json_write_array(w, "target_modules", JSON_LINES);
    for (size_t i = 0; i < n; i++) json_write_text(w, NULL, names[i]);
    json_write_end(w);
    mem_free(names);
    return 0;
}

static int config_text(struct str *s, const struct peft_config *c, struct err *e)
{
    struct json_writer w = { .out = s };
    size_t at;
    bool text = c->base_model && utf8_valid(c->base_model, strlen(c->base_model), &at);
    json_write_object(&w, NULL, JSON_LINES);
    write_patterns(&w, "alpha_pattern", c->alpha_pattern, c->n_alpha);
    json_write_text(&w, "base_model_name_or_path", text ? c->base_model : NULL);
    json_write_text(&w, "bias", "none");
    json_write_bool(&w, "inference_mode", true);
    json_write_bool(&w, "init_lora_weights", true);
    write_number(&w, "lora_alpha", c->lora_alpha, false);
    write_number(&w, "lora_dropout", c->lora_dropout, true);
    json_write_text(&w, "peft_type", "LORA");
    json_write_count(&w, "r", c->r);
    write_patterns(&w, "rank_pattern", c->rank_pattern, c->n_rank);
    int code = write_targets(&w, c, e);
    if (code) return code;
    json_write_text(&w, "task_type", "CAUSAL_LM");
    if (c->use_rslora) json_write_bool(&w, "use_rslora", true);
    json_write_end(&w);
    str_addc(s, '\n');
    return str_error(s, e);
}

static int write_tensors(const char *path, const struct st_entry *entries,
                         const struct peft_output *outputs, size_t n, struct err *e)
{
    struct st_writer w;
    int code = st_writer_begin(&w, path, entries, n, 0666, e);
    for (size_t i = 0; i < n && !code; i++) {
        code = st_writer_add(&w, outputs[i].data, outputs[i].rows * outputs[i].cols * 4, e);
    }
    if (!code) return st_writer_commit(&w, e);
    st_writer_abort(&w);
    return code;
}

static int write_outputs(const char *path, const struct peft_output *outputs, size_t n,
                         struct err *e)
{
    struct st_entry *entries = mem_alloc(n, sizeof *entries, e);
    char(*names)[NAME_BYTES] = mem_alloc(n, sizeof *names, e);
    for (size_t i = 0; entries && names && i < n; i++) {
        part_name(names[i], outputs[i].module, outputs[i].part);
        entries[i] =
            (struct st_entry){ names[i], STORAGE_F32, 2, { outputs[i].rows, outputs[i].cols } };
    }
    int code = entries && names ? write_tensors(path, entries, outputs, n, e) : e->code;
    mem_free(entries);
    mem_free(names);
    return code;
}

int peft_write(const char *dir, const struct peft_config *c, const struct peft_output *outputs,
               size_t n, struct err *e)
{
    char path[PATH_BYTES];
    struct str text = { 0 };
    int code = path_join(path, dir, model_name, e);
    if (!code) code = config_text(&text, c, e);
    if (!code) code = write_outputs(path, outputs, n, e);
    if (!code) code = path_join(path, dir, config_name, e);
    if (!code) code = file_replace(path, text.p, text.n, 0666, e);
    str_free(&text);
    return code;
}
