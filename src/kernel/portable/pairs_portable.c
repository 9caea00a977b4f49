/* pairs_portable.c - rows of bf16 to words of two; see softmax_v.h */
#include <string.h>

#include "kernel/portable/kernels_portable.h"

static void
put_word(uint16_t first, uint16_t second, float *word)
{
    const uint32_t bits = first | (uint32_t)second << 16;
    memcpy(word, &bits, sizeof bits);
}

static void
pack_panel(const uint16_t *rows, size_t stride, size_t count, size_t width, float *out)
{
    for (size_t d = 0; d < width; d += 2) {
        for (size_t c = 0; c < DK_PANEL; c++, out++) {
            const uint16_t *const key = rows + c * stride;
            put_word(c < count ? key[d] : 0, c < count && d + 1 < width ? key[d + 1] : 0, out);
        }
    }
}

static void
pack_values(const uint16_t *rows, size_t stride, size_t count, size_t width, float *out)
{
    for (size_t k = 0; k < count; k += 2, rows += 2 * stride) {
        for (size_t e = 0; e < width; e++, out++)
            put_word(rows[e], k + 1 < count ? rows[stride + e] : 0, out);
    }
}

const struct dk_pairs_kernels dk_pairs_portable = {.panel = pack_panel, .values = pack_values};
