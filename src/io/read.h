/*
 * read.h - what the readers of vector files share
 *
 * A reader only looks: it checks a file's own description against the bytes that are there and
 * says where the values lie. It allocates nothing and copies nothing; open.c then points into the
 * mapping or converts. A format is one file with one reader, and one line in open.c's table.
 */
#ifndef DOTK_IO_READ_H
#define DOTK_IO_READ_H

#include <dotk/io.h>
#include <stdint.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian values are used where they lie"
#endif

/* How one value is stored. */
enum dk_element { DK_ELEMENT_F32, DK_ELEMENT_F32_BIG, DK_ELEMENT_F64, DK_ELEMENT_U8 };

size_t dk_element_size(enum dk_element element);

/* The bytes of a file, and the name for messages. */
struct dk_source {
    const uint8_t *bytes; /* at least 1 */
    size_t size;
    const char *name;
};

/*
 * Where a reader found the values: row i, 'dim' values long, at offset + i * row_bytes. A reader
 * that returns DOTK_OK has checked that all of it lies within the source.
 */
struct dk_found {
    const char *format; /* as in dotk_vectors */
    enum dk_element element;
    size_t axes, shape[DOTK_MAX_AXES];
    size_t rows, dim;
    size_t offset, row_bytes;
};

/* Errors: DOTK_CORRUPT, DOTK_UNSUPPORTED, with the file's name and the place. */
typedef dotk_status dk_reader(const struct dk_source *source, struct dk_found *found);

dk_reader dk_read_npy, dk_read_fvecs, dk_read_bvecs, dk_read_ivecs, dk_read_idx;

/* Headerless rows of 'dim' (at least 1) values. Errors: DOTK_CORRUPT, DOTK_BAD_ARGUMENT. */
dotk_status
dk_read_raw(const struct dk_source *source, dotk_raw_type type, size_t dim, struct dk_found *found);

/*
 * out (rows, dim) = the values as f32. NaN and infinity stay what they are.
 * Errors: DOTK_UNSUPPORTED when a finite value is beyond the range of f32, naming it.
 */
dotk_status dk_convert(const struct dk_source *source, const struct dk_found *found, float *out);

/*
 * Fills rows, dim and row_bytes for dense values from 'offset' on, of the shape and element in
 * 'found', and checks that they end where the source ends. 'row_axes': how many axes are rows.
 */
dotk_status dk_found_dense(const struct dk_source *source, struct dk_found *found, size_t row_axes);

static inline uint32_t
dk_read_u32(const uint8_t bytes[4])
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline uint32_t
dk_read_u32_big(const uint8_t bytes[4])
{
    return bytes[3] | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[0] << 24;
}

#endif /* DOTK_IO_READ_H */
