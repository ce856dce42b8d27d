#include "src/data/kinds.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/file.h"
#include "src/base/str.h"
#include "src/base/utf8.h"

/* ---- commands -------------------------------------------------------------------------------- */

/* A path that can be shown and pasted; "FILE" if it has characters that a terminal would obey. */
static const char *shown(const char *path)
{
    for (size_t i = 0, n = strlen(path), len; i < n; i += len) {
        uint32_t c;
        len = utf8_decode(&c, path + i, n - i);
        if (len == 0 || c < 32 || (c >= 127 && c < 160) || (c >= 0x200e && c <= 0x200f) ||
            (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
            return "FILE";
    }
    return path;
}

static size_t packed_suffix(const char *path, const char **tool)
{
    static const struct {
        const char *suffix, *tool;
    } all[] = { { ".gz", "gzip -dc" }, { ".zst", "zstd -dc" } };
    size_t n = strlen(path);
    for (size_t i = 0; i < 2; i++) {
        size_t s = strlen(all[i].suffix);
        if (n <= s || strcasecmp(path + n - s, all[i].suffix) != 0) continue;
        *tool = all[i].tool;
        return s;
    }
    return 0;
}

/* Add a word of a command. A word that begins with - would be an option. */
static void add_word(struct str *out, const char *path)
{
    struct str word = { 0 };
    str_addf(&word, "%s%s", *path == '-' ? "./" : "", path);
    str_add_shell(out, word.p ? word.p : "FILE");
    str_free(&word);
}

/* Add the path with a prefix before its last part and with a different ending. */
static void add_result(struct str *out, const char *path, const char *front, size_t cut,
                       const char *ending)
{
    struct str word = { 0 };
    const char *base = path_base(path);
    str_add(&word, path, (size_t)(base - path));
    str_addz(&word, front);
    str_add(&word, base, strlen(base) - cut);
    str_addz(&word, ending);
    add_word(out, word.p ? word.p : "OUT");
    str_free(&word);
}

/* "iconv -f LATIN1 -t UTF-8 data.csv > utf8-data.csv" */
static void add_iconv(struct str *out, const char *path, const char *from)
{
    const char *tool = NULL, *name = shown(path);
    size_t packed = packed_suffix(name, &tool);
    if (tool) {
        str_addf(out, "%s ", tool);
        add_word(out, name);
        str_addf(out, " | iconv -f %s -t UTF-8 > ", from);
    } else {
        str_addf(out, "iconv -f %s -t UTF-8 ", from);
        add_word(out, name);
        str_addz(out, " > ");
    }
    add_result(out, name, "utf8-", packed, "");
}

/* Add a line of Python that reads the file and writes JSONL beside it. */
static void add_python(struct str *out, const char *path, const char *code)
{
    const char *name = shown(path), *base = path_base(name), *dot = strrchr(base, '.');
    str_addf(out, "python3 -c '%s' ", code);
    add_word(out, name);
    str_addc(out, ' ');
    add_result(out, name, "", dot && dot > base ? strlen(dot) : 0, ".jsonl");
}

/* ---- by first bytes -------------------------------------------------------------------------- */

#define TO_JSON ".to_json(a[2], orient=\"records\", lines=True, force_ascii=False)"

static const struct kind {
    const char *bytes;
    size_t n, at;
    const char *what;
    const char *python; /* the code of a line that converts it, or NULL */
} kinds[] = {
    { "BZh", 3, 0, "is compressed with bzip2, wanted gzip, zstd or plain text (bunzip2 unpacks it)",
      NULL },
    { "\xfd"
      "7zXZ",
      5, 0, "is compressed with xz, wanted gzip, zstd or plain text (unxz unpacks it)", NULL },
    { "\x04\x22\x4d\x18", 4, 0, "is compressed with lz4, wanted gzip, zstd or plain text", NULL },
    { "LZIP", 4, 0, "is compressed with lzip, wanted gzip, zstd or plain text", NULL },
    { "7z\xbc\xaf\x27\x1c", 6, 0, "is a 7z archive: unpack it first (7z x)", NULL },
    { "Rar!\x1a\x07", 6, 0, "is a RAR archive: unpack it first", NULL },
    { "ustar", 5, 257, "is a tar archive: unpack it first (tar -xf)", NULL },
    { "PAR1", 4, 0, "is a Parquet file: convert it to JSONL with",
      "import sys, pandas; a = sys.argv; pandas.read_parquet(a[1])" TO_JSON },
    { "ARROW1", 6, 0, "is an Arrow file: convert it to JSONL with",
      "import sys, pyarrow as p; a = sys.argv; p.ipc.open_file(a[1]).read_pandas()" TO_JSON },
    { "\xff\xff\xff\xff", 4, 0, "is an Arrow stream: convert it to JSONL with",
      "import sys, pyarrow as p; a = sys.argv; p.ipc.open_stream(a[1]).read_pandas()" TO_JSON },
    { "FEA1", 4, 0, "is a Feather file: convert it to JSONL with",
      "import sys, pandas; a = sys.argv; pandas.read_feather(a[1])" TO_JSON },
    { "Obj\x01", 4, 0, "is an Avro file: convert it to JSONL first", NULL },
    { "SQLite format 3", 16, 0,
      "is an SQLite database: write a table of it as CSV (sqlite3 -header -csv FILE 'select ...')",
      NULL },
    { "\x93NUMPY", 6, 0, "is a NumPy array: convert it to JSONL first", NULL },
    { "\x89HDF\r\n\x1a\n", 8, 0, "is an HDF5 file, wanted JSONL or CSV", NULL },
    { "GGUF", 4, 0, "is a GGUF model, wanted JSONL or CSV", NULL },
    { "%PDF-", 5, 0, "is a PDF document: its text has to become records first, as JSONL or CSV",
      NULL },
    { "{\\rtf", 5, 0, "is an RTF document: its text has to become records first, as JSONL or CSV",
      NULL },
    { "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8, 0,
      "is an old Office file (.xls, .doc): save a spreadsheet as CSV (UTF-8) in the program that "
      "wrote it",
      NULL },
    { "\x89PNG", 4, 0, "is an image, wanted JSONL or CSV", NULL },
    { "\xff\xd8\xff", 3, 0, "is an image, wanted JSONL or CSV", NULL },
    { "<!DOCTYPE", 9, 0, "is a web page, wanted JSONL or CSV (was a download page saved instead?)",
      NULL },
    { "<html", 5, 0, "is a web page, wanted JSONL or CSV (was a download page saved instead?)",
      NULL },
    { "<?xml", 5, 0, "is an XML file: convert it to JSONL or CSV first", NULL },
    { "version https://git-lfs", 23, 0,
      "is a Git LFS pointer, not the file itself (git lfs pull fetches it)", NULL },
};

/* The kind of a zip archive, by a name in its directory or at its front. */
static const struct {
    const char *name, *what;
} archives[] = {
    { "xl/workbook",
      "is an Excel workbook: save the sheet as CSV (UTF-8) in the program that wrote "
      "it" },
    { "opendocument.spreadsheet",
      "is an OpenDocument spreadsheet: save the sheet as CSV (UTF-8) in "
      "the program that wrote it" },
    { "Index/Document.iwa", "is an Apple document: export it as CSV in the program that wrote it" },
    { "word/document",
      "is a Word document: its text has to become records first, as JSONL or CSV" },
    { "opendocument.text",
      "is an OpenDocument text: its text has to become records first, as JSONL or CSV" },
    { "ppt/presentation",
      "is a presentation: its text has to become records first, as JSONL or CSV" },
    { "application/epub", "is an e-book: its text has to become records first, as JSONL or CSV" },
    { "/data.pkl", "is a PyTorch file, wanted JSONL or CSV" },
    { ".npy", "is an archive of NumPy arrays: convert it to JSONL first" },
};

static const char *archive_kind(const uint8_t *bytes, size_t n)
{
    enum { LOOK = 64 << 10 };
    size_t front = n < LOOK ? n : LOOK;
    for (size_t i = 0; i < sizeof archives / sizeof *archives; i++) {
        const char *name = archives[i].name;
        size_t length = strlen(name);
        if (memmem(bytes, front, name, length) || memmem(bytes + n - front, front, name, length))
            return archives[i].what;
    }
    return "is a zip archive: unpack it first";
}

/* Encodings of two and four bytes: recognised by their mark, or because text begins with two ASCII
 * characters.
 * */
static const char *wide_encoding(const uint8_t *b, size_t n)
{
    if (n < 2) return NULL;
    bool four = n >= 4;
    if (four && memcmp(b, "\xff\xfe\0\0", 4) == 0) return "UTF-32";
    if (four && memcmp(b, "\0\0\xfe\xff", 4) == 0) return "UTF-32";
    if (memcmp(b, "\xff\xfe", 2) == 0 || memcmp(b, "\xfe\xff", 2) == 0) return "UTF-16";
    if (!four) return NULL;
    unsigned set = (b[0] ? 8u : 0) | (b[1] ? 4u : 0) | (b[2] ? 2u : 0) | (b[3] ? 1u : 0);
    return set == 8    ? "UTF-32LE"
           : set == 1  ? "UTF-32BE"
           : set == 10 ? "UTF-16LE"
           : set == 5  ? "UTF-16BE"
                       : NULL;
}

/* The error "path: what", with ": " and a command when there is one. */
static int refuse(const char *path, const char *what, const struct str *command, struct err *e)
{
    int code = str_error(command, e);
    if (code) return code;
    return err_set(e, "%s: %s%s%s", path, what, command->n ? ": " : "",
                   command->n ? command->p : "");
}

static bool is_pickle(const uint8_t *b, size_t n)
{
    return n >= 2 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5;
}

/* First bytes that form a word may be the beginning of a column's name: PAR1 in "PAR12,answer". */
static bool is_name(const struct kind *k, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < k->n; i++) {
        unsigned char c = (unsigned char)k->bytes[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9')) return false;
    }
    if (k->at || n == k->n) return false;
    uint8_t next = bytes[k->n];
    return (next >= 'A' && next <= 'Z') || (next >= 'a' && next <= 'z') ||
           (next >= '0' && next <= '9') || (next && strchr(",;\t_ \r\n", next));
}

int kinds_refuse(const char *path, const uint8_t *bytes, size_t n, struct err *e)
{
    struct str command = { 0 };
    char what[64];
    int code = 0;
    const char *wide = wide_encoding(bytes, n);
    for (size_t i = 0; !code && i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *k = &kinds[i];
        if (n < k->at + k->n || memcmp(bytes + k->at, k->bytes, k->n) != 0) continue;
        if (is_name(k, bytes, n)) continue;
        if (k->python) add_python(&command, path, k->python);
        code = refuse(path, k->what, &command, e);
    }
    if (!code && n >= 4 && memcmp(bytes, "PK\x03\x04", 4) == 0) {
        code = refuse(path, archive_kind(bytes, n), &command, e);
    } else if (!code && is_pickle(bytes, n)) {
        code = refuse(path,
                      "is a Python pickle, which could run programs: ask its author for JSONL or "
                      "CSV",
                      &command, e);
    } else if (!code && wide) {
        snprintf(what, sizeof what, "is %s, wanted UTF-8; convert it", wide);
        add_iconv(&command, path, wide);
        code = refuse(path, what, &command, e);
    }
    str_free(&command);
    return code;
}

/* ---- bytes of another alphabet --------------------------------------------------------------- */

/* The single-byte encoding that the text may have; NULL when it also has characters of UTF-8 and so
 * is probably damaged. Windows' code page has letters and quotes where Latin-1 has control
 * characters. */
static const char *narrow_encoding(const char *text, size_t n)
{
    bool windows = false;
    for (size_t i = 0, len; i < n; i += len ? len : 1) {
        uint32_t c;
        len = utf8_decode(&c, text + i, n - i);
        if (len > 1) return NULL;
        unsigned char byte = (unsigned char)text[i];
        windows |= byte >= 0x80 && byte < 0xa0;
    }
    return windows ? "WINDOWS-1252" : "LATIN1";
}

int kinds_not_utf8(const char *where, const char *path, const char *text, size_t n, size_t at,
                   struct err *e)
{
    const char *from = narrow_encoding(text, n);
    struct str command = { 0 };
    if (!from) return err_set(e, "%s: not valid UTF-8 at byte %zu", where, at + 1);
    add_iconv(&command, path, from);
    int code = str_error(&command, e);
    if (!code) {
        code = err_set(e, "%s: not valid UTF-8 at byte %zu; if the file is %s, convert it: %s",
                       where, at + 1, from, command.p);
    }
    str_free(&command);
    return code;
}
