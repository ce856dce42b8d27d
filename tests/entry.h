/* A row of a table of tests: the function, and the sentence that a run prints. It begins with what is
 * tested and says what must hold, so that a red line tells what broke: "gguf: what is written is
 * read". No '#' in it, which TAP reads as the beginning of a remark. After <cmocka.h>. */
#ifndef LORAC_TESTS_ENTRY_H
#define LORAC_TESTS_ENTRY_H

#define ENTRY(function, says)                                                                      \
    {                                                                                              \
        .name = says, .test_func = function                                                        \
    }

#endif
