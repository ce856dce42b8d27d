#include "src/train/budget.h"

#include "src/base/machine.h"

/* For the program itself, the kernel's page tables and whoever else needs a little. */
static const double share_of_free = 0.92;

size_t budget_bytes(const struct config *c, size_t weight_bytes)
{
    const char *why;
    int64_t given = c->train.memory_budget;
    size_t total = given != CONFIG_NONE
                       ? (size_t)given
                       : (size_t)((double)machine_memory_available(&why) * share_of_free);
    return total > weight_bytes ? total - weight_bytes : 1;
}
