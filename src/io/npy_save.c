/*
 * npy_save.c - writes an array as .npy, version 1
 *
 * As NumPy writes it: the header is padded with spaces so that the values start on a multiple
 * of 64 bytes, where they can be mapped.
 */
#include <dotk/io.h>

#include "platform/file.h"
#include "platform/memory.h"
#include "platform/status.h"

#include <stdio.h>
#include <string.h>

enum { PREFIX = 10, ALIGNMENT = 64, HEADER = 256 + 24 * DOTK_MAX_AXES };

/* Writes the whole header into 'out' and returns its length. */
static size_t
format_header(const char *descr, size_t axes, const size_t *shape, char out[HEADER])
{
    size_t length = PREFIX;

    memcpy(out, "\x93NUMPY\1\0", 8);
    length += (size_t)snprintf(out + length, HEADER - length,
                               "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (size_t axis = 0; axis < axes; axis++)
        length += (size_t)snprintf(out + length, HEADER - length, "%s%zu", axis > 0 ? ", " : "",
                                   shape[axis]);
    length += (size_t)snprintf(out + length, HEADER - length, "%s), }", axes == 1 ? "," : "");
    const size_t padded = dk_round_up(length + 1, ALIGNMENT);
    memset(out + length, ' ', padded - length - 1);
    out[padded - 1] = '\n';
    out[8] = (char)((padded - PREFIX) & 0xff);
    out[9] = (char)((padded - PREFIX) >> 8);
    return padded;
}

dotk_status
dotk_npy_save(const char *path, dotk_npy_type type, const void *data, size_t axes,
              const size_t *shape)
{
    char header[HEADER];
    size_t bytes = type == DOTK_NPY_I64 ? 8 : 4;

    if (path == NULL || (shape == NULL && axes > 0))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", path == NULL ? "path" : "shape");
    if (type != DOTK_NPY_F32 && type != DOTK_NPY_I64)
        return dk_fail(DOTK_BAD_ARGUMENT, "type is %d: it is no dotk_npy_type", (int)type);
    if (axes > DOTK_MAX_AXES)
        return dk_fail(DOTK_BAD_ARGUMENT, "axes is %zu: at most %d", axes, DOTK_MAX_AXES);
    for (size_t axis = 0; axis < axes; axis++) {
        if (!dk_mul(bytes, shape[axis], &bytes))
            return dk_fail(DOTK_BAD_ARGUMENT, "shape[%zu] is %zu: the array's size overflows", axis,
                           shape[axis]);
    }
    if (data == NULL && bytes > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "data is NULL");
    const size_t length = format_header(type == DOTK_NPY_I64 ? "<i8" : "<f4", axes, shape, header);
    const struct dk_piece pieces[] = {{header, length}, {data, bytes}};
    return dk_write_file(path, pieces, 2);
}
