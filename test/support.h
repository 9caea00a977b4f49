/*
 * support.h - what the test programs share
 *
 *     test_random_*  ........ seeded random numbers, the same on every machine
 *     test_guarded_*  ....... memory that ends (or starts) at a page nobody may touch
 *     test_alloc_*  ......... an allocator that counts, and fails when it is told to
 *     test_temp_*  .......... temporary files
 *     test_data_path ........ a real data set, or NULL and a line saying that it is skipped
 *     test_dot, test_l2 ..... references in double precision
 *
 * Every helper ends the test program with a message when the system refuses it something.
 */
#ifndef DOTK_TEST_SUPPORT_H
#define DOTK_TEST_SUPPORT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* include this header first */
#endif

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <dotk/base.h>

#if defined(__SANITIZE_THREAD__)
#define TEST_THREAD_SANITIZER 1
#elif defined(__has_feature)
#define TEST_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define TEST_THREAD_SANITIZER 0
#endif

/* Under a sanitizer that replaces malloc, and makes programs slow. */
#if defined(__SANITIZE_ADDRESS__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#define TEST_SANITIZED (TEST_THREAD_SANITIZER || __has_feature(address_sanitizer))
#else
#define TEST_SANITIZED TEST_THREAD_SANITIZER
#endif

/* Run by qemu, whose fork() of a process with threads may stand still for ever. */
#ifndef TEST_EMULATED
#define TEST_EMULATED 0
#endif

static inline void
test_require(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        abort();
    }
}

/* assert_int_equal() of a status, with dotk's message when it is another. */
#define assert_status(call, expected)                                                              \
    do {                                                                                           \
        const dotk_status status_ = (call);                                                        \
        if (status_ != (expected))                                                                 \
            print_error("%s: %s: %s\n", #call, dotk_status_text(status_), dotk_last_message());    \
        assert_int_equal(status_, (expected));                                                     \
    } while (0)

#define assert_ok(call) assert_status(call, DOTK_OK)

/* The last message must contain 'part'. */
#define assert_message(part)                                                                       \
    do {                                                                                           \
        if (strstr(dotk_last_message(), (part)) == NULL)                                           \
            print_error("message \"%s\" lacks \"%s\"\n", dotk_last_message(), (part));             \
        assert_non_null(strstr(dotk_last_message(), (part)));                                      \
    } while (0)

/* Whether a kernel's name ends with 'isa' or what it extends: "avx512" of "avx512vnni". */
static inline bool
test_is_kernel_of(const char *kernel, const char *isa)
{
    const char *const end = strrchr(kernel, '_');

    return end != NULL && end[1] != '\0' && strncmp(isa, end + 1, strlen(end + 1)) == 0;
}

/* ------------------------------------------------------------------------- */
/*  Random numbers (splitmix64: Steele, Lea and Flood 2014)                  */
/* ------------------------------------------------------------------------- */

static inline uint64_t
test_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform in 0 .. bound - 1. */
static inline size_t
test_random_below(uint64_t *state, size_t bound)
{
    return (size_t)(test_random(state) % bound);
}

/* Uniform in [-1, 1), a multiple of 2^-23. */
static inline float
test_random_float(uint64_t *state)
{
    return (float)(int64_t)(test_random(state) >> 40) * 0x1p-23f - 1.0f;
}

static inline void
test_random_floats(uint64_t *state, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = test_random_float(state);
}

/* Normal with mean 0 and variance 1 (Box-Muller). */
static inline double
test_random_normal(uint64_t *state)
{
    const double u = ((double)(test_random(state) >> 11) + 0.5) * 0x1p-53;
    const double v = (double)(test_random(state) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

static inline void
test_random_normals(uint64_t *state, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)test_random_normal(state);
}

/* ------------------------------------------------------------------------- */
/*  Guarded memory                                                           */
/* ------------------------------------------------------------------------- */

struct test_guarded {
    char *pages; /* one page that faults, the usable ones, one page that faults */
    size_t mapped;
};

/*
 * Returns 'bytes' bytes, filled with 0xff (NaN as f32), whose end touches a page that faults
 * (at_end) or whose start does. Release with test_guarded_free().
 */
static inline void *
test_guarded_alloc(struct test_guarded *guarded, size_t bytes, bool at_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t usable = (bytes + page - 1) / page * page;

    guarded->mapped = usable + 2 * page;
    guarded->pages = mmap(NULL, guarded->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    test_require(guarded->pages != MAP_FAILED, "mmap");
    if (usable > 0) {
        test_require(mprotect(guarded->pages + page, usable, PROT_READ | PROT_WRITE) == 0,
                     "mprotect");
        memset(guarded->pages + page, 0xff, usable);
    }
    return guarded->pages + page + (at_end ? usable - bytes : 0);
}

/* 'count' floats that end at a page that faults. */
static inline float *
test_guarded_floats(struct test_guarded *guarded, size_t count)
{
    return test_guarded_alloc(guarded, count * sizeof(float), true);
}

static inline void
test_guarded_free(struct test_guarded *guarded)
{
    test_require(munmap(guarded->pages, guarded->mapped) == 0, "munmap");
    guarded->pages = NULL;
}

/* ------------------------------------------------------------------------- */
/*  An allocator that counts and fails                                       */
/* ------------------------------------------------------------------------- */

/*
 * Set with test_alloc_install(). Fails the request number fail_at (from 1; 0: none), once or
 * for ever after. 'blocks' is what has been allocated and not yet released.
 */
struct test_alloc {
    pthread_mutex_t mutex;
    size_t requests, blocks;
    size_t bytes, most_bytes; /* asked for and not released, now and at most */
    size_t largest;           /* request, failed ones included */
    size_t fail_at;
    bool for_ever;
};

enum { TEST_ALLOC_HEADER = 64 };

static inline void *
test_alloc_allocate(void *user, size_t size)
{
    struct test_alloc *const alloc = user;
    char *block = NULL;

    pthread_mutex_lock(&alloc->mutex);
    const size_t request = ++alloc->requests;
    const bool fail = alloc->fail_at != 0 &&
                      (alloc->for_ever ? request >= alloc->fail_at : request == alloc->fail_at);
    if (size > alloc->largest)
        alloc->largest = size;
    if (!fail && size <= SIZE_MAX - TEST_ALLOC_HEADER)
        block = malloc(size + TEST_ALLOC_HEADER);
    if (block != NULL) {
        memcpy(block, &size, sizeof size);
        block += TEST_ALLOC_HEADER;
        memset(block, 0xff, size < 65536 ? size : 65536); /* nobody may rely on zeros */
        alloc->blocks++;
        alloc->bytes += size;
        if (alloc->bytes > alloc->most_bytes)
            alloc->most_bytes = alloc->bytes;
    }
    pthread_mutex_unlock(&alloc->mutex);
    return block;
}

static inline void
test_alloc_release(void *user, void *pointer)
{
    struct test_alloc *const alloc = user;
    char *const block = (char *)pointer - TEST_ALLOC_HEADER;
    size_t size;

    memcpy(&size, block, sizeof size);
    pthread_mutex_lock(&alloc->mutex);
    alloc->blocks--;
    alloc->bytes -= size;
    pthread_mutex_unlock(&alloc->mutex);
    free(block);
}

/* Makes *alloc the library's allocator, counting from nothing. */
static inline void
test_alloc_install(struct test_alloc *alloc)
{
    *alloc = (struct test_alloc){.mutex = PTHREAD_MUTEX_INITIALIZER};
    const dotk_allocator hooks = {test_alloc_allocate, test_alloc_release, alloc};
    test_require(dotk_set_allocator(&hooks) == DOTK_OK, "dotk_set_allocator");
}

static inline void
test_alloc_remove(void)
{
    test_require(dotk_set_allocator(NULL) == DOTK_OK, "dotk_set_allocator");
}

/*
 * Calls run(user) with the first allocation failing, then the second, and so on until it
 * succeeds. Every failing call must return DOTK_NO_MEMORY, leave a message and leak nothing;
 * run() itself frees what a successful call made, and what it made before the call under test.
 * Scratch that a context keeps would look like a leak: create the context inside run().
 * Returns how many allocations the successful call made.
 */
static inline size_t
test_alloc_fail_each(dotk_status (*run)(void *user), void *user)
{
    size_t allocations = 0;

    for (int for_ever = 0; for_ever < 2; for_ever++) {
        for (size_t fail_at = 1;; fail_at++) {
            struct test_alloc alloc;
            test_alloc_install(&alloc);
            alloc.fail_at = fail_at;
            alloc.for_ever = for_ever != 0;
            const dotk_status status = run(user);
            test_alloc_remove();
            if (alloc.blocks != 0)
                print_error("allocation %zu fails: %zu blocks leak\n", fail_at, alloc.blocks);
            assert_int_equal(alloc.blocks, 0);
            if (alloc.requests < fail_at) { /* nothing failed */
                assert_status(status, DOTK_OK);
                allocations = alloc.requests;
                break;
            }
            /* A failure that only costs speed (scratch to keep, say) may be survived. */
            if (status != DOTK_OK) {
                assert_status(status, DOTK_NO_MEMORY);
                assert_true(dotk_last_message()[0] != '\0');
            }
        }
    }
    return allocations;
}

/* ------------------------------------------------------------------------- */
/*  Files                                                                    */
/* ------------------------------------------------------------------------- */

enum { TEST_PATH = 512 };

/* path = a new empty folder. */
static inline void
test_temp_folder(char path[TEST_PATH])
{
    const char *const base = getenv("TMPDIR");

    snprintf(path, TEST_PATH, "%s/dotk-test-XXXXXX", base != NULL ? base : "/tmp");
    test_require(mkdtemp(path) != NULL, "mkdtemp");
}

/* Removes a folder that has only files in it. */
static inline void
test_temp_remove(const char *path)
{
    char command[TEST_PATH + 16];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    test_require(system(command) == 0, "rm");
}

/* Writes 'size' bytes as folder/name and puts that path into 'path'. */
static inline void
test_temp_file(char path[TEST_PATH], const char *folder, const char *name, const void *bytes,
               size_t size)
{
    const int length = snprintf(path, TEST_PATH, "%s/%s", folder, name);
    test_require(length > 0 && length < TEST_PATH, "path too long");
    FILE *const file = fopen(path, "wb");
    test_require(file != NULL, path);
    test_require(fwrite(bytes, 1, size, file) == size, path);
    test_require(fclose(file) == 0, path);
}

/*
 * Puts the path of a file of the real data sets into 'path' and returns it; NULL, having said
 * so, when it is not there: the test then calls skip(). The folder is $DOTK_DATA.
 */
static inline const char *
test_data_path(char path[TEST_PATH], const char *name)
{
    const char *const folder = getenv("DOTK_DATA");

    if (folder != NULL) {
        snprintf(path, TEST_PATH, "%s/%s", folder, name);
        if (access(path, R_OK) == 0)
            return path;
    }
    print_message("skipped: no data set %s (set DOTK_DATA to their folder)\n", name);
    return NULL;
}

/* ------------------------------------------------------------------------- */
/*  References in double precision                                           */
/* ------------------------------------------------------------------------- */

/* sum a b; *magnitude, unless NULL, gets sum |a b|, which error bounds are stated in. */
static inline double
test_dot(const float *a, const float *b, size_t dim, double *magnitude)
{
    double sum = 0, total = 0;

    for (size_t i = 0; i < dim; i++) {
        sum += (double)a[i] * b[i];
        total += fabs((double)a[i] * b[i]);
    }
    if (magnitude != NULL)
        *magnitude = total;
    return sum;
}

/* sum (a - b)^2 */
static inline double
test_l2(const float *a, const float *b, size_t dim)
{
    double sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum;
}

#endif /* DOTK_TEST_SUPPORT_H */
