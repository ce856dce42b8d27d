/* A training file of another trainer: its translation is a configuration without faults, and what
 * is said about it is one safe line each. */
#include <stdio.h>
#include <string.h>

#include "src/base/utf8.h"
#include "src/config/config.h"
#include "src/translate/translate.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[512];
    struct translated t;
    struct config c;
    struct err e;
    size_t at;
    fuzz_put("theirs.yaml", data, n);
    snprintf(path, sizeof path, "%s/theirs.yaml", fuzz_dir());
    int code = translate_file(&t, path, &e);
    if (code) {
        fuzz_refused(&e, code, code == ERR_USAGE ? ERR_USAGE : ERR_FAIL, path);
    } else {
        if (config_parse(&c, t.text.p, t.text.n, "ours.yaml", NULL, 0, &e))
            check_failed(e.msg, __FILE__, __LINE__);
        config_free(&c);
        CHECK(t.keys >= 3);
        CHECK(!t.notes.n || (utf8_valid(t.notes.p, t.notes.n, &at) && !strchr(t.notes.p, '\x1b')));
    }
    translated_free(&t);
    return 0;
}
