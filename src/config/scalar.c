#include "src/config/scalar.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/json.h"
#include "src/base/safe.h"
#include "src/base/utf8.h"

bool scalar_is_null(const char *text)
{
    return !*text || !strcmp(text, "~") || !strcmp(text, "null") || !strcmp(text, "Null") ||
           !strcmp(text, "NULL");
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (!strcasecmp(text, *words)) return true;
    return false;
}

const char *scalar_bool(bool *out, const char *text)
{
    static const char *const yes[] = { "true", "yes", "on", "y", "1", NULL };
    static const char *const no[] = { "false", "no", "off", "n", "0", NULL };
    if (!strcmp(text, "true") || !strcmp(text, "false")) {
        *out = text[0] == 't';
        return NULL;
    }
    return is_one_of(text, yes) ? "write true" : is_one_of(text, no) ? "write false" : "";
}

static size_t count_digits(const char *p)
{
    return strspn(p, "0123456789");
}

/* Whether every comma stands between thousands: 1,000 or 12,345,678. */
static bool has_thousands(const char *p)
{
    size_t n = count_digits(p);
    if (n == 0 || n > 3 || p[n] != ',') return false;
    for (p += n; *p == ','; p += 4)
        if (count_digits(p + 1) != 3) return false;
    return !*p || *p == '.';
}

/* Why a text that other readers take for a number is not a number here. */
static const char *number_remedy(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*p) && *p != '.') return "";
    if (strchr(p, '_')) return "write the digits without _";
    if (has_thousands(p)) return "write the digits without a comma";
    if (strchr(p, ',')) return "write it without a comma: the decimal mark is a point";
    if (strchr(p, ':')) return "base 60 is not read here";
    if (p[0] == '0' && p[1] && strchr("xXoObB", p[1])) return "write it in decimal digits";
    if (p[strlen(p) - 1] == '%') return "write a percentage as a fraction: 5% is 0.05";
    if (strchr("kKmMgG", p[strlen(p) - 1])) return "write all its digits: units are not read here";
    return "";
}

/* A whole number as other programs write it: 16.0, 1e3, +5. Above 2^53 a double stands for its
 * neighbours too. */
static const char *whole_number(int64_t *out, const char *text)
{
    double v;
    const char *remedy = scalar_real(&v, text);
    if (remedy) return remedy;
    if (v != floor(v)) return "it must be a whole number";
    if (fabs(v) > 0x1p53) return "write it without a point, sign or exponent";
    *out = (int64_t)v;
    return NULL;
}

const char *scalar_int(int64_t *out, const char *text)
{
    const char *p = text + (*text == '-');
    size_t digits = count_digits(p);
    if (!digits || p[digits]) return whole_number(out, text);
    if (p[0] == '0' && digits > 1) return "write it without leading zeros";
    errno = 0;
    long long v = strtoll(text, NULL, 10);
    if (errno) return "it does not fit 64 bits";
    *out = v;
    return NULL;
}

/* The length of the decimal number that text begins with, or 0. */
static size_t number_length(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');
    size_t whole = count_digits(p), fraction = 0;
    p += whole;
    if (*p == '.') {
        fraction = count_digits(p + 1);
        p += 1 + fraction;
    }
    if (whole + fraction == 0) return 0;
    if (*p == 'e' || *p == 'E') {
        const char *digits = p + 1 + (p[1] == '-' || p[1] == '+');
        size_t n = count_digits(digits);
        if (n) p = digits + n;
    }
    return (size_t)(p - text);
}

const char *scalar_real(double *out, const char *text)
{
    size_t n = number_length(text);
    if (!n || text[n]) return number_remedy(text);
    errno = 0;
    double v = strtod(text, NULL);
    if (errno) return "it does not fit a double";
    *out = v;
    return NULL;
}

struct unit {
    const char *name;
    double times;
};

/* value = number * unit, as a whole number; `largest` keeps it exact in a double. */
static const char *number_with_unit(int64_t *out, const char *text, const struct unit *units,
                                    const char *remedy)
{
    size_t n = number_length(text);
    if (!n || *text == '-' || *text == '+') return remedy;
    const char *name = text + n + (text[n] == ' ');
    while (units->name && strcasecmp(units->name, name) != 0) units++;
    if (!units->name) return remedy;
    double v = strtod(text, NULL) * units->times;
    if (v > 9007199254740992.0) return "it is too large";
    if (v < 1) return "it is too small";
    *out = (int64_t)v;
    return NULL;
}

static const struct unit sizes[] = {
    { "B", 1 },        { "kB", 1e3 },     { "MB", 1e6 },     { "GB", 1e9 },     { "TB", 1e12 },
    { "KiB", 0x1p10 }, { "MiB", 0x1p20 }, { "GiB", 0x1p30 }, { "TiB", 0x1p40 }, { 0 }
};

const char *scalar_bytes(int64_t *out, const char *text)
{
    return number_with_unit(out, text, sizes, "write it with its unit: MiB, GiB or TiB");
}

const char *scalar_seconds(int64_t *out, const char *text)
{
    static const struct unit times[] = { { "s", 1 }, { "min", 60 }, { "h", 3600 }, { 0 } };
    return number_with_unit(out, text, times, "write a time with its unit: s, min or h");
}

bool scalar_within(const char *interval, double v)
{
    if (!*interval) return true;
    char *end;
    double low = strtod(interval + 1, &end);
    double high = strtod(end + 1, &end);
    return (interval[0] == '[' ? v >= low : v > low) && (*end == ']' ? v <= high : v < high);
}

void scalar_add_real(struct str *out, double v)
{
    struct str digits = { 0 };
    json_add_double(&digits, v); /* the shortest text that reads back the same: 2, 0.5, 1e-08 */
    const char *text = digits.p ? digits.p : "";
    size_t whole = strcspn(text, ".e");
    str_add(out, text, whole);
    if (text[whole] != '.') str_addz(out, ".0"); /* without ".0", 1e-08 is a string in YAML 1.1 */
    str_addz(out, text + whole);
    out->failed |= digits.failed;
    str_free(&digits);
}

void scalar_add_bytes(struct str *out, int64_t v)
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t i = 0;
    while (i < 4 && v % 1024 == 0) {
        v /= 1024;
        i++;
    }
    str_addf(out, "%" PRId64 "%s", v, names[i]);
}

void scalar_add_seconds(struct str *out, int64_t v)
{
    if (v % 3600 == 0)
        str_addf(out, "%" PRId64 "h", v / 3600);
    else if (v % 60 == 0)
        str_addf(out, "%" PRId64 "min", v / 60);
    else
        str_addf(out, "%" PRId64 "s", v);
}

/* Whether the text has only harmless characters and every YAML reader takes it for a text. */
static bool is_safe_plain(const char *text)
{
    static const char *const taken[] = { "null", "true", "false", "yes", "no",
                                         "on",   "off",  "y",     "n",   NULL };
    const char *p = text + strspn(text, "./");
    if (!isalpha((unsigned char)*p) && *p != '_') return false;
    if (p > text && p[-1] == '.') return false; /* .inf, .nan */
    while (isalnum((unsigned char)*p) || (*p && strchr("_./-+", *p))) p++;
    return !*p && !is_one_of(text, taken);
}

void scalar_add_text(struct str *out, const char *text)
{
    if (is_safe_plain(text)) {
        str_addz(out, text);
        return;
    }
    str_addc(out, '"');
    size_t left = strlen(text);
    while (left) {
        uint32_t c = (unsigned char)*text;
        size_t n = utf8_decode(&c, text, left);
        bool safe;
        safe_step(&safe, text, left, SAFE_LINE);
        if (c == '"' || c == '\\')
            str_addf(out, "\\%c", (char)c);
        else if (!safe || (c & 0xfffe) == 0xfffe) /* YAML folds it, or libyaml refuses it */
            str_addf(out, "\\U%08" PRIx32, c);
        else
            str_add(out, text, n ? n : 1);
        text += n ? n : 1;
        left -= n ? n : 1;
    }
    str_addc(out, '"');
}
