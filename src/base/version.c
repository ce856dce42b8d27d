#include "src/base/version.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

/* The libraries are asked by name through dlsym(): some lack the function (another BLAS than
 * OpenBLAS), and this floor does not include their headers. Copied through memcpy(), since C has no
 * conversion from an object pointer to a function pointer. */
#define ASK(function, symbol)                                                                      \
    void *function##_at = dlsym(RTLD_DEFAULT, symbol);                                             \
    memcpy(&(function), &function##_at, sizeof function##_at)

static void add_text(struct str *out, const char *indent, const char *name, const char *version)
{
    str_addf(out, "%s%s %s\n", indent, name, version ? version : "(version unknown)");
}

static void add_blas(struct str *out, const char *indent)
{
    char *(*config)(void);
    ASK(config, "openblas_get_config");
    const char *text = config ? config() : NULL; /* it begins with "OpenBLAS" by itself */
    if (text && !strncmp(text, "OpenBLAS ", 9)) text += 9;
    add_text(out, indent, config ? "OpenBLAS" : "BLAS", text);
}

static void add_hdf5(struct str *out, const char *indent)
{
    int (*get)(unsigned *, unsigned *, unsigned *);
    ASK(get, "H5get_libversion");
    unsigned major, minor, release;
    if (get && get(&major, &minor, &release) >= 0)
        str_addf(out, "%sHDF5 %u.%u.%u\n", indent, major, minor, release);
    else
        add_text(out, indent, "HDF5", NULL);
}

static void add_pcre2(struct str *out, const char *indent)
{
    int (*config)(uint32_t, void *);
    ASK(config, "pcre2_config_8");
    enum { PCRE2_VERSION_QUERY = 11 }; /* PCRE2_CONFIG_VERSION of its ABI */
    char text[64] = "";
    bool told = config && config(PCRE2_VERSION_QUERY, NULL) <= (int)sizeof text &&
                config(PCRE2_VERSION_QUERY, text) > 0;
    add_text(out, indent, "PCRE2", told ? text : NULL);
}

void version_add_libraries(struct str *out, const char *indent)
{
    const char *(*yaml)(void), *(*jansson)(void), *(*openssl)(int);
    ASK(yaml, "yaml_get_version_string");
    ASK(jansson, "jansson_version_str");
    ASK(openssl, "OpenSSL_version");
    add_blas(out, indent);
    add_hdf5(out, indent);
    add_text(out, indent, "libyaml", yaml ? yaml() : NULL);
    add_text(out, indent, "jansson", jansson ? jansson() : NULL);
    add_pcre2(out, indent);
    const char *text = openssl ? openssl(0) : NULL;
    if (text && !strncmp(text, "OpenSSL ", 8)) text += 8;
    add_text(out, indent, "OpenSSL", text);
}
