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
#include <stdbool.h>
#include <stdint.h>

#include "platform/file.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian values are used where they lie"
#endif

/* How one value is stored. */
enum dk_element {
    DK_ELEMENT_F32,
    DK_ELEMENT_F32_BIG,
    DK_ELEMENT_F64,
    DK_ELEMENT_F16,
    DK_ELEMENT_BF16,
    DK_ELEMENT_U8,
    DK_ELEMENT_I8
};

size_t dk_element_size(enum dk_element element);

/* "f32", "f64", ... */
const char *dk_element_name(enum dk_element element);

/* 'type' is not DOTK_RAW_NONE. */
enum dk_element dk_raw_element(dotk_raw_type type);

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

/* What an opened dotk_vectors really is. */
struct dk_opened {
    dotk_vectors view; /* first: the handle points to it */
    struct dk_mapping mapping;
    float *copy;
    struct dk_source source; /* while mapped; its name is 'name' */
    struct dk_found found;
    char name[];
};

/* Errors: DOTK_CORRUPT, DOTK_UNSUPPORTED, with the file's name and the place. */
typedef dotk_status dk_reader(const struct dk_source *source, struct dk_found *found);

dk_reader dk_read_npy, dk_read_fvecs, dk_read_bvecs, dk_read_ivecs, dk_read_idx, dk_read_fbin,
    dk_read_u8bin, dk_read_i8bin, dk_read_ibin;

/* Whether rows and dimension, as .fbin and its kin have them, fill the source to the byte. */
bool dk_fits_bin(const struct dk_source *source, size_t value_size);

/* Headerless rows of 'dim' (at least 1) values. Errors: DOTK_CORRUPT, DOTK_BAD_ARGUMENT. */
dotk_status
dk_read_raw(const struct dk_source *source, dotk_raw_type type, size_t dim, struct dk_found *found);

/*
 * out[0 .. count - 1] = that many values of one row, from a column on, as f32. NaN and infinity
 * stay what they are.
 * Errors: DOTK_UNSUPPORTED when a finite value is beyond the range of f32, naming it.
 */
dotk_status dk_convert_part(const struct dk_source *source, const struct dk_found *found,
                            size_t row, size_t column, size_t count, float *out);

/* out (rows, dim) = whole rows from the first on, as above. */
dotk_status dk_convert(const struct dk_source *source, const struct dk_found *found, size_t first,
                       size_t rows, float *out);

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
