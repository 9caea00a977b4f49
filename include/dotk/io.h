/*
 * dotk/io.h - other people's vector files
 *
 *     dotk_vectors_open ........ a file, mapped where that is possible, not copied
 *     dotk_vectors_parse ....... the same from bytes in memory
 *     dotk_vectors_read ........ some rows of a file that is too big to be converted at once
 *     dotk_vectors_save ........ vectors in any format that is read, as any type of element
 *     dotk_npy_save ............ an array as .npy
 *
 * Formats, told by their first bytes and then by the name's ending (less a ".gz"):
 *
 *     .npy ..... NumPy, versions 1 to 3: '<f4', '<f8', '<f2', '|u1', '|i1' and '|b1' (read as
 *                u8, 0 and 1) in C order, up to 8 axes
 *     .fvecs ... rows of f32, each after its dimension; .bvecs the same with u8
 *     .fbin .... two u32, rows and dimension, and then all values as f32; .u8bin, .i8bin the same
 *                with u8 and i8
 *     IDX ...... MNIST's format ("...-ubyte", .idx): u8 and f32, the first axis being rows
 *     raw ...... files without a header, of a type and dimension that the caller knows
 *
 * Values become f32. Nothing in a file is believed before it was checked against the bytes
 * that remain, nothing is allocated on a header's word alone, and a file that is longer than
 * its header says is refused like one that is shorter.
 */
#ifndef DOTK_IO_H
#define DOTK_IO_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a value is stored; little-endian. Every f16, bf16, u8 and i8 is an f32 exactly. */
typedef enum dotk_raw_type {
    DOTK_RAW_NONE = 0, /* the file has a format of its own */
    DOTK_RAW_F32 = 1,
    DOTK_RAW_U8 = 2,
    DOTK_RAW_F16 = 3,  /* IEEE binary16                    */
    DOTK_RAW_BF16 = 4, /* the upper half of an f32         */
    DOTK_RAW_I8 = 5
} dotk_raw_type;

typedef struct dotk_vectors_options {
    size_t struct_size; /* set by DOTK_VECTORS_OPTIONS_INIT              */
    dotk_raw_type raw;  /* not 0: headerless rows of this type ...       */
    size_t dim;         /* ... and this many values                      */
    int32_t stream;     /* 1: dotk_vectors_open() converts nothing, see dotk_vectors_read() */
} dotk_vectors_options;

#define DOTK_VECTORS_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(dotk_vectors_options), DOTK_RAW_NONE, 0, 0                                          \
    }

#define DOTK_MAX_AXES 8

/*
 * An opened file: read-only. 'shape' is the file's own; 'rows' and 'dim' are the view as a
 * matrix, every axis but the last being rows (IDX: every axis but the first being one row,
 * so that an image is a row; one axis: one value a row under IDX, one row otherwise; no axis:
 * one value).
 */
typedef struct dotk_vectors {
    const float *data; /* row i at data + i * stride; NULL: see dotk_vectors_read()   */
    size_t rows, dim, stride;
    size_t axes, shape[DOTK_MAX_AXES];
    int32_t mapped;     /* 1: data is the mapped file, 0: a converted copy             */
    const char *format; /* static text: "npy", "fvecs", "bvecs", "fbin", "u8bin",      */
                        /* "i8bin", "idx", "raw"                                       */
    const char *type;   /* static text: the file's element type, "f32", "f64", "f16",  */
                        /* "bf16", "u8", "i8"                                          */
} dotk_vectors;

/*
 * Opens a vector file.
 *
 * Memory:  *out is the caller's: release it with dotk_vectors_close(). f32 values on a
 *          4-byte boundary are mapped; others are converted into memory, 4 bytes a value,
 *          unless options->stream is set.
 * Threads: pure. Nobody may shorten the file while it is open.
 * Errors:  DOTK_IO (cannot be opened or read, or is no regular file), DOTK_CORRUPT (the
 *          message gives the place; an empty file), DOTK_UNSUPPORTED (no known format, or
 *          one in a form that is not read: object or complex type, big-endian, Fortran
 *          order, compressed; a finite f64 beyond the range of f32), DOTK_BAD_ARGUMENT
 *          (raw without dim, dim without raw), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_vectors_open(const char *path, const dotk_vectors_options *options,
                                       dotk_vectors **out);

/*
 * The same for 'size' bytes in memory, on any boundary; 'name' (borrowed) tells .fvecs from
 * .bvecs and appears in messages.
 * Memory:  always copies. Threads: pure. Errors: as dotk_vectors_open() less DOTK_IO.
 */
DOTK_API dotk_status dotk_vectors_parse(const void *bytes, size_t size, const char *name,
                                        const dotk_vectors_options *options, dotk_vectors **out);

/*
 * Reads rows first .. first + count - 1 into out (count, dim), as f32. It is there for files
 * opened with options->stream, of any size: of those, 'data' is NULL unless it is the mapped
 * file, and nothing is held in memory. Any other opened file can be read like this too.
 *
 * Memory:  out is the caller's. Threads: shared-read.
 * Errors:  DOTK_BAD_ARGUMENT (rows that are not there), DOTK_UNSUPPORTED (a finite f64 beyond
 *          the range of f32).
 */
DOTK_API dotk_status dotk_vectors_read(const dotk_vectors *vectors, size_t first, size_t count,
                                       float *out);

/* Closes the file or frees the copy; NULL is fine. Threads: exclusive. */
DOTK_API void dotk_vectors_close(dotk_vectors *vectors);

/*
 * Writes vectors as a file of the format that the ending of 'path' names:
 *
 *     ending                        elements                 the default
 *     .npy                          f32, f16, u8, i8         what the file was, else f32
 *     .fvecs, .fbin                 f32
 *     .bvecs, .u8bin                u8
 *     .i8bin                        i8
 *     .f32 .f16 .bf16 .u8 .i8       as it says, no header
 *     .raw                          any, no header           what the file was, else f32
 *
 *     vectors    an opened file, with options->stream or without, which may be 'path' itself; or
 *                a struct of your own with data, rows, dim and, where they are wanted, stride and
 *                axes with shape (which .npy keeps); the rest is zero
 *     type       of the elements; DOTK_RAW_NONE: the default of the table. f32 is rounded to f16
 *                and bf16, to nearest even, and f64 to f32 before that. To u8 and i8 nothing is
 *                rounded; -0 becomes 0
 *
 * Work is done in blocks: memory does not grow with the file. The file appears whole or not at
 * all, as with dotk_npy_save().
 *
 * Memory:  borrows. Threads: shared-read on vectors; one thread works. The context's progress
 *          function is called, and may cancel.
 * Errors:  DOTK_UNSUPPORTED (a value that the type cannot hold: no whole number in range for u8
 *          and i8, a finite one beyond the range of f16 or bf16; the message names row, column
 *          and value), DOTK_BAD_ARGUMENT (an ending or type not in the table; a size that the
 *          format cannot say: no row or no value without a header, more than 2^32 - 1 rows in
 *          .fbin), DOTK_IO (an older file at 'path' is left as it was), DOTK_CANCELLED,
 *          DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_vectors_save(dotk_context *context, const char *path,
                                       const dotk_vectors *vectors, dotk_raw_type type);

/* Element types that dotk_npy_save() writes. */
typedef enum dotk_npy_type { DOTK_NPY_F32 = 0, DOTK_NPY_I64 = 1 } dotk_npy_type;

/*
 * Writes a dense C-order array as .npy, version 1. The file appears whole or not at all:
 * it is written beside 'path' and renamed over it. A 'path' that is a pipe or a device is
 * written to directly.
 *
 *     axes    0 .. DOTK_MAX_AXES, with shape[0 .. axes - 1]
 *
 * Memory:  borrows data and shape; data may be NULL when the array has no element.
 * Threads: pure. Errors: DOTK_BAD_ARGUMENT, DOTK_IO (a full disk, say; an older file at
 * 'path' is left as it was), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_npy_save(const char *path, dotk_npy_type type, const void *data,
                                   size_t axes, const size_t *shape);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_IO_H */
