/* Shared by the tests of src/data: files under a temporary directory, fixtures, messages. */
#ifndef LORAC_TESTS_DATA_TEST_H
#define LORAC_TESTS_DATA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "tests/entry.h"
#include "tests/sanitized.h"

/* The path of a fixture, or NULL (the test then skips) when the folder is not there. One of
 * eight rotating buffers. */
static inline const char *fixture(const char *name)
{
    static char paths[8][PATH_BYTES];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    const char *root = getenv("LORAC_TEST_DATA");
    snprintf(path, PATH_BYTES, "%s/%s", root ? root : "../shared/data", name);
    return access(path, R_OK) == 0 ? path : NULL;
}

/* Write n bytes to a file of this name in a directory of this process; returns its path. One of
 * four rotating buffers. */
static inline const char *temp_file_n(const char *name, const char *bytes, size_t n)
{
    static char dir[] = "/tmp/lorac-data-XXXXXX";
    static char paths[4][PATH_BYTES];
    static unsigned turn;
    if (strchr(dir, 'X') && strcmp(dir + strlen(dir) - 6, "XXXXXX") == 0)
        assert_non_null(mkdtemp(dir));
    char *path = paths[turn++ % 4];
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline const char *temp_file(const char *name, const char *text)
{
    return temp_file_n(name, text, strlen(text));
}

/* Remove what temp_file() made: a group teardown. */
static inline int temp_remove(void **state)
{
    (void)state;
    char command[PATH_BYTES + 16], dir[PATH_BYTES];
    const char *path = temp_file("last", "");
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* Succeed, or fail with the message. */
static inline void assert_ok(int code, const struct err *e)
{
    if (code) fail_msg("%s", e->msg);
}

/* A message has every one of the given parts, and is one line. */
static inline void assert_message(const struct err *e, const char *part)
{
    if (!strstr(e->msg, part)) fail_msg("\"%s\" is not in: %s", part, e->msg);
    assert_null(strchr(e->msg, '\n'));
}

static inline void assert_text(const char *text, size_t n, const char *want)
{
    if (n != strlen(want) || memcmp(text, want, n) != 0) {
        fail_msg("found \"%.*s\", wanted \"%s\"", (int)n, text, want);
    }
}

/* A byte-level tokenizer with ChatML's and other templates' tokens and a few merges, made here. In
 * GPT-2's alphabet printable bytes stand for themselves, the others for U+0100 and up, in order.
 * Returns the path of its tokenizer.json; tokenizer_config.json lies beside it. */
static inline const char *byte_tokenizer(void)
{
    static const char *const merges[][2] = {
        { "\xc4\xa0", "t" },
        { "h", "e" },
        { "\xc4\xa0\x74", "he" },
        { "l", "l" },
        { "ll", "o" },
        { "he", "llo" },
        { "\xc4\xa0", "hello" },
        { "\xc4\x8a", "\xc4\x8a" },
        { "\xc4\xa0", "\xc4\xa0" },
        { ":", "h" },
        { "c", "d" },
    };
    struct str s = { 0 };
    str_addz(&s, "{\"version\":\"1.0\",\"added_tokens\":[");
    static const char *const special[] = { "<|endoftext|>",
                                           "<|im_start|>",
                                           "<|im_end|>",
                                           "<|begin_of_text|>",
                                           "<|start_header_id|>",
                                           "<|end_header_id|>",
                                           "<|eot_id|>",
                                           "<|prompter|>",
                                           "<|assistant|>",
                                           "<|system|>",
                                           "[INST]",
                                           "[/INST]",
                                           "<s>",
                                           "</s>" };
    enum { FIRST = 3, SPECIAL = sizeof special / sizeof *special }; /* others after all pieces */
    int others = FIRST + 256 + (int)(sizeof merges / sizeof *merges) - FIRST;
    for (int i = 0; i < SPECIAL; i++) {
        str_addf(&s,
                 "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                 "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                 i ? "," : "", i < FIRST ? i : others + i, special[i]);
    }
    str_addz(&s, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                 "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
                 "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\","
                 "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
                 "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
                 "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                 "\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{");
    for (int i = 0; i < FIRST; i++) str_addf(&s, "\"%s\":%d,", special[i], i);
    int other = 0, id = 3;
    for (int b = 0; b < 256; b++) {
        bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        str_addf(&s, "%s\"\\u%04x\":%d", b ? "," : "", shown ? b : 256 + other++, id++);
    }
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        str_addf(&s, ",\"%s%s\":%d", merges[i][0], merges[i][1], id++);
    }
    str_addz(&s, "},\"merges\":[");
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        str_addf(&s, "%s\"%s %s\"", i ? "," : "", merges[i][0], merges[i][1]);
    }
    str_addz(&s, "]}}");
    temp_file(
        "tokenizer_config.json",
        "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_bos_token\":false,"
        "\"bos_token\":\"<|im_start|>\",\"eos_token\":\"<|im_end|>\",\"chat_template\":"
        "\"{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\\n' }}{% endif %}\"}");
    const char *path = temp_file_n("tokenizer.json", s.p, s.n);
    str_free(&s);
    return path;
}

#endif
