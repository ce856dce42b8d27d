#include "src/data/record_format.h"

#include <string.h>

#define FORMAT_NAME(upper, lower, keys) [FORMAT_##upper] = #lower,
static const char *const names[FORMATS] = { [FORMAT_AUTO] = "auto", DATA_FORMATS(FORMAT_NAME) };

bool data_format_named(enum data_format *out, const char *name)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum data_format)i;
            return true;
        }
    }
    return false;
}

const char *data_format_name(enum data_format f)
{
    return names[f];
}

const char *data_format_names(void)
{
#define NAME(upper, lower, keys) " " #lower
    return "auto" DATA_FORMATS(NAME);
}
