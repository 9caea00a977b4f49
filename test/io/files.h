/* files.h - makes small vector files in memory, and maltreats them */
#ifndef DOTK_TEST_IO_FILES_H
#define DOTK_TEST_IO_FILES_H

#include "support.h"

#include <dotk/io.h>

struct bytes {
    uint8_t data[1024];
    size_t size;
};

static inline void
put(struct bytes *bytes, const void *data, size_t size)
{
    test_require(size <= sizeof bytes->data - bytes->size, "struct bytes is too small");
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static inline void
put_u32(struct bytes *bytes, uint32_t value)
{
    put(bytes, &value, sizeof value);
}

static inline void
put_u32_big(struct bytes *bytes, uint32_t value)
{
    put_u32(bytes, __builtin_bswap32(value));
}

static inline void
put_f32(struct bytes *bytes, float value)
{
    put(bytes, &value, sizeof value);
}

/*
 * Parses a copy that ends at a page which faults. Makes sure that a failure leaves no handle and
 * no memory, and that nothing was allocated beyond what the bytes that are there can fill.
 */
static inline dotk_status
parse_guarded(const struct bytes *bytes, const char *name, const dotk_vectors_options *options)
{
    struct test_guarded guarded;
    struct test_alloc alloc;
    dotk_vectors *vectors = (dotk_vectors *)(uintptr_t)1;
    void *const copy = test_guarded_alloc(&guarded, bytes->size, true);

    if (bytes->size > 0)
        memcpy(copy, bytes->data, bytes->size);
    test_alloc_install(&alloc);
    const dotk_status status = dotk_vectors_parse(copy, bytes->size, name, options, &vectors);
    if (status != DOTK_OK) {
        assert_null(vectors);
        assert_int_equal(alloc.blocks, 0);
        assert_non_null(strstr(dotk_last_message(), name));
    }
    assert_true(alloc.most_bytes <= 4096 + 4 * bytes->size);
    test_guarded_free(&guarded);
    dotk_vectors_close(vectors);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
    return status;
}

/* Parses a good file; the caller closes it. */
static inline dotk_vectors *
parse_good(const struct bytes *bytes, const char *name, const dotk_vectors_options *options)
{
    dotk_vectors *vectors;

    assert_ok(dotk_vectors_parse(bytes->data, bytes->size, name, options, &vectors));
    assert_int_equal(vectors->mapped, 0);
    assert_true(vectors->stride >= vectors->dim);
    return vectors;
}

/* Cut off after every byte, and with bytes added: refused as malformed (or as another format). */
static inline void
check_every_length(const struct bytes *good, const char *name, const dotk_vectors_options *options)
{
    struct bytes bad = *good;

    assert_ok(parse_guarded(good, name, options));
    for (bad.size = 0; bad.size < good->size; bad.size++) {
        const dotk_status status = parse_guarded(&bad, name, options);
        if (status != DOTK_CORRUPT)
            fail_msg("%s cut to %zu of %zu bytes: %s", name, bad.size, good->size,
                     dotk_status_text(status));
    }
    put(&bad, "\0", 1);
    assert_status(parse_guarded(&bad, name, options), DOTK_CORRUPT);
}

/* The 'width' bytes at 'at', a size in the header, replaced by huge values. */
static inline void
check_huge_values(const struct bytes *good, size_t at, size_t width, bool big, const char *name)
{
    static const uint32_t huge[] = {0xffffffff, 0x80000000, 0x7fffffff, 0x7ffffffc,
                                    0x40000001, 0x10000000, 0x00ffffff, 0x0000fff0};

    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        struct bytes bad = *good;
        const uint32_t value = big ? __builtin_bswap32(huge[i]) : huge[i];
        memcpy(bad.data + at, (const uint8_t *)&value + (big ? 4 - width : 0), width);
        const dotk_status status = parse_guarded(&bad, name, NULL);
        if (status != DOTK_CORRUPT && status != DOTK_UNSUPPORTED)
            fail_msg("%s with 0x%x at byte %zu: %s", name, huge[i], at, dotk_status_text(status));
    }
}

/* Every byte of the file replaced by every value: any answer, but no crash and no leak. */
static inline void
check_every_byte(const struct bytes *good, const char *name, const dotk_vectors_options *options)
{
    for (size_t at = 0; at < good->size; at++) {
        struct bytes bad = *good;
        for (int value = 0; value < 256; value++) {
            bad.data[at] = (uint8_t)value;
            (void)parse_guarded(&bad, name, options);
        }
    }
}

#endif /* DOTK_TEST_IO_FILES_H */
