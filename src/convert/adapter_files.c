#include "src/convert/adapter_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/config/config.h"
#include "src/convert/adapter_gguf.h"
#include "src/formats/gguf.h"
#include "src/formats/peft.h"
#include "src/train/checkpoint.h"
#include "src/train/rundir.h"

/* A file that cannot be read is taken for an adapter only where its name says so. */
static bool is_gguf_adapter(const char *path)
{
    struct gguf g;
    struct err ignored;
    const char *type = "";
    size_t n = 0;
    if (gguf_open(&g, path, &ignored)) return false;
    bool is = !gguf_get_string(&type, &n, &g, "general.type", false, &ignored) && n == 7 &&
              memcmp(type, "adapter", 7) == 0;
    gguf_close(&g);
    return is;
}

static bool has_file(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    struct err ignored;
    return !path_join(path, dir, name, &ignored) && file_exists(path);
}

enum adapter_form adapter_form_of(const char *path)
{
    if (dir_exists(path))
        return has_file(path, "adapter_config.json") ? ADAPTER_PEFT : ADAPTER_NONE;
    if (str_ends_with(path, ".gguf") && is_gguf_adapter(path)) return ADAPTER_GGUF;
    return str_ends_with(path, ".h5") && file_exists(path) ? ADAPTER_CHECKPOINT : ADAPTER_NONE;
}

static bool holds(char out[PATH_BYTES], const char *dir, const char *name)
{
    struct err ignored;
    return !path_join(out, dir, name, &ignored) && adapter_form_of(out) == ADAPTER_PEFT;
}

/* A run that has not published an adapter: its checkpoints hold one, too. */
static int not_yet(const char *dir, struct err *e)
{
    char newest[PATH_BYTES] = "";
    uint64_t step;
    size_t n;
    struct rundir d = { .lock.fd = -1 };
    snprintf(d.path, sizeof d.path, "%s", dir);
    int code = rundir_list(&step, 1, &n, &d, e);
    if (!code && n) code = rundir_checkpoint(newest, &d, step, e);
    if (code) return code;
    return err_set(e, "%s: this run has neither best/ nor adapter/ yet; %s%s", dir,
                   n ? "name its newest checkpoint: " : "it has to be trained further first",
                   newest);
}

int adapter_locate(char out[PATH_BYTES], struct str *notes, const char *path, struct err *e)
{
    int n = snprintf(out, PATH_BYTES, "%s", path);
    if (n >= PATH_BYTES) return err_set(e, "%s: path too long", err_quotez(path));
    if (!dir_exists(path) || adapter_form_of(path) == ADAPTER_PEFT) return 0;
    if (has_file(path, "config.json")) return 0; /* a model, beside which an adapter may lie */
    if (holds(out, path, "best")) {
        str_add_line(notes, "%s is a run's directory: its best adapter is taken, %s\n", path, out);
    } else if (holds(out, path, "adapter")) {
        str_add_line(
            notes,
            "%s is a run's directory without best/ (it has no validation, or no evaluation "
            "was better than its start): the adapter of its last step is taken, %s\n",
            path, out);
    } else if (has_file(path, "run.json")) {
        return not_yet(path, e);
    } else {
        snprintf(out, PATH_BYTES, "%s", path);
    }
    return str_error(notes, e);
}

/* Refuse a file by itself; for a part of an adapter's directory the error names the directory. */
static int refuse_file(const char *path, struct err *e)
{
    const char *name = path_base(path);
    bool part = strcmp(name, "adapter_model.safetensors") == 0 ||
                strcmp(name, "adapter_config.json") == 0 || strcmp(name, "lorac.json") == 0;
    return err_set(e, "%s: %s; wanted a PEFT directory, a .gguf adapter or a checkpoint (.h5)%s",
                   path, file_exists(path) ? "is not an adapter by itself" : "no such adapter",
                   part ? ": name the directory that it lies in" : "");
}

int adapter_open(struct adapter *a, const struct adapter_base *base, const char *path,
                 struct err *e)
{
    if (str_ends_with(path, ".h5")) return checkpoint_adapter(a, base->dims, path, e);
    if (str_ends_with(path, ".gguf")) return adapter_gguf_read(a, base->dims, path, e);
    enum path_kind kind;
    if (path_look(&kind, path, e)) return e->code;
    if (kind == PATH_DIRECTORY) return adapter_load(a, base, path, e);
    return refuse_file(path, e);
}

int adapter_weigh(struct adapter *a, double weight, const char *path, struct err *e)
{
    a->scale *= weight;
    if (isfinite((float)a->scale)) return 0;
    return err_set(e, "%s: the weight %g is too large for it", path, weight);
}

static char *copy(const char *text, int *code, struct err *e)
{
    if (!text || *code) return NULL;
    char *out = mem_strdup(text, e);
    if (!out) *code = e->code;
    return out;
}

static int checkpoint_notes(struct adapter_notes *n, double *dropout, const char *path,
                            struct err *e)
{
    struct checkpoint_start h;
    struct config c;
    int code = checkpoint_read_start(&h, path, e);
    if (code) return code;
    code = config_parse(&c, h.config.p ? h.config.p : "", h.config.n, path, NULL, 0, e);
    if (!code) {
        n->template = copy(c.data.template, &code, e);
        n->train_on = copy(train_on_name(c.data.train_on), &code, e);
        n->compute = copy(compute_name(c.train.compute), &code, e);
        n->base_path = copy(c.model.path, &code, e);
        n->base_sha256 = copy(h.base_sha256.p, &code, e);
        n->data_sha256 = copy(h.data_sha256.p, &code, e);
        n->step = h.step;
        *dropout = c.adapter.lora_dropout;
        config_free(&c);
    }
    checkpoint_start_free(&h);
    if (code) adapter_notes_free(n);
    return code;
}

static int directory_notes(struct adapter_notes *n, double *dropout, const char *path,
                           struct err *e)
{
    struct peft_config c;
    int code = adapter_notes_read(n, path, e);
    if (code) return code;
    code = peft_config_read(&c, path, e);
    if (!code) {
        *dropout = c.lora_dropout;
        if (c.base_model) { /* a path, where lorac.json has a name */
            mem_free(n->base_path);
            n->base_path = copy(c.base_model, &code, e);
        }
        peft_config_free(&c);
    }
    if (code) adapter_notes_free(n);
    return code;
}

int adapter_notes_of(struct adapter_notes *n, double *dropout, const char *path, struct err *e)
{
    double unused;
    if (!dropout) dropout = &unused;
    *n = (struct adapter_notes){ .eval_loss = NAN };
    *dropout = 0;
    if (str_ends_with(path, ".h5")) return checkpoint_notes(n, dropout, path, e);
    if (str_ends_with(path, ".gguf")) return adapter_gguf_notes(n, path, e);
    return dir_exists(path) ? directory_notes(n, dropout, path, e) : 0;
}
