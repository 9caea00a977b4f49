/* fuzz_idx.c - bytes as IDX */
#include "vectors.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_parse(data, size, "x-ubyte", NULL);
    return 0;
}
