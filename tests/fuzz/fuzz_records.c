/* A file of training records, by every format and as a table: the reader continues after
 * each malformed record and comes to an end. */
#include "src/data/records.h"
#include "src/data/remarks.h"
#include "tests/fuzz/fuzz.h"

static void read_all(const char *path, const struct records_options *o, size_t most)
{
    struct records *r;
    struct err e;
    int code = records_open(&r, path, o, &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, path);
        return;
    }
    struct conversation c = { 0 };
    struct remarks remarks = { 0 };
    bool more = true;
    size_t n = 0;
    while (more) {
        code = records_next(r, &c, &more, &e);
        CHECK(n++ <= most);
        if (code) fuzz_refused(&e, code, ERR_FAIL, path);
        for (size_t i = 0; !code && more && i < c.n; i++) CHECK(c.turns[i].text[c.turns[i].n] == 0);
        if (!code && more) remarks_take(&remarks, &c.remarks);
    }
    struct str notes = { 0 };
    struct json_writer w = { .out = &notes };
    remarks_say(&notes, &remarks, "data");
    remarks_write_unused(&w, NULL, &remarks);
    CHECK(notes.n < 1 << 16);
    str_free(&notes);
    conversation_free(&c);
    records_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct records_options columns[] = {
        { .columns = { .prompt = "a", .completion = "b" } },
        { .columns = { .prompt = "a", .completion = "b", .input = "c", .choices = "d" } },
        { .columns = { .messages = "a", .system = "b" } },
        { .columns = { .text = "a" } },
    };
    const char *path = fuzz_put("data.jsonl", data, n);
    for (int f = 0; f < FORMATS; f++) {
        struct records_options o = { .format = (enum data_format)f };
        read_all(path, &o, n);
    }
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) read_all(path, &columns[i], n);
    static const struct records_options any = { 0 };
    read_all(fuzz_put("data.csv", data, n), &any, n); /* a table, unless it is JSON */
    return 0;
}
