/* convert.c - stored values to f32 */
#include "io/read.h"
#include "platform/status.h"

#include <math.h>
#include <string.h>

static void
convert_f32_big(const uint8_t *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = dk_read_u32_big(from + 4 * i);
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void
convert_u8(const uint8_t *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = from[i];
}

static double
f64_at(const uint8_t *from, size_t i)
{
    double value;
    memcpy(&value, from + 8 * i, sizeof value);
    return value;
}

/* Returns how many values were converted: fewer than 'count' when one is beyond f32. */
static size_t
convert_f64(const uint8_t *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        const double value = f64_at(from, i);
        out[i] = (float)value;
        if (isinf(out[i]) && !isinf(value))
            return i;
    }
    return count;
}

dotk_status
dk_convert(const struct dk_source *source, const struct dk_found *found, float *out)
{
    const size_t rows = found->dim > 0 ? found->rows : 0; /* a header may claim 2^62 empty rows */

    for (size_t row = 0; row < rows; row++, out += found->dim) {
        const uint8_t *const from = source->bytes + found->offset + row * found->row_bytes;
        switch (found->element) {
        case DK_ELEMENT_F32: memcpy(out, from, found->dim * sizeof *out); break;
        case DK_ELEMENT_F32_BIG: convert_f32_big(from, found->dim, out); break;
        case DK_ELEMENT_U8: convert_u8(from, found->dim, out); break;
        case DK_ELEMENT_F64: {
            const size_t done = convert_f64(from, found->dim, out);
            if (done < found->dim)
                return dk_fail(DOTK_UNSUPPORTED,
                               "%s: row %zu, column %zu is %g, beyond the range of f32: scale or "
                               "clip the values",
                               source->name, row, done, f64_at(from, done));
            break;
        }
        }
    }
    return DOTK_OK;
}
