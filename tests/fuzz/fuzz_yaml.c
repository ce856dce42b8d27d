/* A configuration (the first part of the input) and one override: one that is accepted is printed,
 * and reading the print gives the same. */
#include <string.h>

#include "src/config/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char where[] = "config.yaml";
    struct fuzz_part part[2];
    struct config c, back;
    struct err e;
    fuzz_split(part, 2, data, n);
    char override[256];
    size_t m = part[1].n < sizeof override - 1 ? part[1].n : sizeof override - 1;
    if (m) memcpy(override, part[1].p, m);
    override[m] = 0;
    char *const overrides[] = { override };
    int code = config_parse(&c, part[0].p, part[0].n, where, overrides, m > 0, &e);
    if (code) {
        /* For an override the message names the key, or the text that is not one. */
        fuzz_refused(&e, code, ERR_USAGE, strncmp(e.msg, where, 11) || !m ? "" : where);
        CHECK(m || strncmp(e.msg, where, 11) == 0);
        return 0;
    }
    struct str out = { 0 };
    const char *names[CONFIG_KEYS];
    config_print(&out, &c);
    if (config_parse(&back, out.p, out.n, where, NULL, 0, &e))
        check_failed(e.msg, __FILE__, __LINE__);
    CHECK(config_diff(names, &c, &back, false) == 0);
    str_free(&out);
    config_free(&back);
    config_free(&c);
    return 0;
}
