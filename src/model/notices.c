#include "src/model/notices.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/file.h"

enum { NOTICE_BYTES = 1 << 20 };

static const char agreement_title[] = "LLAMA 2 COMMUNITY LICENSE";
static const char notice_text[] = "Llama 2 is licensed under the LLAMA 2 Community License, "
                                  "Copyright (c) Meta Platforms, Inc. All Rights Reserved.\n";

enum kind { NO_NOTICE, LICENCE, USE_POLICY, NOTICE };

static enum kind kind_of(const char *name)
{
    static const struct {
        const char *start;
        enum kind kind;
    } rows[] = { { "license", LICENCE },
                 { "licence", LICENCE },
                 { "use_policy", USE_POLICY },
                 { "use-policy", USE_POLICY },
                 { "notice", NOTICE } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strncasecmp(name, rows[i].start, strlen(rows[i].start)) == 0) return rows[i].kind;
    return NO_NOTICE;
}

/* The directory that a model lies in. */
static void home_of(char dir[PATH_BYTES], const char *model_path)
{
    const char *slash = strrchr(model_path, '/');
    if (dir_exists(model_path)) {
        snprintf(dir, PATH_BYTES, "%s", model_path);
    } else {
        snprintf(dir, PATH_BYTES, "%.*s", slash ? (int)(slash - model_path) + 1 : 1,
                 slash ? model_path : ".");
    }
}

/* What is beside a model. */
struct found {
    bool licence, agreement, notice;
};

static int look_at(struct found *f, const char *dir, const char *name, struct err *e)
{
    char path[PATH_BYTES];
    struct str text = { 0 };
    enum kind kind = kind_of(name);
    int code = path_join(path, dir, name, e);
    if (code || !file_exists(path)) return code;
    f->notice |= kind == NOTICE;
    f->licence |= kind == LICENCE;
    if (kind == LICENCE) code = file_read(&text, path, NOTICE_BYTES, e);
    if (text.n && strcasestr(text.p, agreement_title)) f->agreement = true;
    str_free(&text);
    return code;
}

static bool names_llama2(const char *model_path)
{
    char resolved[PATH_BYTES];
    size_t n = strlen(model_path);
    while (n > 1 && model_path[n - 1] == '/') n--;
    snprintf(resolved, sizeof resolved, "%.*s", n < PATH_BYTES ? (int)n : 0, model_path);
    const char *name = path_base(resolved);
    return strcasestr(name, "llama-2") || strcasestr(name, "llama2") || strcasestr(name, "llama_2");
}

static bool is_llama2(const struct found *f, const char *model_path)
{
    return f->agreement || (!f->licence && names_llama2(model_path));
}

static int copy_one(const char *dir, const char *out_dir, const char *name, bool keep,
                    struct err *e)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    struct str text = { 0 };
    int code = path_join(from, dir, name, e);
    if (!code) code = path_join(to, out_dir, name, e);
    if (!code && file_exists(from) && !(keep && file_exists(to))) {
        code = file_read(&text, from, NOTICE_BYTES, e);
        if (!code) code = file_replace(to, text.n ? text.p : "", text.n, 0666, e);
    }
    str_free(&text);
    return code;
}

static int write_notice(const char *out_dir, bool keep, struct err *e)
{
    char path[PATH_BYTES];
    int code = path_join(path, out_dir, "Notice", e);
    if (code || (keep && file_exists(path))) return code;
    return file_replace(path, notice_text, sizeof notice_text - 1, 0666, e);
}

int notices_copy(const char *model_path, const char *out_dir, bool keep, struct err *e)
{
    char dir[PATH_BYTES];
    struct found f = { 0 };
    home_of(dir, model_path);
    DIR *d = opendir(dir);
    if (!d) return err_errno(e, "%s", dir);
    const struct dirent *entry;
    int code;
    while (!(code = dir_next(&entry, d, dir, e)) && entry) {
        if (kind_of(entry->d_name) == NO_NOTICE) continue;
        code = look_at(&f, dir, entry->d_name, e);
        if (!code) code = copy_one(dir, out_dir, entry->d_name, keep, e);
        if (code) break;
    }
    closedir(d);
    if (code || f.notice || !is_llama2(&f, model_path)) return code;
    return write_notice(out_dir, keep, e);
}

const char *notices_warning(const char *model_path)
{
    char dir[PATH_BYTES];
    struct found f = { 0 };
    struct err ignored;
    home_of(dir, model_path);
    DIR *d = opendir(dir);
    if (!d) return NULL;
    for (struct dirent *entry; (entry = readdir(d));)
        if (kind_of(entry->d_name) != NO_NOTICE) look_at(&f, dir, entry->d_name, &ignored);
    closedir(d);
    if (f.agreement || !is_llama2(&f, model_path)) return NULL;
    return "its name says Llama 2, and there is no LICENSE beside it: anyone who passes on the "
           "model, or an adapter made from it, must add the Llama 2 agreement";
}
