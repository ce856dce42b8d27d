/* main() of a fuzz target without libFuzzer: runs it over each file, in order of the names, and
 * over the files in a directory. It says how many; a crash says which.
 *   fuzz_gguf FILE|DIR... */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "tests/fuzz/fuzz.h"

static size_t count;

static void replay(const char *path)
{
    struct str s = { 0 };
    struct err e;
    if (file_read(&s, path, 1u << 30, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    /* Memory of exactly that size, so that a sanitizer sees the end. */
    uint8_t *copy = malloc(s.n ? s.n : 1);
    CHECK(copy);
    if (s.n) memcpy(copy, s.p, s.n);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(copy, s.n);
    free(copy);
    str_free(&s);
    count++;
}

static int no_dots(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void replay_all(const char *path)
{
    struct dirent **list;
    if (!dir_exists(path)) {
        replay(path);
        return;
    }
    int n = scandir(path, &list, no_dots, alphasort);
    for (int i = 0; i < n; i++) {
        char file[PATH_BYTES];
        struct err e;
        CHECK(!path_join(file, path, list[i]->d_name, &e));
        replay_all(file);
        free(list[i]);
    }
    if (n >= 0) free(list);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) replay_all(argv[i]);
    printf("%zu inputs\n", count);
    return 0;
}
