/* The value of every half-precision number. Where a scale comes with each 32 weights, looking it up
 * leaves to the weights the port that widens bytes, which conversions and broadcasts from a register
 * need, too. Of the 256 kB a model's scales touch little. */
#include "kernels/half.h"

float half_values[1 << 16];

__attribute__((constructor)) static void fill_half_values(void)
{
    for (uint32_t h = 0; h < 1 << 16; h++) half_values[h] = float_of_half((uint16_t)h);
}
