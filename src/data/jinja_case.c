#include "src/data/jinja_case.h"

static bool is_mark(char c)
{
    return c >= MARK_BOS && c <= MARK_TRIM_END;
}

bool jinja_has_marks(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_mark(text[i])) return true;
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

void jinja_trim(struct str *out, const char *text, size_t n)
{
    while (n && is_space(*text)) text++, n--;
    while (n && is_space(text[n - 1])) n--;
    if (!n) return;
    size_t depth = 0, whole = 0; /* already trimmed: one pair of marks around the whole */
    for (size_t i = 0; i < n; i++) {
        depth += text[i] == MARK_TRIM;
        depth -= text[i] == MARK_TRIM_END;
        whole += depth == 0;
    }
    bool ends_in_text = n > 1 && text[n - 2] == MARK_TEXT;
    bool known = *text != MARK_TEXT && *text != MARK_TRIM && !ends_in_text &&
                 text[n - 1] != MARK_TRIM_END;
    if (known || (*text == MARK_TRIM && whole == 1)) {
        str_add(out, text, n);
        return;
    }
    str_addc(out, MARK_TRIM);
    str_add(out, text, n);
    str_addc(out, MARK_TRIM_END);
}
