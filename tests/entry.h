/* A row of a table of tests: the function, and the sentence that a run prints. The sentence begins
 * with what is tested and says what must hold, so that a failure says what broke: "gguf: what is
 * written is read". It has no '#', which begins a remark in TAP. Include this after <cmocka.h>. */
#ifndef LORAC_TESTS_ENTRY_H
#define LORAC_TESTS_ENTRY_H

#define ENTRY(function, says)                                                                      \
    {                                                                                              \
        .name = says, .test_func = function                                                        \
    }

#endif
