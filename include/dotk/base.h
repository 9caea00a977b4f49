/*
 * dotk/base.h - what every other dotk header relies on
 *
 *     dotk_status .............. how a call ended; dotk_last_message() says why
 *     dotk_allocator ........... where memory comes from
 *     dotk_context ............. threads, progress, cancelling
 *     dotk_store ............... what numbers are stored as
 *     dotk_layout .............. where an array of heads lies
 *     dotk_version ............. of the library that is running
 *
 * Rules stated once, for all headers:
 *
 * Errors    Every function that can fail returns dotk_status. When it is not
 *           DOTK_OK, dotk_last_message() names the argument, its value and the
 *           remedy. A failed call changes no object and leaves outputs
 *           unspecified, unless its comment says otherwise. Handles that a failed
 *           call should have produced are set to NULL. The library never prints,
 *           aborts or exits.
 * Memory    *borrows*: used during the call only (or for as long as stated);
 *           *copies*: free to change after the call; *takes*: now owned by the
 *           callee. Every destroy function accepts NULL.
 * Threads   *pure*: touches only its arguments, call it from anywhere;
 *           *shared-read*: any number of such calls at once on one object;
 *           *shared-write*: also together with those; waits for other such calls;
 *           *exclusive*: no other call on that object at the same time.
 * Options   A struct whose first member is struct_size; zero is the default of
 *           every other member. Start from the *_INIT macro. NULL: all defaults.
 * Shapes    Matrices are row-major. A stride is the distance between the starts
 *           of neighbouring rows in elements (not bytes). 0 stands for "rows
 *           follow each other".
 */
#ifndef DOTK_BASE_H
#define DOTK_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DOTK_API __attribute__((visibility("default")))
#else
#define DOTK_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define DOTK_VERSION_MAJOR 0
#define DOTK_VERSION_MINOR 1
#define DOTK_VERSION_PATCH 0

/* Returns "major.minor.patch" of the library that is running. Threads: pure. */
DOTK_API const char *dotk_version(void);

/* ------------------------------------------------------------------------- */
/*  Errors                                                                   */
/* ------------------------------------------------------------------------- */

typedef enum dotk_status {
#define DOTK_STATUS(name, value, meaning) DOTK_##name = value,
#include <dotk/status.def>
#undef DOTK_STATUS
    DOTK_STATUS_MAX_ = 0x7fffffff
} dotk_status;

/* Returns a short fixed text such as "out of memory". Threads: pure. */
DOTK_API const char *dotk_status_text(dotk_status status);

/*
 * Returns the message of the last call on this thread that failed, "" if none did.
 *
 * Memory:  borrowed; overwritten by the next failing call on the same thread.
 * Threads: pure.
 */
DOTK_API const char *dotk_last_message(void);

/* ------------------------------------------------------------------------- */
/*  Memory                                                                   */
/* ------------------------------------------------------------------------- */

/*
 * Where the library gets its memory. allocate() returns at least 'size' bytes with
 * malloc's alignment, or NULL; release() gets what allocate() returned, never NULL.
 * Both may be called from several threads at once.
 */
typedef struct dotk_allocator {
    void *(*allocate)(void *user, size_t size);
    void (*release)(void *user, void *pointer);
    void *user;
} dotk_allocator;

/*
 * Replaces the allocator of the whole process; NULL restores malloc and free.
 *
 * Memory:  copies *allocator. Blocks are released through the allocator that is set
 *          at that time, so set it once, before anything else is called.
 * Threads: exclusive with every other call into the library.
 * Errors:  DOTK_BAD_ARGUMENT when a hook is NULL.
 */
DOTK_API dotk_status dotk_set_allocator(const dotk_allocator *allocator);

/* ------------------------------------------------------------------------- */
/*  Numbers                                                                  */
/* ------------------------------------------------------------------------- */

/*
 * What the numbers of an array or an index are stored as. All of them are widened to f32 exactly.
 */
typedef enum dotk_store {
    DOTK_STORE_F32 = 0,
    DOTK_STORE_F16 = 1,  /* IEEE half: 11 bits of each number, fewer below 6.1e-5, none below */
                         /* 3e-8, and nothing of 65520 or more                                */
    DOTK_STORE_BF16 = 2, /* the upper half of an f32: 8 bits of each number, whatever its size */
    DOTK_STORE_INT8 = 3  /* whole numbers from -127 to 127, and a scale for each row          */
} dotk_store;

/* Returns "f32", "f16", "bf16" or "int8"; NULL for any other value. Threads: pure. */
DOTK_API const char *dotk_store_name(dotk_store store);

/*
 * Where a (B, H, rows, width) array lies: element strides; the width is contiguous. Set all three,
 * or none: 0 stands for "one after the other", row = width, head = rows * row, batch = heads *
 * head. Some set and another 0 is refused, unless that axis has only one row, head or entry. An
 * array that lies as (B, rows, H, width) has
 *
 *     dotk_layout layout = {.batch = rows * H * width, .head = width, .row = H * width};
 *
 * For a mask or an additive mask 0 has another meaning, "the same for all of that axis":
 * mask_layout and bias_layout in dotk/attention.h.
 */
typedef struct dotk_layout {
    size_t batch, head, row;
} dotk_layout;

/* ------------------------------------------------------------------------- */
/*  Contexts: threads, progress, cancelling                                  */
/* ------------------------------------------------------------------------- */

/*
 * A context owns the threads that calls run on. Threads start with the first call
 * that is big enough to share, and sleep between calls. Results never depend on the
 * number of threads. Every function that takes a context also takes NULL: the call
 * then runs on the calling thread alone.
 */
typedef struct dotk_context dotk_context;

/*
 * Told, on the thread that made the call, how far a long call has come: 'done' of
 * 'total' parts. Returning non-zero cancels the call, which then returns
 * DOTK_CANCELLED within 50 ms.
 */
typedef int dotk_progress(void *user, uint64_t done, uint64_t total);

typedef struct dotk_context_options {
    size_t struct_size;      /* set by DOTK_CONTEXT_OPTIONS_INIT                        */
    uint32_t threads;        /* 0: $DOTK_THREADS if set, else one for each usable CPU   */
    const char *isa;         /* NULL: $DOTK_ISA if set, else the best the CPU has.      */
                             /* "portable", "avx2", "avx512", "avx512vnni",             */
                             /* "avx512bf16", "neon", "neondot": that one.              */
                             /* Copied.                                                 */
    dotk_progress *progress; /* NULL: none                                              */
    void *progress_user;     /* first argument of progress                              */
} dotk_context_options;

#define DOTK_CONTEXT_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(dotk_context_options), 0, NULL, NULL, NULL                                          \
    }

/*
 * Makes a context.
 *
 * Memory:  copies the options; *out is the caller's, release it with
 *          dotk_context_destroy() after everything that was created with it.
 * Threads: pure. One context serves any number of threads at once (shared-read).
 *          After fork() the child may go on using it: its threads start afresh there.
 * Errors:  DOTK_BAD_ARGUMENT (threads above 1024; an ISA this build or this CPU does
 *          not have), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_context_create(const dotk_context_options *options, dotk_context **out);

/* Ends the threads and frees the context. Threads: exclusive. */
DOTK_API void dotk_context_destroy(dotk_context *context);

/* The number of threads that calls may use, the caller's included; NULL: 1. Threads: pure. */
DOTK_API uint32_t dotk_context_threads(const dotk_context *context);

/* The name of the instruction set that calls use; NULL gives the default one. Threads: pure. */
DOTK_API const char *dotk_context_isa(const dotk_context *context);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_BASE_H */
