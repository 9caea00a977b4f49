/*
 * test_file.c - mappings, and files that appear whole or not at all
 *
 * The system calls that matter are defined here once more, which the linker prefers to libc's:
 * they note their order and fail, or do less than asked, when they are told to.
 */
#include "temp.h"

#include "platform/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>

/* w write, f, F to the disk without and with waiting, s fsync of a file, d of a folder, r rename */
static char trace[64];
static size_t trace_length;
static size_t most_a_write; /* 0: as asked */
static int interrupts;      /* so many writes and fsyncs fail with EINTR first */
static int write_error, flush_error, sync_error, rename_error;
static size_t writes_before_error;

ssize_t write(int file, const void *bytes, size_t size);
int fsync(int file);
int rename(const char *from, const char *to);

static void
note(char what)
{
    if (trace_length < sizeof trace - 1)
        trace[trace_length++] = what;
    trace[trace_length] = '\0';
}

ssize_t
write(int file, const void *bytes, size_t size)
{
    if (file > STDERR_FILENO) {
        if (interrupts > 0) {
            interrupts--;
            errno = EINTR;
            return -1;
        }
        if (write_error != 0 && writes_before_error-- == 0) {
            errno = write_error;
            return -1;
        }
        note('w');
        if (most_a_write != 0 && size > most_a_write)
            size = most_a_write;
    }
    return syscall(SYS_write, file, bytes, size);
}

int
fsync(int file)
{
    struct stat about;

    if (interrupts > 0) {
        interrupts--;
        errno = EINTR;
        return -1;
    }
    if (sync_error != 0) {
        errno = sync_error;
        return -1;
    }
    test_require(fstat(file, &about) == 0, "fstat");
    note(S_ISDIR(about.st_mode) ? 'd' : 's');
    return (int)syscall(SYS_fsync, file);
}

int
sync_file_range(int file, off_t offset, off_t size, unsigned how)
{
    if (flush_error != 0) {
        errno = flush_error;
        return -1;
    }
    note(how == SYNC_FILE_RANGE_WRITE ? 'f' : 'F');
    return (int)syscall(SYS_sync_file_range, file, offset, size, how);
}

int
rename(const char *from, const char *to)
{
    if (rename_error != 0) {
        errno = rename_error;
        return -1;
    }
    note('r');
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static int
set_up(void **state)
{
    trace_length = most_a_write = writes_before_error = 0;
    interrupts = write_error = flush_error = sync_error = rename_error = 0;
    (void)temp_set_up(state);
    test_require(snprintf(path, sizeof path, "%.500s/file", folder) > 0, "snprintf");
    return 0;
}

static void
assert_content(const char *expected)
{
    struct dk_mapping mapping;

    assert_ok(dk_map(path, &mapping));
    assert_int_equal(mapping.size, strlen(expected));
    assert_memory_equal(mapping.bytes, expected, mapping.size);
    dk_unmap(&mapping);
    assert_null(mapping.bytes);
}

static dotk_status
write_text(const char *text)
{
    const struct dk_piece pieces[] = {{text, 3}, {NULL, 0}, {text + 3, strlen(text) - 3}};
    return dk_write_file(path, pieces, 3);
}

static void
test_written_synced_then_renamed(void **state)
{
    (void)state;
    assert_ok(write_text("hello world"));
    assert_string_equal(trace, "wwsrd");
    assert_content("hello world");
    assert_int_equal(files_in_folder(), 1);
}

static void
test_short_and_interrupted_writes(void **state)
{
    (void)state;
    most_a_write = 2;
    interrupts = 3;
    assert_ok(write_text("hello world"));
    assert_content("hello world");
    assert_string_equal(trace, "wwwwwwsrd");
    interrupts = 1;
    const struct dk_piece nothing = {NULL, 0};
    assert_ok(dk_write_file(path, &nothing, 1)); /* interrupts the fsync */
    assert_int_equal(interrupts, 0);
    struct dk_mapping mapping;
    assert_ok(dk_map(path, &mapping));
    assert_null(mapping.bytes);
    assert_int_equal(mapping.size, 0);
    dk_unmap(&mapping);
}

/* Whatever fails: the older file stands, nothing else is left, and the message says why. */
static void
test_failures_leave_the_older_file(void **state)
{
    int *const errors[] = {&write_error, &sync_error, &rename_error};

    (void)state;
    assert_ok(write_text("the older file"));
    for (size_t i = 0; i < 3; i++) {
        for (writes_before_error = 0; writes_before_error < 2; writes_before_error++) {
            const size_t before = writes_before_error;
            *errors[i] = ENOSPC;
            assert_status(write_text("the newer file"), DOTK_IO);
            assert_message(path);
            assert_message("No space left");
            *errors[i] = 0;
            writes_before_error = before;
            assert_content("the older file");
            assert_int_equal(files_in_folder(), 1);
        }
    }
}

static void
test_mode_and_links_are_kept(void **state)
{
    struct stat about;
    char link[TEST_PATH + 8];

    (void)state;
    umask(022);
    assert_ok(write_text("first"));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0644);
    assert_int_equal(chmod(path, 0640), 0);
    snprintf(link, sizeof link, "%s.link", path);
    assert_int_equal(symlink(path, link), 0);
    const struct dk_piece piece = {"second", 6};
    assert_ok(dk_write_file(link, &piece, 1));
    assert_content("second");
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0640);
    assert_int_equal(lstat(link, &about), 0);
    assert_true(S_ISLNK(about.st_mode));
}

static void
test_devices_are_written_to_directly(void **state)
{
    struct stat before, after;

    (void)state;
    assert_int_equal(stat("/dev/null", &before), 0);
    const struct dk_piece piece = {"x", 1};
    assert_ok(dk_write_file("/dev/null", &piece, 1));
    assert_int_equal(stat("/dev/null", &after), 0);
    assert_true(S_ISCHR(after.st_mode) && after.st_ino == before.st_ino);
    assert_status(dk_write_file("/dev/full", &piece, 1), DOTK_IO);
    assert_message("/dev/full: cannot write: No space left");
}

static void
test_bad_targets(void **state)
{
    const struct dk_piece piece = {"x", 1};

    (void)state;
    assert_status(dk_write_file(folder, &piece, 1), DOTK_IO);
    assert_message("Is a directory");
    assert_ok(dk_write_file(path, &piece, 1));
    strcat(path, "/below"); /* a file is no folder */
    assert_status(dk_write_file(path, &piece, 1), DOTK_IO);
    assert_message("Not a directory");
    snprintf(path, sizeof path, "%.400s/no/such/folder", folder);
    assert_status(dk_write_file(path, &piece, 1), DOTK_IO);
    assert_message("No such file or directory");
}

static void
test_what_cannot_be_mapped(void **state)
{
    struct dk_mapping mapping = {"x", 1};

    (void)state;
    assert_status(dk_map(path, &mapping), DOTK_IO);
    assert_message("No such file");
    assert_null(mapping.bytes);
    assert_status(dk_map(folder, &mapping), DOTK_IO);
    assert_message("Is a directory");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_status(dk_map(path, &mapping), DOTK_IO); /* at once: nobody will ever write to it */
    assert_message("pipe or device");
    assert_status(dk_map("/dev/null", &mapping), DOTK_IO);
    assert_message("pipe or device");
}

/* Bit by bit, and given up: the older file stands, and nothing else is left. */
static void
test_given_up(void **state)
{
    struct dk_output output;

    (void)state;
    for (int older = 0; older < 2; older++) {
        if (older)
            assert_ok(write_text("the older file"));
        assert_ok(dk_output_begin(path, &output));
        assert_ok(dk_output_write(&output, "the newer", 9));
        assert_int_equal(files_in_folder(), (size_t)older + 1);
        assert_status(dk_output_end(&output, DOTK_CANCELLED), DOTK_CANCELLED);
        assert_int_equal(files_in_folder(), older);
    }
    assert_content("the older file");
    assert_ok(dk_output_begin("/dev/null", &output));
    assert_ok(dk_output_write(&output, "the newer", 9));
    assert_status(dk_output_end(&output, DOTK_CANCELLED), DOTK_CANCELLED);
}

/* A long file is on its way to the disk before its end; trouble on the way is noticed. */
static void
test_flushed_on_the_way(void **state)
{
    const size_t size = (size_t)32 << 20;
    char *const zeros = calloc(size, 1);
    const struct dk_piece pieces[] = {{zeros, size}, {zeros, size - 1}, {zeros, 2}};

    (void)state;
    assert_non_null(zeros);
    assert_ok(dk_write_file(path, pieces, 3));
    assert_string_equal(trace, "wfwwfFsrd");
    assert_ok(write_text("the older file"));
    flush_error = EIO;
    assert_status(dk_write_file(path, pieces, 3), DOTK_IO);
    assert_message("Input/output error");
    assert_content("the older file");
    assert_int_equal(files_in_folder(), 1);
    flush_error = EINVAL; /* the file system knows no such thing */
    assert_ok(dk_write_file(path, pieces, 1));
    free(zeros);
}

static dotk_status
write_once(void *user)
{
    (void)user;
    return write_text("hello");
}

static void
test_no_memory(void **state)
{
    (void)state;
    assert_int_equal(test_alloc_fail_each(write_once, NULL), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written_synced_then_renamed, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_short_and_interrupted_writes, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_failures_leave_the_older_file, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_mode_and_links_are_kept, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_devices_are_written_to_directly, set_up,
                                        temp_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_targets, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_mapped, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_flushed_on_the_way, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_given_up, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, temp_tear_down),
    };
    return cmocka_run_group_tests_name("platform/file", tests, NULL, NULL);
}
