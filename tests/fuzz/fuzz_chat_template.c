/* A chat template's program, read by cases: the work is bounded, and the answer is a row or a
 * message of one line. */
#include <string.h>

#include "src/base/mem.h"
#include "src/data/chat_template.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e = { 0 };
    char *program = mem_strndup(n ? (const char *)data : "", n, &e);
    CHECK(program);
    const char *row = chat_template_row(program, &e);
    if (row) {
        CHECK(template_named(row));
    } else {
        fuzz_refused(&e, e.code, ERR_FAIL, "the model's chat template, ");
    }
    mem_free(program);
    return 0;
}
