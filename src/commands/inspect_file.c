/* inspect for a single file: what it is, by its content, and what can be done with it. */
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/base/term.h"
#include "src/base/utf8.h"
#include "src/commands/inspect.h"
#include "src/config/config.h"
#include "src/formats/foreign.h"
#include "src/tokenizer/tokenizer.h"
#include "src/translate/translate.h"

enum { HEAD = 65536, HDF5_USER_BLOCK = 512 };

void inspect_unusable(struct facts *f, const char *kind, const char *remedy)
{
    facts_text(f, "kind", kind);
    facts_check(f, VERDICT_PROBLEM, "use", remedy,
                "it is not a model, an adapter or a part of one that lorac reads");
}

void inspect_directory_of(char out[PATH_BYTES], const char *path)
{
    int n = (int)(path_base(path) - path);
    snprintf(out, PATH_BYTES, "%.*s", n > 1 ? n - 1 : 1, n ? path : ".");
}

bool inspect_beside(const char *path, const char *name)
{
    char dir[PATH_BYTES], other[PATH_BYTES];
    struct err none;
    inspect_directory_of(dir, path);
    return !path_join(other, dir, name, &none) && file_exists(other);
}

void inspect_add_use(struct facts *f, const char *path, const char *what)
{
    char dir[PATH_BYTES];
    struct str s = { 0 };
    inspect_directory_of(dir, path);
    str_addf(&s, "%s: lorac inspect ", what);
    str_add_shell(&s, dir);
    facts_text(f, "use", s.p);
    str_free(&s);
}

/* ---- kinds that the first bytes tell --------------------------------------------------------- */

static const char torch_remedy[] =
    "it may hold programs; in Python: load the model it belongs to with transformers and "
    "save_pretrained(DIR, safe_serialization=True), and name that directory";

static const struct magic {
    const char *bytes;
    size_t n, at;
    const char *kind, *remedy;
} magics[] = {
    { "\x80\x02", 2, 0, "PyTorch or pickle file", torch_remedy },
    { "\x80\x03", 2, 0, "PyTorch or pickle file", torch_remedy },
    { "\x80\x04", 2, 0, "PyTorch or pickle file", torch_remedy },
    { "\x93NUMPY", 6, 0, "NumPy array",
      "save weights as .safetensors (safetensors.numpy.save_file)" },
    { "PAR1", 4, 0, "Parquet table",
      "records: convert it to .jsonl (pandas: to_json(orient=\"records\", lines=True))" },
    { "ARROW1", 6, 0, "Arrow table", "records: convert it to .jsonl (datasets: to_json)" },
    { "\x1f\x8b", 2, 0, "gzip-compressed file",
      "records may stay compressed: name it in data.train; see them with lorac data show "
      "CONFIG.yaml" },
    { "\x28\xb5\x2f\xfd", 4, 0, "zstd-compressed file",
      "records may stay compressed: name it in data.train; see them with lorac data show "
      "CONFIG.yaml" },
    { "BZh", 3, 0, "bzip2-compressed file", "unpack it with bunzip2" },
    { "\xfd"
      "7zXZ",
      5, 0, "xz-compressed file", "unpack it with unxz" },
    { "7z\xbc\xaf", 4, 0, "7z archive", "unpack it" },
    { "ustar", 5, 257, "tar archive", "unpack it with tar -xf" },
    { "lmgg", 4, 0, "model of llama.cpp before GGUF (ggml)", "get the .gguf of it" },
    { "fmgg", 4, 0, "model of llama.cpp before GGUF (ggmf)", "get the .gguf of it" },
    { "tjgg", 4, 0, "model of llama.cpp before GGUF (ggjt)", "get the .gguf of it" },
    { "SQLite format 3", 15, 0, "SQLite database", "export the records as .csv or .jsonl" },
    { "\x7f"
      "ELF",
      4, 0, "program", NULL },
    { "%PDF", 4, 0, "PDF document", "records have to be text: .jsonl, .csv" },
    { "\xff\xfe", 2, 0, "text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8" },
    { "\xfe\xff", 2, 0, "text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8" },
};

/* The first member of a zip file tells what the file is. */
static void add_zip(struct facts *f, const char *head, size_t n)
{
    static const struct {
        const char *sign, *kind, *remedy;
    } rows[] = {
        { "/data.pkl", "PyTorch file", torch_remedy },
        { "/.format_version", "PyTorch file", torch_remedy },
        { ".npy", "NumPy archive (.npz)",
          "save weights as .safetensors (safetensors.numpy.save_file)" },
        { "[Content_Types]", "document of an office program", "a table: save it as CSV" },
        { "xl/", "spreadsheet (.xlsx)", "save it as CSV" },
        { "mimetype", "document of an office program", "a table: save it as CSV" },
    };
    char name[256] = "";
    size_t length = n >= 30 ? (uint8_t)head[26] + 256u * (uint8_t)head[27] : 0;
    if (length && length < sizeof name && 30 + length <= n) memcpy(name, head + 30, length);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strstr(name, rows[i].sign)) {
            inspect_unusable(f, rows[i].kind, rows[i].remedy);
            return;
        }
    inspect_unusable(f, "zip archive", "unpack it");
}

static bool add_magic(struct facts *f, const char *head, size_t n)
{
    if (n > 4 && memcmp(head, "PK\3\4", 4) == 0) {
        add_zip(f, head, n);
        return true;
    }
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const struct magic *m = &magics[i];
        if (n < m->at + m->n || memcmp(head + m->at, m->bytes, m->n) != 0) continue;
        inspect_unusable(f, m->kind, m->remedy);
        return true;
    }
    return false;
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static bool is_safetensors(const char *head, size_t n, uint64_t size)
{
    uint64_t header = 0;
    if (n < 10) return false;
    for (unsigned i = 0; i < 8; i++) header |= (uint64_t)(uint8_t)head[i] << (8 * i);
    return header >= 2 && header <= size - 8 && head[8] == '{';
}

static bool holds_pairs(const struct safetensors *st)
{
    for (size_t i = 0; i < st->n; i++)
        if (strstr(st->tensors[i].name, ".lora_A.") && !foreign_tensor(st->tensors[i].name))
            return true;
    return false;
}

static void add_tensor_kind(struct facts *f, const struct safetensors *st, const char *path)
{
    const struct foreign *is = foreign_file(st);
    bool shard = strstr(path_base(path), "-of-") != NULL;
    if (holds_pairs(st)) {
        facts_text(f, "kind", "weights of an adapter (PEFT)");
        if (inspect_beside(path, "adapter_config.json")) {
            inspect_add_use(f, path, "the adapter is its directory");
        } else {
            facts_check(f, VERDICT_NOTE, "use", "put its adapter_config.json beside it",
                        "without that nothing says its scale");
        }
    } else if (is && strncmp(is->what, "weights of a model (Hugging", 27) == 0) {
        facts_text(f, "kind",
                   shard ? "one shard of a model (Hugging Face)"
                         : "weights of a model (Hugging Face)");
        if (inspect_beside(path, "config.json")) {
            inspect_add_use(f, path, "the model is its directory");
        } else {
            facts_check(f, VERDICT_NOTE, "use", "put its config.json beside it",
                        "without that nothing says its shape");
        }
    } else if (is) {
        inspect_unusable(f, is->what, is->remedy);
    } else {
        facts_text(f, "kind", "safetensors file");
        facts_check(f, VERDICT_NOTE, "use", NULL,
                    "its tensors are not those of a Llama or of an adapter");
    }
}

/* "bf16, f32", with the container's own names for types that lorac does not have. */
static void add_types(struct facts *f, const struct safetensors *st)
{
    struct str s = { 0 };
    for (size_t i = 0; i < st->n; i++) {
        size_t k = 0;
        while (strcmp(st->tensors[k].type_name, st->tensors[i].type_name) != 0) k++;
        if (k == i) str_addf(&s, "%s%s", s.n ? ", " : "", st->tensors[i].type_name);
        if (s.n > 64) break;
    }
    facts_text(f, "stored_as", s.p ? s.p : "nothing");
    str_free(&s);
}

static int inspect_safetensors(struct facts *f, const char *path, bool verify, struct err *e)
{
    struct safetensors st;
    char text[HUMAN_BYTES];
    size_t params = 0, layers = 0, layer;
    int code = safetensors_open(&st, path, e);
    if (code) return code;
    add_tensor_kind(f, &st, path);
    for (size_t i = 0; i < st.n; i++) {
        size_t n = 1;
        const char *at = strstr(st.tensors[i].name, "layers.");
        for (unsigned d = 0; d < st.tensors[i].rank; d++) n *= st.tensors[i].dims[d];
        params += n;
        if (at && sscanf(at, "layers.%9zu.", &layer) == 1 && layer >= layers) layers = layer + 1;
    }
    facts_count(f, "tensors", st.n);
    facts_add(f, "parameters", json_integer((json_int_t)params), "%s",
              human_count(text, (double)params));
    add_types(f, &st);
    if (layers) facts_add(f, "last_layer", json_integer((json_int_t)layers - 1), "%zu", layers - 1);
    facts_text(f, "format", st.format);
    facts_add(f, "bytes", json_integer((json_int_t)st.map.size), "%s",
              human_bytes(text, (double)st.map.size));
    if (verify) verify_tensors(f, st.tensors, st.n);
    safetensors_close(&st);
    return 0;
}

/* ---- tokenizers, configurations, text -------------------------------------------------------- */

int inspect_tokenizer(struct facts *f, const char *path, struct err *e)
{
    struct tokenizer *t;
    int code = tokenizer_open(&t, path, e);
    if (code) return code;
    tokenizer_free(t);
    facts_text(f, "kind", "tokenizer");
    inspect_add_tokenizer(f, path);
    return 0;
}

static bool inspect_yaml(struct facts *f, const char *path)
{
    struct config c;
    struct err why;
    struct str files = { 0 };
    if (!str_ends_with(path, ".yaml") && !str_ends_with(path, ".yml")) return false;
    if (config_load(&c, path, NULL, 0, &why)) {
        const char *trainer = trainer_of_file(path);
        facts_text(f, "kind", "YAML");
        if (trainer) {
            facts_text(f, "written_for", trainer);
            facts_text(f, "use", "lorac convert FILE -o OURS.yaml translates it");
            return true;
        }
        facts_check(f, VERDICT_PROBLEM, "configuration", NULL, "%s", why.msg);
        return true;
    }
    facts_text(f, "kind", "configuration of a run");
    facts_text(f, "model", c.model.path);
    for (size_t i = 0; i < c.data.train.n; i++)
        str_addf(&files, "%s%s", i ? ", " : "", c.data.train.at[i].path);
    facts_text(f, "train", files.p);
    str_free(&files);
    facts_text(f, "template", c.data.template);
    facts_count(f, "r", (uint64_t)c.adapter.r);
    facts_count(f, "lora_alpha", (uint64_t)c.adapter.lora_alpha);
    facts_text(f, "output_dir", c.output.dir);
    facts_text(f, "use", "lorac plan FILE shows what it takes, lorac train FILE runs it");
    config_free(&c);
    return true;
}

static void add_text(struct facts *f, const char *path, const char *head, size_t n)
{
    size_t at, length = strlen(path);
    bool csv = length > 4 &&
               (strcmp(path + length - 4, ".csv") == 0 || strcmp(path + length - 4, ".tsv") == 0);
    bool whole = utf8_valid(head, n, &at) || (n == HEAD && at + 4 > n);
    if (csv) {
        inspect_unusable(f, "records (CSV)",
                         "name it in data.train; see its records with lorac data show CONFIG.yaml");
    } else if (whole && !memchr(head, 0, n)) {
        inspect_unusable(f, "text",
                         "records: a line of JSON for each (.jsonl), see datasets/README.md");
    } else {
        inspect_unusable(f, "file of a kind that lorac does not know", NULL);
    }
}

/* ---- what it is ------------------------------------------------------------------------------ */

static int read_head(char *head, size_t *n, uint64_t *size, const char *path, struct err *e)
{
    struct map m;
    int code = map_open(&m, path, e);
    if (code) return code;
    *size = m.size;
    *n = m.size < HEAD ? m.size : HEAD;
    if (*n) memcpy(head, m.data, *n);
    if (is_lfs_pointer(m.data, m.size)) code = lfs_refuse(path, e);
    map_close(&m);
    return code;
}

static bool is_hdf5(const char *head, size_t n, size_t at)
{
    static const char sign[8] = "\x89HDF\r\n\x1a\n";
    return n >= at + sizeof sign && memcmp(head + at, sign, sizeof sign) == 0;
}

/* Commands that take a model or a checkpoint go by the name. */
static void note_name(struct facts *f, const char *path, const char *ending)
{
    if (str_ends_with(path, ending)) return;
    facts_check(f, VERDICT_NOTE, "name", "rename it, or make a link with such a name",
                "does not end in %s, by which commands recognise it", ending);
}

static int by_content(struct facts *f, const char *path, bool verify, const char *head, size_t n,
                      uint64_t size, struct err *e)
{
    struct err none;
    if (n == 0) {
        inspect_unusable(f, "empty file", NULL);
        return 0;
    }
    if (str_ends_with(path, ".gguf") || (n > 4 && memcmp(head, "GGUF", 4) == 0)) {
        int code = inspect_gguf(f, path, e);
        if (!code) note_name(f, path, ".gguf");
        return code;
    }
    bool ours = str_ends_with(path, ".h5") || str_ends_with(path, ".hdf5");
    if (ours || is_hdf5(head, n, HDF5_USER_BLOCK)) {
        int code = inspect_h5(f, path, e);
        if (!code) note_name(f, path, ".h5");
        return code;
    }
    if (is_hdf5(head, n, 0)) {
        inspect_unusable(f, "HDF5 file of another program", "weights: save them as .safetensors");
        return 0;
    }
    if (str_ends_with(path, ".safetensors") || is_safetensors(head, n, size))
        return inspect_safetensors(f, path, verify, e);
    if (inspect_yaml(f, path)) return 0;
    bool handled = false;
    int code = inspect_json(f, path, head, n, &handled, e);
    if (handled || code) return code;
    if (add_magic(f, head, n)) return 0;
    /* a tokenizer.model has no magic, only the tag of its first piece: reading it decides */
    if (str_ends_with(path, ".model") ||
        (head[0] == '\n' && inspect_tokenizer(f, path, &none) == 0))
        return str_ends_with(path, ".model") ? inspect_tokenizer(f, path, e) : 0;
    add_text(f, path, head, n);
    return 0;
}

int inspect_file(struct facts *f, const char *path, bool verify, struct err *e)
{
    size_t n = 0;
    uint64_t size = 0;
    char *head = mem_alloc(HEAD, 1, e);
    if (!head) return e->code;
    int code = read_head(head, &n, &size, path, e);
    if (!code) code = by_content(f, path, verify, head, n, size, e);
    mem_free(head);
    return code;
}
