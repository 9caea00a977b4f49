/* convert.c - stored values to f32 */
#include "codec/half.h"
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

static void
convert_i8(const uint8_t *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (int8_t)from[i];
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
dk_convert_part(const struct dk_source *source, const struct dk_found *found, size_t row,
                size_t column, size_t count, float *out)
{
    const uint8_t *const from = source->bytes + found->offset + row * found->row_bytes +
                                column * dk_element_size(found->element);

    switch (found->element) {
    case DK_ELEMENT_F32: memcpy(out, from, count * sizeof *out); break;
    case DK_ELEMENT_F32_BIG: convert_f32_big(from, count, out); break;
    case DK_ELEMENT_F16: dk_f16_to_f32_array(from, count, out); break;
    case DK_ELEMENT_BF16: dk_bf16_to_f32_array(from, count, out); break;
    case DK_ELEMENT_U8: convert_u8(from, count, out); break;
    case DK_ELEMENT_I8: convert_i8(from, count, out); break;
    case DK_ELEMENT_F64: {
        const size_t done = convert_f64(from, count, out);
        if (done < count)
            return dk_fail(DOTK_UNSUPPORTED,
                           "%s: row %zu, column %zu is %g, beyond the range of f32: scale or clip "
                           "the values",
                           source->name, row, column + done, f64_at(from, done));
        break;
    }
    }
    return DOTK_OK;
}

dotk_status
dk_convert(const struct dk_source *source, const struct dk_found *found, size_t first, size_t rows,
           float *out)
{
    const size_t end = found->dim > 0 ? first + rows : first; /* there may be 2^62 empty rows */
    dotk_status status = DOTK_OK;

    for (size_t row = first; row < end && status == DOTK_OK; row++, out += found->dim)
        status = dk_convert_part(source, found, row, 0, found->dim, out);
    return status;
}
