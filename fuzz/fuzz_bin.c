/* fuzz_bin.c - the first byte chooses .fbin, .u8bin, .i8bin or .ibin; the rest is the file */
#include "vectors.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"x.fbin", "x.u8bin", "x.i8bin", "x.ibin"};

    if (size > 0)
        fuzz_parse(data + 1, size - 1, names[data[0] % 4], NULL);
    return 0;
}
