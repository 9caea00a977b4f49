/* fuzz_raw.c - byte 0 is the type, 1 to 8 the dimension; the rest is a headerless file */
#include "vectors.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    uint64_t dim;

    if (size >= 1 + sizeof dim) {
        memcpy(&dim, data + 1, sizeof dim);
        options.raw = (dotk_raw_type)(data[0] % 7); /* 6 is none */
        options.dim = dim;
        fuzz_parse(data + 1 + sizeof dim, size - 1 - sizeof dim, "x", &options);
    }
    return 0;
}
