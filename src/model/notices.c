#include "src/model/notices.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/file.h"

enum { NOTICE_BYTES = 1 << 20 };

static bool is_notice(const char *name)
{
    static const char *const starts[] = { "license", "licence", "use_policy", "use-policy",
                                          "notice" };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (strncasecmp(name, starts[i], strlen(starts[i])) == 0) return true;
    return false;
}

static int copy_one(const char *dir, const char *out_dir, const char *name, struct err *e)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    struct str text = { 0 };
    int code = path_join(from, dir, name, e);
    if (!code) code = path_join(to, out_dir, name, e);
    if (!code && file_exists(from)) {
        code = file_read(&text, from, NOTICE_BYTES, e);
        if (!code) code = file_replace(to, text.n ? text.p : "", text.n, 0666, e);
    }
    str_free(&text);
    return code;
}

int notices_copy(const char *model_path, const char *out_dir, struct err *e)
{
    char dir[PATH_BYTES];
    const char *slash = strrchr(model_path, '/');
    if (dir_exists(model_path)) {
        snprintf(dir, sizeof dir, "%s", model_path);
    } else {
        snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - model_path) + 1 : 1,
                 slash ? model_path : ".");
    }
    DIR *d = opendir(dir);
    if (!d) return err_errno(e, "%s", dir);
    int code = 0;
    for (struct dirent *entry; !code && (entry = readdir(d));)
        if (is_notice(entry->d_name)) code = copy_one(dir, out_dir, entry->d_name, e);
    closedir(d);
    return code;
}
