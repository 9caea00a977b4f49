/* fuzz_fvecs.c - the first byte chooses .fvecs, .bvecs or .ivecs; the rest is the file */
#include "vectors.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"x.fvecs", "x.bvecs", "x.ivecs"};

    if (size > 0)
        fuzz_parse(data + 1, size - 1, names[data[0] % 3], NULL);
    return 0;
}
