/*
 * test_cli_convert.c - dotk convert: every format into every other, big files, what is refused,
 * full disks, interruption
 */
#include "faces/spawn.h"

enum { ROWS = 50, DIM = 13 };

static float values[ROWS * DIM]; /* whole numbers from 0 to 127 */

static int
setup(void **state)
{
    uint64_t seed = 3;

    if (folder_setup(state) != 0)
        return -1;
    for (size_t i = 0; i < ROWS * DIM; i++)
        values[i] = (float)test_random_below(&seed, 128);
    save_matrix("base.npy", values, ROWS, DIM);
    return 0;
}

/* The file holds the values of base.npy. */
static void
check_file(const char *path, dotk_raw_type raw, const char *type)
{
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    dotk_vectors *vectors;

    options.raw = raw;
    options.dim = raw != DOTK_RAW_NONE ? DIM : 0;
    assert_ok(dotk_vectors_open(path, &options, &vectors));
    assert_string_equal(vectors->type, type);
    assert_int_equal(vectors->rows, ROWS);
    assert_int_equal(vectors->dim, DIM);
    for (size_t row = 0; row < ROWS; row++)
        assert_memory_equal(vectors->data + row * vectors->stride, values + row * DIM,
                            DIM * sizeof(float));
    dotk_vectors_close(vectors);
}

static void
test_every_format_into_every_other(void **state)
{
    static const struct {
        const char *ending, *type;
        dotk_raw_type raw;
    } formats[] = {
        {".npy", "f32", DOTK_RAW_NONE},   {".fvecs", "f32", DOTK_RAW_NONE},
        {".bvecs", "u8", DOTK_RAW_NONE},  {".fbin", "f32", DOTK_RAW_NONE},
        {".u8bin", "u8", DOTK_RAW_NONE},  {".i8bin", "i8", DOTK_RAW_NONE},
        {".f32", "f32", DOTK_RAW_F32},    {".f16", "f16", DOTK_RAW_F16},
        {".bf16", "bf16", DOTK_RAW_BF16}, {".u8", "u8", DOTK_RAW_U8},
        {".i8", "i8", DOTK_RAW_I8},
    };
    enum { FORMATS = sizeof formats / sizeof formats[0] };

    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        char from[32], raw[64] = "";
        snprintf(from, sizeof from, "from%s", formats[i].ending);
        dotk("convert base.npy %s", from);
        assert_clean();
        assert_string_equal(ran.out, "");
        check_file(from, formats[i].raw, formats[i].type);
        if (formats[i].raw != DOTK_RAW_NONE)
            snprintf(raw, sizeof raw, "--raw %s --dim %d", formats[i].type, DIM);
        for (size_t j = 0; j < FORMATS; j += i == 0 ? 1 : 4) {
            char to[32];
            snprintf(to, sizeof to, "to%s", formats[j].ending);
            dotk("convert %s %s %s", from, to, raw);
            assert_clean();
            const char *const type = strcmp(formats[j].ending, ".npy") != 0 ||
                                             strcmp(formats[i].type, "bf16") == 0
                                         ? formats[j].type
                                         : formats[i].type;
            check_file(to, formats[j].raw, type);
        }
    }
    shell("rm -f from.* to.*");
}

static void
test_types(void **state)
{
    (void)state;
    dotk("convert base.npy half.npy --type f16");
    assert_clean();
    check_file("half.npy", DOTK_RAW_NONE, "f16");
    dotk("convert half.npy whole.npy -t f32");
    assert_clean();
    shell("cmp base.npy whole.npy");
    dotk("convert base.npy signed.npy -t i8");
    assert_clean();
    check_file("signed.npy", DOTK_RAW_NONE, "i8");
    dotk("convert base.npy brain.raw -t bf16");
    assert_clean();
    check_file("brain.raw", DOTK_RAW_BF16, "bf16");
    /* Over itself, through a link, gzipped, and from a pipe. */
    shell("cp base.npy own.npy && ln -s own.npy link.npy && gzip -c base.npy >base.npy.gz");
    dotk("convert link.npy own.npy -t u8");
    assert_clean();
    check_file("link.npy", DOTK_RAW_NONE, "u8");
    dotk("convert base.npy.gz unpacked.fbin");
    assert_clean();
    check_file("unpacked.fbin", DOTK_RAW_NONE, "f32");
    shell("cat base.npy | '" DOTK_CLI "' convert /dev/stdin piped.bvecs");
    check_file("piped.bvecs", DOTK_RAW_NONE, "u8");
    /* And into a pipe, which is not replaced. */
    shell("mkfifo pipe.fbin && { cat pipe.fbin >seen.fbin & '" DOTK_CLI "' convert base.npy "
          "pipe.fbin && wait; } && test -p pipe.fbin");
    check_file("seen.fbin", DOTK_RAW_NONE, "f32");
    shell("ls | grep -v '^base[.]npy$' | xargs rm -f");
}

/* 35,615 rows: the first two bytes are those of gzip. */
static void
test_rows_that_look_like_gzip(void **state)
{
    (void)state;
    shell("head -c 35615 /dev/zero >zeros.u8");
    dotk("convert zeros.u8 zeros.u8bin --raw u8 --dim 1");
    assert_clean();
    dotk("convert zeros.u8bin again.u8");
    assert_clean();
    shell("cmp zeros.u8 again.u8 && gzip -c zeros.u8bin >packed.u8bin.gz");
    dotk("convert packed.u8bin.gz third.u8");
    assert_clean();
    shell("cmp zeros.u8 third.u8 && rm *.u8 *.u8bin *.gz");
}

static void
test_what_is_refused(void **state)
{
    static const struct {
        const char *line;
        int code;
        const char *message;
    } cases[] = {
        {"base.npy out.txt", 2, "out.txt: its ending names no format"},
        {"base.npy out", 2, "its ending names no format"},
        {"base.npy out.npy.gz", 2, "its ending names no format"},
        {"base.npy out.fvecs -t u8", 2, "out.fvecs: type is u8, and .fvecs holds f32"},
        {"base.npy out.npy -t bf16", 2, "type is bf16, and .npy holds f32, f16, u8, i8"},
        {"base.npy out.npy -t f64", 2, "--type is 'f64': it has to be one of f32|f16|bf16|u8|i8"},
        {"base.npy", 2, "it needs IN OUT"},
        {"base.npy out.npy --raw f32", 2, "--raw and --dim go together"},
        {"missing.npy out.npy", 4, "missing.npy: No such file"},
        {"what.bin out.npy", 4, "what.bin: is neither .npy"},
        {"cut.fbin out.npy", 4, "cut.fbin: "},
        {"broken.npy out.u8bin", 4,
         "dotk convert: broken.npy: row 1, column 0 is 0.5: u8 holds whole numbers from 0 to 255 "
         "only: choose a wider type"},
        {"huge.npy out.npy -t f16", 4, "huge.npy: row 0, column 1 is 70000: f16 holds numbers"},
        {"huge.npy out.i8", 4, "huge.npy: row 0, column 1 is 70000: i8 holds whole numbers"},
        {"base.npy nowhere/out.npy", 1, "nowhere/out.npy: cannot create a file beside it: No such"},
        {"base.npy folder.npy", 1, "folder.npy: cannot write: Is a directory"},
        {"base.npy full.npy", 1, "full.npy: cannot write: No space left on device"},
    };

    (void)state;
    save_matrix("broken.npy", (const float[]){1, 2, 0.5f, 3}, 2, 2);
    save_matrix("huge.npy", (const float[]){1, 70000}, 1, 2);
    save_text("what.bin", "bytes");
    shell("mkdir folder.npy && ln -s /dev/full full.npy && printf 12345678901 >cut.fbin");
    const size_t before = count_files();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dotk("convert %s", cases[i].line);
        assert_refused(cases[i].code, cases[i].message);
        assert_int_equal(count_files(), before);
    }
    shell("rm -r folder.npy full.npy broken.npy huge.npy what.bin cut.fbin");
}

/* A disk that is full after a while: the older file stands, and nothing is left beside it. */
static void
test_file_that_may_not_grow(void **state)
{
    (void)state;
    shell("truncate -s 8M zeros.u8");
    save_text("out.npy", "older");
    const size_t before = count_files();
    shell("(ulimit -f 1024; trap '' XFSZ; '" DOTK_CLI "' convert zeros.u8 out.npy --raw u8 "
          "--dim 64 2>message; test $? = 1) && grep -q 'out.npy: cannot write: File too large' "
          "message && rm message && test \"$(cat out.npy)\" = older");
    assert_int_equal(count_files(), before);
    shell("rm out.npy zeros.u8");
}

/* More values than the memory it may use has bytes. */
static void
test_more_than_the_memory(void **state)
{
    (void)state;
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip(); /* a sanitizer's own memory is beyond the limit */
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    shell("truncate -s 48M zeros.i8");
    shell("(ulimit -d 32768; '" DOTK_CLI "' convert zeros.i8 out.f16 --raw i8 --dim 4096)");
    shell("test $(stat -c %s out.f16) = 100663296 && rm out.f16 zeros.i8");
}

/* Stopped in the middle, by either signal: at once, and without debris. */
static void
test_interrupt(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM};
    char *const argv[] = {"dotk", "convert", "many.u8", "many.fvecs", "--raw",
                          "u8",   "--dim",   "3",       NULL};
    static struct terminal terminal;

    (void)state;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    shell("truncate -s 3G many.u8"); /* sparse: 20 GB of .fvecs, were it not stopped */
    save_text("many.fvecs", "older");
    const size_t before = count_files();
    for (size_t i = 0; i < 2; i++) {
        terminal_start(&terminal, true, argv);
        if (!terminal_read(&terminal, "converting ["))
            print_error("ended early: %s\n", terminal.text);
        assert_non_null(strstr(terminal.text, "converting ["));
        assert_int_equal(count_files(), before + 1);
        kill(terminal.child, signals[i]);
        assert_int_equal(terminal_end(&terminal), 130);
        assert_string_equal(terminal.text + terminal.size - 4, "\r\033[K");
        assert_int_equal(count_files(), before);
        shell("test \"$(cat many.fvecs)\" = older");
    }
    shell("rm many.*");
}

static void
test_no_bar_without_a_terminal(void **state)
{
    (void)state;
    shell("truncate -s 3G many.u8");
    dotk("convert many.u8 many.f32 --raw u8 --dim 3 & child=$!; sleep 0.6; kill -INT $child; "
         "kill -TERM $child; wait $child");
    assert_int_equal(ran.code, 130);
    assert_string_equal(ran.err, "");
    assert_string_equal(ran.out, "");
    assert_false(exists("many.f32"));
    shell("rm many.u8");
    assert_int_equal(count_files(), 1);
}

/* Images keep their axes, and become what NumPy calls uint8. */
static void
test_mnist(void **state)
{
    char path[TEST_PATH];
    dotk_vectors *images;

    (void)state;
    if (test_data_path(path, "mnist/t10k-images-idx3-ubyte.gz") == NULL)
        skip();
    dotk("convert '%s' images.npy", path);
    assert_clean();
    assert_ok(dotk_vectors_open("images.npy", NULL, &images));
    assert_int_equal(images->axes, 3);
    assert_int_equal(images->shape[0], 10000);
    assert_int_equal(images->shape[1], 28);
    assert_string_equal(images->type, "u8");
    dotk_vectors_close(images);
    dotk("convert images.npy images.i8");
    assert_refused(4, "images.npy: row 7, column 7 is 185");
    shell("rm images.npy");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_format_into_every_other),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_rows_that_look_like_gzip),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_file_that_may_not_grow),
        cmocka_unit_test(test_more_than_the_memory),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_no_bar_without_a_terminal),
        cmocka_unit_test(test_mnist),
    };

    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
