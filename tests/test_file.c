/* src/base/file.c: reading through maps, replacing files, paths. test_kill.c has the processes that
 * are killed and the disks that fail in the middle. */
#include "tests/files_util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static mode_t umask_now(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return mask;
}

static void assert_content(const char *path, const char *want)
{
    struct str s = { 0 };
    get_file(&s, path);
    assert_int_equal(s.n, strlen(want));
    assert_string_equal(s.n ? s.p : "", want);
    str_free(&s);
}

static void test_map(void **state)
{
    (void)state;
    struct map m;
    struct err e;
    const char *path = put_text("mapped", "bytes");
    assert_int_equal(map_open(&m, path, &e), 0);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "bytes", 5);
    assert_int_equal(m.st.st_size, 5);
    assert_false(is_lfs_pointer(m.data, m.size));
    map_close(&m);
    map_close(&m);
    assert_int_equal(map_open(&m, put_text("empty", ""), &e), 0);
    assert_null(m.data);
    assert_false(is_lfs_pointer(m.data, m.size));
    map_close(&m);
    path = put_text("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
    assert_int_equal(map_open(&m, path, &e), 0);
    assert_true(is_lfs_pointer(m.data, m.size));
    map_close(&m);
}

static void test_not_regular(void **state)
{
    (void)state;
    struct map m;
    struct str s = { 0 };
    struct err e;
    const char *fifo = temp_path("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_refused(map_open(&m, fifo, &e), &e, fifo, "a FIFO", "not a regular file");
    assert_refused(map_open(&m, test_dir, &e), &e, test_dir, "a directory", "is a directory");
    assert_refused(map_open(&m, "/dev/zero", &e), &e, "/dev/zero", "a device", "not a regular");
    assert_refused(file_read(&s, fifo, 10, &e), &e, fifo, "a FIFO", "not a regular file");
    const char *absent = temp_path("absent");
    assert_refused(map_open(&m, absent, &e), &e, absent, "nothing", "No such file");
    const char *path = put_text("six", "123456");
    assert_int_equal(file_read(&s, path, 6, &e), 0);
    assert_refused(file_read(&s, path, 5, &e), &e, path, "too large", "larger than 5 bytes");
    str_free(&s);
    assert_false(file_exists(fifo) || file_exists(test_dir) || file_exists(absent));
    assert_true(file_exists(path) && dir_exists(test_dir));
    assert_false(dir_exists(path) || dir_exists(absent));
}

static void test_paths(void **state)
{
    (void)state;
    struct err e;
    char out[PATH_BYTES], longest[PATH_BYTES];
    static const struct {
        const char *dir, *name, *want;
    } rows[] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "./b" }, { "/", "b", "/b" }
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(path_join(out, rows[i].dir, rows[i].name, &e), 0);
        assert_string_equal(out, rows[i].want);
    }
    memset(longest, 'x', sizeof longest);
    longest[PATH_BYTES - 3] = 0;
    assert_int_equal(path_join(out, longest, "y", &e), 0);
    assert_int_equal(path_join(out, longest, "yy", &e), ERR_FAIL);
    assert_string_equal(path_base("a/b/c"), "c");
    assert_string_equal(path_base("c"), "c");
    assert_string_equal(path_base("a/"), "");
}

static void test_within(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(dir_make(temp_path("base/inner"), 0755, &e), 0);
    assert_int_equal(dir_make(temp_path("base2"), 0755, &e), 0);
    assert_int_equal(symlink(temp_path("base/inner"), temp_path("link")), 0);
    static const struct {
        const char *inner;
        bool within;
    } rows[] = {
        { "base", true },
        { "base/", true },
        { "base/inner", true },
        { "base/inner/..", true },
        { "link", true },
        { "link/new", true }, /* a file that does not exist yet lies where it would be made */
        { "base/new", true },
        { "base/new/deep/er", true },
        { "base/../base/new", true },
        { "base2", false },
        { "base2/new", false },
        { "new", false },
        { "new/base", false },
        { ".", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (path_within(temp_path(rows[i].inner), temp_path("base")) != rows[i].within)
            fail_msg("%s", rows[i].inner);
    assert_false(path_within(temp_path("base"), temp_path("absent")));
    assert_true(path_within("/usr", "/"));
    char here[PATH_BYTES];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(temp_path("base")), 0);
    assert_true(path_within("new", temp_path("base")) && path_within("new/er", "."));
    assert_false(path_within("../new", "."));
    assert_int_equal(chdir(here), 0);
}

static void test_dir_make(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(dir_make(temp_path("d/e//f/"), 0700, &e), 0);
    assert_int_equal(mode_of(temp_path("d/e/f")), 0700);
    assert_int_equal(mode_of(temp_path("d/e")),
                     0777 & ~umask_now()); /* others' runs go there too */
    assert_int_equal(dir_make(temp_path("d/e/f"), 0755, &e), 0);
    assert_int_equal(mode_of(temp_path("d/e/f")), 0700);
    const char *file = put_text("plain", "");
    assert_refused(dir_make(file, 0755, &e), &e, file, "a file", "is a file");
    assert_int_equal(dir_make(temp_path("plain/below"), 0755, &e), ERR_FAIL);
}

/* How many names test_dir holds that have ".tmp." in them. */
static int leftovers(void)
{
    char command[PATH_BYTES + 64];
    snprintf(command, sizeof command, "test -z \"$(find '%s' -name '*.tmp.*')\"", test_dir);
    return system(command);
}

static void test_replace(void **state)
{
    (void)state;
    struct err e;
    mode_t before = umask(022);
    const char *path = temp_path("out");
    assert_int_equal(file_replace(path, "one", 3, 0666, &e), 0);
    assert_content(path, "one");
    assert_int_equal(mode_of(path), 0644);
    assert_int_equal(file_replace(path, "", 0, 0600, &e), 0);
    assert_content(path, "");
    assert_int_equal(mode_of(path), 0600);
    umask(077);
    assert_int_equal(file_replace(path, "x", 1, 0666, &e), 0);
    assert_int_equal(mode_of(path), 0600);
    umask(before);
    /* a leftover of a killed process with our number, open to all */
    char stale[PATH_BYTES + 32];
    snprintf(stale, sizeof stale, "%s.tmp.%ld", path, (long)getpid());
    FILE *f = fopen(stale, "w");
    assert_non_null(f);
    fputs("something long", f);
    fclose(f);
    chmod(stale, 0666);
    assert_int_equal(file_replace(path, "y", 1, 0600, &e), 0);
    assert_content(path, "y");
    assert_int_equal(mode_of(path), 0600);
    /* and a link that leads elsewhere */
    const char *victim = put_text("victim", "precious");
    assert_int_equal(symlink(victim, stale), 0);
    assert_int_equal(file_replace(path, "z", 1, 0600, &e), 0);
    assert_content(victim, "precious");
    assert_content(path, "z");
    assert_int_equal(leftovers(), 0);
}

static void test_save(void **state)
{
    (void)state;
    struct err e;
    struct save s;
    const char *path = put_text("saved", "old");
    assert_int_equal(save_begin(&s, path, 0644, &e), 0);
    assert_int_equal(save_write(&s, "header", 6, &e), 0);
    assert_int_equal(save_write(&s, "..body", 6, &e), 0);
    assert_content(path, "old"); /* until the end */
    assert_int_equal(s.written, 12);
    assert_int_equal(save_commit(&s, &e), 0);
    save_abort(&s);
    assert_content(path, "header..body");
    assert_int_equal(save_begin(&s, path, 0644, &e), 0);
    assert_int_equal(save_write(&s, "half", 4, &e), 0);
    save_abort(&s);
    save_abort(&s);
    assert_content(path, "header..body");
    const char *nowhere = temp_path("absent/file");
    assert_refused(save_begin(&s, nowhere, 0644, &e), &e, nowhere, "no directory", "cannot write");
    assert_refused(file_replace(test_dir, "x", 1, 0644, &e), &e, test_dir, "a directory", "");
    assert_int_equal(leftovers(), 0);
}

static void test_publish(void **state)
{
    (void)state;
    struct err e;
    const char *path = put_text("published", "old"), *tmp = put_text("made-elsewhere", "new");
    assert_int_equal(file_publish(tmp, path, &e), 0);
    assert_content(path, "new");
    assert_false(file_exists(tmp));
    assert_int_equal(file_publish(tmp, path, &e), ERR_FAIL);
    assert_content(path, "new");
    tmp = put_text("made-elsewhere", "newer");
    assert_int_equal(file_publish(tmp, test_dir, &e), ERR_FAIL);
    assert_false(file_exists(tmp));
}

static void test_long_paths(void **state)
{
    (void)state;
    char path[PATH_BYTES + 8], out[PATH_BYTES];
    struct save save;
    struct err e;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = 0;
    assert_int_equal(path_join(out, "dir", path, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "path too long"));
    assert_int_equal(dir_make(path, 0700, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "path too long"));
    assert_int_equal(dir_make("", 0700, &e), ERR_FAIL);
    assert_int_equal(save_begin(&save, path, 0600, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "path too long"));
    assert_int_equal(save_begin(&save, "", 0600, &e), ERR_FAIL);
    assert_false(path_within(path, "/"));
    assert_false(path_within("/tmp", path));
    assert_false(path_within("", "/no/such/directory"));
    /* a file in the current directory and one in the root: their parents are "." and "/" */
    assert_int_equal(chdir(test_dir), 0);
    assert_int_equal(file_replace("plain", "x", 1, 0600, &e), 0);
    assert_true(file_exists(temp_path("plain")));
}

/* Parts of a file that a killed process left are removed when the file is next written; parts that
 * a living process is writing stay. */
static void test_leftovers(void **state)
{
    (void)state;
    struct save mine;
    struct err e;
    const char *path = temp_path("target"), *other = temp_path("target.tmp.1x");
    char dead[PATH_BYTES], living[PATH_BYTES];
    snprintf(dead, sizeof dead, "%s.tmp.1", path);
    snprintf(living, sizeof living, "%s.tmp.2", path);
    put_text("target.tmp.1", "half");
    put_text("target.tmp.1x", "somebody's");
    int fd = open(living, O_RDWR | O_CREAT, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(save_begin(&mine, path, 0600, &e), 0);
    assert_false(file_exists(dead));
    assert_true(file_exists(living) && file_exists(other) && file_exists(mine.tmp));
    close(fd);
    assert_int_equal(save_commit(&mine, &e), 0);
    assert_int_equal(file_replace(path, "", 0, 0600, &e), 0);
    assert_false(file_exists(living));
    unlink(other);
}

static void test_dir_lock(void **state)
{
    (void)state;
    struct err e;
    bool held;
    int first, second;
    assert_int_equal(dir_lock(&first, test_dir, &e), 0);
    assert_int_equal(dir_lock(&second, test_dir, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "another lorac is writing here"));
    assert_int_equal(dir_lock_try(&second, &held, test_dir, &e), 0);
    assert_true(held && second == -1);
    dir_unlock(first);
    assert_int_equal(dir_lock_try(&second, &held, test_dir, &e), 0);
    assert_true(!held && second >= 0);
    dir_unlock(second);
    assert_int_equal(dir_lock_try(&second, &held, temp_path("none"), &e), ERR_FAIL);
    assert_int_equal(dir_lock(&second, test_dir, &e), 0);
    dir_unlock(second);
}

static void test_space(void **state)
{
    (void)state;
    struct err e;
    const char *new = temp_path("not/made/yet");
    assert_int_equal(space_need(new, 1, "this takes", "free some", &e), 0);
    assert_int_equal(space_need(new, UINT64_MAX / 4, "this takes", "free some", &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, new));
    assert_non_null(strstr(e.msg, " are free, this takes "));
    assert_non_null(strstr(e.msg, "; free some"));
}

static void test_remove_empty(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    struct err e;
    struct stat st;
    snprintf(path, sizeof path, "%s/here", temp_path("made"));
    assert_int_equal(dir_make(path, 0777, &e), 0);
    snprintf(path, sizeof path, "%s/here/new//below/", temp_path("made"));
    size_t before = path_existing(path);
    assert_int_equal(before, strlen(temp_path("made")) + strlen("/here"));
    assert_int_equal(dir_make(path, 0777, &e), 0);
    assert_int_equal(path_existing(path), strlen(path));
    dir_remove_empty(path, before);
    assert_int_equal(path_existing(path), before);
    /* what holds something stays */
    assert_int_equal(dir_make(path, 0777, &e), 0);
    put_text("made/here/new/file", "x");
    dir_remove_empty(path, before);
    assert_int_equal(stat(temp_path("made/here/new/below"), &st), -1);
    assert_int_equal(stat(temp_path("made/here/new/file"), &st), 0);
    assert_int_equal(path_existing("no-such/path"), 0);
    assert_int_equal(path_existing("/no-such/path"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_long_paths, "file: paths that are too long are refused"),
        ENTRY(test_map, "file: a map has the file's bytes, also when it is empty"),
        ENTRY(test_not_regular, "file: directories, FIFOs and devices are refused"),
        ENTRY(test_paths, "file: directory and name join to one path"),
        ENTRY(test_within, "file: a path is known to lie within a directory, links resolved"),
        ENTRY(test_dir_make, "file: a directory is made with its parents and its mode"),
        ENTRY(test_remove_empty, "file: directories that were made for nothing are removed again"),
        ENTRY(test_replace, "file: a replaced file has its new content and mode"),
        ENTRY(test_save, "file: the old content stays until a save is committed"),
        ENTRY(test_publish, "file: publishing replaces a file in one step"),
        ENTRY(test_leftovers,
              "file: what a killed process left goes at the next write, a living one's stays"),
        ENTRY(test_dir_lock, "file: a directory has one writer at a time"),
        ENTRY(test_space, "file: too little space is reported before writing"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
