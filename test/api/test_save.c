/* test_save.c - vectors saved in every format and type, read in parts, refused, given up */
#include "temp.h"

#include <dotk/io.h>

/* path = folder/x<ending> */
static const char *
named(const char *ending)
{
    snprintf(path, sizeof path, "%.400s/x%s", folder, ending);
    return path;
}

static dotk_vectors
matrix(const float *data, size_t rows, size_t dim)
{
    const dotk_vectors vectors = {.data = data, .rows = rows, .dim = dim};
    return vectors;
}

static dotk_vectors_options
options_of(dotk_raw_type raw, size_t dim, bool stream)
{
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;

    options.raw = raw;
    options.dim = dim;
    options.stream = stream;
    return options;
}

/* Every ending with every type that it holds; its default is the first. */
static const struct {
    const char *ending, *format, *type_name;
    dotk_raw_type type;
    bool is_default, bare;
} forms[] = {
    {".npy", "npy", "f32", DOTK_RAW_F32, true, false},
    {".npy", "npy", "f16", DOTK_RAW_F16, false, false},
    {".npy", "npy", "u8", DOTK_RAW_U8, false, false},
    {".npy", "npy", "i8", DOTK_RAW_I8, false, false},
    {".fvecs", "fvecs", "f32", DOTK_RAW_F32, true, false},
    {".bvecs", "bvecs", "u8", DOTK_RAW_U8, true, false},
    {".fbin", "fbin", "f32", DOTK_RAW_F32, true, false},
    {".u8bin", "u8bin", "u8", DOTK_RAW_U8, true, false},
    {".i8bin", "i8bin", "i8", DOTK_RAW_I8, true, false},
    {".f32", "raw", "f32", DOTK_RAW_F32, true, true},
    {".f16", "raw", "f16", DOTK_RAW_F16, true, true},
    {".bf16", "raw", "bf16", DOTK_RAW_BF16, true, true},
    {".u8", "raw", "u8", DOTK_RAW_U8, true, true},
    {".i8", "raw", "i8", DOTK_RAW_I8, true, true},
    {".raw", "raw", "f32", DOTK_RAW_F32, true, true},
    {".raw", "raw", "f16", DOTK_RAW_F16, false, true},
    {".raw", "raw", "bf16", DOTK_RAW_BF16, false, true},
    {".raw", "raw", "u8", DOTK_RAW_U8, false, true},
    {".raw", "raw", "i8", DOTK_RAW_I8, false, true},
};

enum { FORMS = sizeof forms / sizeof forms[0] };

/* The file as it was saved holds 'vectors'. */
static void
check_saved(size_t form, const dotk_vectors *vectors)
{
    const size_t stride = vectors->stride != 0 ? vectors->stride : vectors->dim;
    const dotk_vectors_options options = options_of(forms[form].bare ? forms[form].type
                                                                     : DOTK_RAW_NONE,
                                                    forms[form].bare ? vectors->dim : 0, false);
    dotk_vectors *found;

    assert_ok(dotk_vectors_open(path, &options, &found));
    assert_string_equal(found->format, forms[form].format);
    assert_string_equal(found->type, forms[form].type_name);
    assert_int_equal(found->rows, vectors->rows);
    assert_int_equal(found->dim, vectors->dim);
    assert_int_equal(found->axes, 2);
    for (size_t row = 0; row < vectors->rows; row++)
        assert_memory_equal(found->data + row * found->stride, vectors->data + row * stride,
                            vectors->dim * sizeof(float));
    dotk_vectors_close(found);
}

/* Whole numbers from 0 to 127, which every type has. */
static float *
make_values(size_t count)
{
    float *const values = malloc(count * sizeof *values);
    uint64_t seed = count;

    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)test_random_below(&seed, 128);
    return values;
}

/* Blocks begin and end inside rows, and hold many. */
static void
test_every_form_and_shape(void **state)
{
    static const size_t shapes[][2] = {{1, 1},     {3, 5},     {1, 65537},
                                       {65537, 1}, {3, 70001}, {70001, 3}};

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        float *const values = make_values(shapes[s][0] * shapes[s][1]);
        const dotk_vectors vectors = matrix(values, shapes[s][0], shapes[s][1]);
        for (size_t i = 0; i < FORMS; i++) {
            assert_ok(dotk_vectors_save(NULL, named(forms[i].ending), &vectors, forms[i].type));
            check_saved(i, &vectors);
            if (s > 1 || !forms[i].is_default)
                continue;
            assert_ok(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE));
            check_saved(i, &vectors);
        }
        free(values);
    }
}

static void
test_strides(void **state)
{
    float *const values = make_values(11 * 70000);
    dotk_vectors vectors = matrix(values, 11, 69000);

    (void)state;
    vectors.stride = 70000;
    for (size_t i = 0; i < FORMS; i++) {
        assert_ok(dotk_vectors_save(NULL, named(forms[i].ending), &vectors, forms[i].type));
        check_saved(i, &vectors);
    }
    free(values);
}

/* Byte for byte. */
static void
test_bytes(void **state)
{
    static const float values[] = {1, 0, 2, 3, 127, 5};
    static const struct {
        const char *ending, *bytes;
        size_t size;
    } cases[] = {
        {".bvecs", "\3\0\0\0\1\0\2\3\0\0\0\3\177\5", 14},
        {".u8bin", "\2\0\0\0\3\0\0\0\1\0\2\3\177\5", 14},
        {".i8bin", "\2\0\0\0\3\0\0\0\1\0\2\3\177\5", 14},
        {".f16", "\0\x3c\0\0\0\x40\0\x42\xf0\x57\0\x45", 12},
        {".bf16", "\x80\x3f\0\0\0\x40\x40\x40\xfe\x42\xa0\x40", 12},
        {".fvecs",
         "\3\0\0\0\0\0\x80\x3f\0\0\0\0\0\0\0\x40\3\0\0\0\0\0\x40\x40\0\0\xfe\x42\0\0\xa0\x40", 32},
        {".fbin",
         "\2\0\0\0\3\0\0\0\0\0\x80\x3f\0\0\0\0\0\0\0\x40\0\0\x40\x40\0\0\xfe\x42\0\0\xa0\x40", 32},
        {".npy",
         "\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
         "                                                          \n"
         "\0\0\x80\x3f\0\0\0\0\0\0\0\x40\0\0\x40\x40\0\0\xfe\x42\0\0\xa0\x40",
         152},
    };
    const dotk_vectors vectors = matrix(values, 2, 3);
    char found[256];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(dotk_vectors_save(NULL, named(cases[i].ending), &vectors, DOTK_RAW_NONE));
        FILE *const file = fopen(path, "rb");
        assert_non_null(file);
        assert_int_equal(fread(found, 1, sizeof found, file), cases[i].size);
        fclose(file);
        assert_memory_equal(found, cases[i].bytes, cases[i].size);
    }
}

/* What a file was, it stays, where the new format has that. */
static void
test_default_types(void **state)
{
    static const struct {
        const char *from;
        dotk_raw_type raw;
        const char *to, *type;
    } cases[] = {
        {".bvecs", DOTK_RAW_NONE, ".npy", "u8"},   {".i8bin", DOTK_RAW_NONE, ".npy", "i8"},
        {".f16", DOTK_RAW_F16, ".npy", "f16"},     {".bf16", DOTK_RAW_BF16, ".npy", "f32"},
        {".u8", DOTK_RAW_U8, ".i8bin", "i8"},      {".u8", DOTK_RAW_U8, ".fbin", "f32"},
        {".f16", DOTK_RAW_F16, ".fvecs", "f32"},   {".fbin", DOTK_RAW_NONE, ".npy", "f32"},
        {".fvecs", DOTK_RAW_NONE, ".bvecs", "u8"},
    };
    float *const values = make_values(12);
    const dotk_vectors vectors = matrix(values, 4, 3);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int stream = 0; stream < 2; stream++) {
            const dotk_vectors_options options = options_of(
                cases[i].raw, cases[i].raw != DOTK_RAW_NONE ? 3 : 0, stream != 0);
            dotk_vectors *from, *to;
            assert_ok(dotk_vectors_save(NULL, named(cases[i].from), &vectors, DOTK_RAW_NONE));
            assert_ok(dotk_vectors_open(path, &options, &from));
            assert_ok(dotk_vectors_save(NULL, named(cases[i].to), from, DOTK_RAW_NONE));
            assert_ok(dotk_vectors_open(path, NULL, &to));
            assert_string_equal(to->type, cases[i].type);
            assert_int_equal(to->rows, 4);
            for (size_t row = 0; row < 4; row++)
                assert_memory_equal(to->data + row * to->stride, values + 3 * row,
                                    3 * sizeof(float));
            dotk_vectors_close(to);
            dotk_vectors_close(from);
        }
    }
    free(values);
}

/* .npy keeps the axes; the rest keep rows and dimension. */
static void
test_shape_is_kept(void **state)
{
    float *const values = make_values(24);
    dotk_vectors vectors = matrix(values, 6, 4), *found;

    (void)state;
    vectors.axes = 3;
    memcpy(vectors.shape, ((const size_t[]){2, 3, 4}), 3 * sizeof(size_t));
    assert_ok(dotk_vectors_save(NULL, named(".npy"), &vectors, DOTK_RAW_F16));
    const dotk_vectors_options stream = options_of(DOTK_RAW_NONE, 0, true);
    assert_ok(dotk_vectors_open(path, &stream, &found));
    assert_int_equal(found->axes, 3);
    assert_memory_equal(found->shape, vectors.shape, 3 * sizeof(size_t));
    assert_ok(dotk_vectors_save(NULL, path, found, DOTK_RAW_U8)); /* over itself */
    dotk_vectors_close(found);
    assert_ok(dotk_vectors_open(path, NULL, &found));
    assert_int_equal(found->axes, 3);
    assert_string_equal(found->type, "u8");
    assert_memory_equal(found->data, values, 24 * sizeof(float));
    assert_ok(dotk_vectors_save(NULL, named(".fbin"), found, DOTK_RAW_NONE));
    dotk_vectors_close(found);
    check_saved(6, &vectors);
    free(values);
}

static void
test_nothing_in_it(void **state)
{
    static const char *const endings[] = {".npy", ".fbin", ".u8bin", ".i8bin"};
    static const char *const bare[] = {".fvecs", ".bvecs", ".f32", ".raw"};
    static const size_t shapes[][2] = {{0, 3}, {3, 0}, {0, 0}};
    dotk_vectors *found;

    (void)state;
    for (size_t s = 0; s < 3; s++) {
        const dotk_vectors vectors = matrix(NULL, shapes[s][0], shapes[s][1]);
        for (size_t i = 0; i < 4; i++) {
            assert_ok(dotk_vectors_save(NULL, named(endings[i]), &vectors, DOTK_RAW_NONE));
            assert_ok(dotk_vectors_open(path, NULL, &found));
            assert_int_equal(found->rows, shapes[s][0]);
            assert_int_equal(found->dim, shapes[s][1]);
            dotk_vectors_close(found);
            assert_status(dotk_vectors_save(NULL, named(bare[i]), &vectors, DOTK_RAW_NONE),
                          DOTK_BAD_ARGUMENT);
            assert_message("cannot say that there are");
            assert_int_equal(access(path, F_OK), -1);
        }
    }
}

/* One value of each type at the border, and the next. */
static void
test_values_that_are_refused(void **state)
{
    static const struct {
        dotk_raw_type type;
        float good, bad;
        const char *message;
    } cases[] = {
        {DOTK_RAW_U8, 255, 256, "row 1, column 2 is 256: u8 holds whole numbers from 0 to 255"},
        {DOTK_RAW_U8, 0, -1, "is -1: u8"},
        {DOTK_RAW_U8, 3, 3.0000002f, "is 3.00000024: u8"},
        {DOTK_RAW_U8, -0.0f, 0.5f, "is 0.5: u8"},
        {DOTK_RAW_U8, 1, NAN, "nan: u8"},
        {DOTK_RAW_U8, 1, INFINITY, "is inf: u8"},
        {DOTK_RAW_U8, 1, 3e38f, "is 3.00000001e+38"},
        {DOTK_RAW_I8, 127, 128, "is 128: i8 holds whole numbers from -128 to 127"},
        {DOTK_RAW_I8, -128, -129, "is -129: i8"},
        {DOTK_RAW_I8, -1, -0.125f, "is -0.125"},
        {DOTK_RAW_I8, 0, -INFINITY, "is -inf"},
        {DOTK_RAW_F16, 65519.996f, 65520, "is 65520: f16 holds numbers below 65520"},
        {DOTK_RAW_F16, -INFINITY, -1e5f, "is -100000: f16"},
        {DOTK_RAW_BF16, 0x1.fefffep127f, 0x1.ffp127f, "bf16 holds numbers below"},
        {DOTK_RAW_BF16, NAN, -3.4028235e38f, "bf16"},
    };
    float values[6] = {1, 2, 3, 4, 5, 6};
    const dotk_vectors vectors = matrix(values, 2, 3);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        values[5] = cases[i].good;
        assert_ok(dotk_vectors_save(NULL, named(".raw"), &vectors, cases[i].type));
        const size_t before = files_in_folder();
        struct stat older, newer;
        assert_int_equal(stat(path, &older), 0);
        values[5] = cases[i].bad;
        assert_status(dotk_vectors_save(NULL, path, &vectors, cases[i].type), DOTK_UNSUPPORTED);
        assert_message("row 1, column 2 is ");
        assert_message(cases[i].message);
        assert_message("choose a wider type");
        assert_int_equal(stat(path, &newer), 0);
        assert_true(older.st_ino == newer.st_ino && older.st_size == newer.st_size);
        assert_int_equal(files_in_folder(), before);
    }
}

/* The place is right in a later block too. */
static void
test_place_of_a_refused_value(void **state)
{
    float *const values = make_values((size_t)3 * 70001);
    const dotk_vectors wide = matrix(values, 3, 70001), tall = matrix(values, 70001, 3);

    (void)state;
    values[2 * 70001 + 69999] = 0.25f;
    assert_status(dotk_vectors_save(NULL, named(".u8bin"), &wide, DOTK_RAW_NONE), DOTK_UNSUPPORTED);
    assert_message("row 2, column 69999 is 0.25");
    assert_status(dotk_vectors_save(NULL, named(".bvecs"), &tall, DOTK_RAW_NONE), DOTK_UNSUPPORTED);
    assert_message("row 70000, column 1 is 0.25");
    assert_int_equal(files_in_folder(), 0);
    free(values);
}

static void
test_rounding(void **state)
{
    static const float values[] = {1 + 0x1p-11f, 1 + 0x3p-11f, 0x1p-25f, 0x1.8p-24f, INFINITY, NAN};
    static const uint16_t f16[] = {0x3c00, 0x3c02, 0, 2, 0x7c00, 0x7e00};
    static const uint16_t bf16[] = {0x3f80, 0x3f80, 0x3300, 0x33c0, 0x7f80, 0x7fc0};
    const dotk_vectors vectors = matrix(values, 1, 6);
    uint16_t found[8];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_ok(dotk_vectors_save(NULL, named(i ? ".bf16" : ".f16"), &vectors, DOTK_RAW_NONE));
        FILE *const file = fopen(path, "rb");
        assert_non_null(file);
        assert_int_equal(fread(found, 1, sizeof found, file), 12);
        fclose(file);
        assert_memory_equal(found, i ? bf16 : f16, 12);
    }
}

static void
test_bad_arguments(void **state)
{
    const float one = 1;
    dotk_vectors vectors = matrix(&one, 1, 1);
    static const char *const unknown[] = {"", ".txt", ".npz", ".npy.gz", ".NPY", ".ivecs", ".idx"};
    static const struct {
        const char *ending;
        dotk_raw_type type;
        const char *message;
    } types[] = {
        {".npy", DOTK_RAW_BF16, "type is bf16, and .npy holds f32, f16, u8, i8:"},
        {".fvecs", DOTK_RAW_U8, "type is u8, and .fvecs holds f32: choose another ending"},
        {".bvecs", DOTK_RAW_F32, "type is f32, and .bvecs holds u8:"},
        {".i8bin", DOTK_RAW_U8, "type is u8, and .i8bin holds i8:"},
        {".f16", DOTK_RAW_BF16, "type is bf16, and .f16 holds f16:"},
    };

    (void)state;
    assert_status(dotk_vectors_save(NULL, NULL, &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("path is NULL");
    assert_status(dotk_vectors_save(NULL, named(".npy"), NULL, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("vectors is NULL");
    assert_status(dotk_vectors_save(NULL, path, &vectors, (dotk_raw_type)6), DOTK_BAD_ARGUMENT);
    assert_message("type is 6");
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_status(dotk_vectors_save(NULL, named(unknown[i]), &vectors, DOTK_RAW_NONE),
                      DOTK_BAD_ARGUMENT);
        assert_message("its ending names no format");
    }
    assert_status(dotk_vectors_save(NULL, ".npy", &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_status(dotk_vectors_save(NULL, named(types[i].ending), &vectors, types[i].type),
                      DOTK_BAD_ARGUMENT);
        assert_message(types[i].message);
    }
    named(".npy");
    vectors.axes = 9;
    assert_status(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("axes is 9");
    vectors.axes = 2;
    vectors.shape[0] = vectors.shape[1] = SIZE_MAX;
    assert_status(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("have to agree");
    vectors = matrix(&one, 1, 2);
    vectors.stride = 1;
    assert_status(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("stride is 1: rows are 2 long");
    vectors = matrix(NULL, 1, 1);
    assert_status(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("data is NULL");
    vectors = matrix(&one, SIZE_MAX / 2, 3);
    assert_status(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("overflows");
    vectors = matrix(&one, SIZE_MAX / 4, 1);
    assert_status(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("overflows");
    assert_int_equal(files_in_folder(), 0);
}

/* Sizes that a header has no room for. */
static void
test_sizes_beyond_a_format(void **state)
{
    const float one = 1;
    const dotk_vectors rows = matrix(&one, (size_t)UINT32_MAX + 1, 1);
    const dotk_vectors dim = matrix(&one, 1, (size_t)UINT32_MAX + 1);
    const dotk_vectors row = matrix(&one, 1, (size_t)INT32_MAX + 1);

    (void)state;
    assert_status(dotk_vectors_save(NULL, named(".fbin"), &rows, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("not 4294967296 of 1: use .npy");
    assert_status(dotk_vectors_save(NULL, named(".i8bin"), &dim, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("not 1 of 4294967296");
    assert_status(dotk_vectors_save(NULL, named(".bvecs"), &row, DOTK_RAW_NONE), DOTK_BAD_ARGUMENT);
    assert_message("not 2147483648");
    assert_int_equal(files_in_folder(), 0);
}

static void
test_what_cannot_be_written(void **state)
{
    float *const values = make_values(100000);
    const dotk_vectors vectors = matrix(values, 1000, 100);
    char other[TEST_PATH + 16];

    (void)state;
    assert_status(dotk_vectors_save(NULL, "/no/such/folder/x.npy", &vectors, DOTK_RAW_NONE),
                  DOTK_IO);
    assert_message("/no/such/folder/x.npy: cannot create");
    assert_int_equal(symlink("/dev/full", named(".fbin")), 0);
    assert_status(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE), DOTK_IO);
    assert_message("No space left");
    assert_int_equal(symlink("/dev/null", named(".npy")), 0);
    assert_ok(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_NONE));
    assert_int_equal(files_in_folder(), 2);
    snprintf(other, sizeof other, "%.400s/folder.npy", folder);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_status(dotk_vectors_save(NULL, other, &vectors, DOTK_RAW_NONE), DOTK_IO);
    assert_message("Is a directory");
    free(values);
}

static uint64_t last_done;
static int calls, cancel_at;

static int
count_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    assert_true(done <= total && done >= last_done);
    last_done = done;
    calls++;
    return cancel_at != 0 && calls >= cancel_at;
}

static void
test_progress_and_cancelling(void **state)
{
    float *const values = make_values(500000);
    const dotk_vectors vectors = matrix(values, 5000, 100);
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    (void)state;
    options.threads = 2;
    options.progress = count_progress;
    assert_ok(dotk_context_create(&options, &context));
    calls = cancel_at = 0;
    last_done = 0;
    assert_ok(dotk_vectors_save(context, named(".fbin"), &vectors, DOTK_RAW_NONE));
    assert_true(calls >= 8);
    check_saved(6, &vectors);
    for (cancel_at = 1; cancel_at <= 3; cancel_at++) {
        calls = 0;
        last_done = 0;
        assert_status(dotk_vectors_save(context, named(".u8bin"), &vectors, DOTK_RAW_NONE),
                      DOTK_CANCELLED);
        assert_int_equal(files_in_folder(), 1);
    }
    dotk_context_destroy(context);
    free(values);
}

/* ------------------------------------------------------------------------- */
/*  Files too big for the memory                                             */
/* ------------------------------------------------------------------------- */

static void
test_rows_of_a_stream(void **state)
{
    const dotk_vectors_options stream = options_of(DOTK_RAW_NONE, 0, true);
    float *const values = make_values(70);
    const dotk_vectors saved = matrix(values, 10, 7);
    float out[70];

    (void)state;
    for (size_t i = 0; i < FORMS; i++) {
        const dotk_vectors_options bare = options_of(forms[i].type, 7, true);
        const dotk_vectors_options whole = options_of(forms[i].bare ? forms[i].type : DOTK_RAW_NONE,
                                                      forms[i].bare ? 7 : 0, false);
        dotk_vectors *vectors;
        assert_ok(dotk_vectors_save(NULL, named(forms[i].ending), &saved, forms[i].type));
        for (int streamed = 0; streamed < 2; streamed++) {
            assert_ok(dotk_vectors_open(
                path, !streamed ? &whole : (forms[i].bare ? &bare : &stream), &vectors));
            assert_int_equal(vectors->data == NULL, streamed && forms[i].type != DOTK_RAW_F32);
            assert_int_equal(vectors->mapped, forms[i].type == DOTK_RAW_F32);
            assert_int_equal(vectors->rows, 10);
            assert_int_equal(vectors->dim, 7);
            for (size_t first = 0; first <= 10; first++) {
                for (size_t count = 0; count <= 10 - first; count++) {
                    memset(out, 0xff, sizeof out);
                    assert_ok(dotk_vectors_read(vectors, first, count, out));
                    assert_memory_equal(out, values + 7 * first, 7 * count * sizeof(float));
                    assert_true(count == 10 || isnan(out[7 * count]));
                }
            }
            assert_status(dotk_vectors_read(vectors, 11, 0, out), DOTK_BAD_ARGUMENT);
            assert_status(dotk_vectors_read(vectors, 3, 8, out), DOTK_BAD_ARGUMENT);
            assert_message("first is 3 and count is 8: there are 10 rows");
            assert_status(dotk_vectors_read(vectors, 1, SIZE_MAX, out), DOTK_BAD_ARGUMENT);
            assert_status(dotk_vectors_read(vectors, 0, 1, NULL), DOTK_BAD_ARGUMENT);
            dotk_vectors_close(vectors);
        }
    }
    assert_status(dotk_vectors_read(NULL, 0, 0, out), DOTK_BAD_ARGUMENT);
    assert_message("vectors is NULL");
    free(values);
}

/* Values that cannot be read are found when they are, with their place. */
static void
test_stream_of_f64(void **state)
{
    static const char header[] = "\x93NUMPY\1\0\x76\0{'descr': '<f8', 'fortran_order': False, "
                                 "'shape': (3, 2), }                                          "
                                 "                \n";
    const double values[] = {1, 2, 3, 4, 5, 1e300};
    const dotk_vectors_options stream = options_of(DOTK_RAW_NONE, 0, true);
    dotk_vectors *vectors;
    float out[6];

    (void)state;
    assert_int_equal(sizeof header - 1, 128);
    FILE *const file = fopen(named(".npy"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(header, 1, 128, file), 128);
    assert_int_equal(fwrite(values, 1, sizeof values, file), sizeof values);
    assert_int_equal(fclose(file), 0);
    assert_status(dotk_vectors_open(path, NULL, &vectors), DOTK_UNSUPPORTED);
    assert_ok(dotk_vectors_open(path, &stream, &vectors));
    assert_ok(dotk_vectors_read(vectors, 0, 2, out));
    assert_true(out[3] == 4);
    assert_status(dotk_vectors_read(vectors, 1, 2, out), DOTK_UNSUPPORTED);
    assert_message("x.npy: row 2, column 1 is 1e+300, beyond the range of f32");
    assert_status(dotk_vectors_save(NULL, named(".fbin"), vectors, DOTK_RAW_NONE),
                  DOTK_UNSUPPORTED);
    assert_message("x.npy: row 2, column 1 is 1e+300");
    assert_int_equal(files_in_folder(), 1);
    dotk_vectors_close(vectors);
}

/* The memory asked for does not depend on the file. */
static void
test_memory_is_bounded(void **state)
{
    const dotk_vectors_options stream = options_of(DOTK_RAW_I8, 1 << 23, true);
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    struct test_alloc alloc;
    dotk_context *context;
    dotk_vectors *vectors;
    char from[TEST_PATH];

    (void)state;
    strcpy(from, named(".i8"));
    test_temp_file(path, folder, "x.i8", "", 0);
    assert_int_equal(truncate(path, 1 << 24), 0);
    test_alloc_install(&alloc);
    options.threads = 1;
    assert_ok(dotk_context_create(&options, &context));
    assert_ok(dotk_vectors_open(from, &stream, &vectors));
    assert_true(alloc.most_bytes < 4096);
    assert_ok(dotk_vectors_save(context, named(".f16"), vectors, DOTK_RAW_NONE));
    dotk_vectors_close(vectors);
    dotk_context_destroy(context);
    assert_true(alloc.most_bytes < 2 << 20);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_size, 1 << 25);
}

static dotk_status
save_once(void *user)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    const dotk_vectors_options stream = options_of(DOTK_RAW_U8, 2, true);
    dotk_context *context = NULL;
    dotk_vectors *vectors = NULL;

    unlink(path);
    options.threads = 1;
    dotk_status status = dotk_context_create(&options, &context);
    if (status == DOTK_OK)
        status = dotk_vectors_open(user, &stream, &vectors);
    if (status == DOTK_OK)
        status = dotk_vectors_save(context, path, vectors, DOTK_RAW_NONE);
    dotk_vectors_close(vectors);
    dotk_context_destroy(context);
    if (status != DOTK_OK)
        assert_int_equal(files_in_folder(), 1);
    return status;
}

static void
test_no_memory(void **state)
{
    char from[TEST_PATH];

    (void)state;
    test_temp_file(from, folder, "from.u8", "abcd", 4);
    named(".npy");
    assert_true(test_alloc_fail_each(save_once, from) >= 5);
    assert_int_equal(files_in_folder(), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_form_and_shape, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_strides, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_bytes, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_default_types, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_shape_is_kept, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_in_it, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_values_that_are_refused, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_place_of_a_refused_value, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_rounding, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_arguments, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_sizes_beyond_a_format, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_written, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_progress_and_cancelling, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_rows_of_a_stream, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_stream_of_f64, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_memory_is_bounded, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, temp_set_up, temp_tear_down),
    };
    return cmocka_run_group_tests_name("save", tests, NULL, NULL);
}
