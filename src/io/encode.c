/* encode.c - f32 to stored values, as long as none is lost */
#include "codec/half.h"
#include "io/write.h"

#include <math.h>
#include <string.h>

/* The least f32 that rounds to infinity: half-way beyond the largest number. */
#define F16_OVERFLOW  65520.0f
#define BF16_OVERFLOW 0x1.ffp127f

/* How many values there are before the first that is finite and not below the limit. */
static size_t
count_below(const float *from, size_t count, float limit)
{
    size_t i = 0;

    while (i < count && !(fabsf(from[i]) >= limit && isfinite(from[i])))
        i++;
    return i;
}

/* How many values there are before the first that is no whole number from 'least' to 'most'. */
static size_t
count_whole(const float *from, size_t count, float least, float most)
{
    size_t i = 0;

    while (i < count && from[i] >= least && from[i] <= most && from[i] == (float)(int)from[i])
        i++;
    return i;
}

size_t
dk_encode(enum dk_element element, const float *from, size_t count, uint8_t *out)
{
    const size_t held = element == DK_ELEMENT_F16    ? count_below(from, count, F16_OVERFLOW)
                        : element == DK_ELEMENT_BF16 ? count_below(from, count, BF16_OVERFLOW)
                        : element == DK_ELEMENT_U8   ? count_whole(from, count, 0, UINT8_MAX)
                        : element == DK_ELEMENT_I8   ? count_whole(from, count, INT8_MIN, INT8_MAX)
                                                     : count;
    if (held < count)
        return held;
    if (element == DK_ELEMENT_F16)
        dk_f32_to_f16_array(from, count, out);
    else if (element == DK_ELEMENT_BF16)
        dk_f32_to_bf16_array(from, count, out);
    else if (element == DK_ELEMENT_F32)
        memcpy(out, from, count * sizeof *from);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (uint8_t)(int)from[i]; /* of i8 the lower 8 bits */
    return count;
}
