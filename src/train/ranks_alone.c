#include "src/train/ranks_link.h"

const struct ranks_link *ranks_link_open(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return NULL;
}
