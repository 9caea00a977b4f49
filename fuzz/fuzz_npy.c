/* fuzz_npy.c - bytes as .npy */
#include "vectors.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_parse(data, size, "x.npy", NULL);
    return 0;
}
