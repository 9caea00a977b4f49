/*
 * spawn.h - running the dotk command from a test, in a folder of its own
 *
 *     folder_setup, folder_teardown ... cmocka group fixtures: a new folder, and being in it
 *     dotk("knn a.npy b.npy -k 3") .... runs the command through the shell; the answer is in 'ran'
 *     save_f32 ........................ a .npy file
 *     on_terminal ..................... runs the command on a pseudo-terminal
 */
#ifndef DOTK_TEST_FACES_SPAWN_H
#define DOTK_TEST_FACES_SPAWN_H

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <dotk/dotk.h>

static struct {
    int code;
    char *out, *err; /* what it printed, terminated */
    size_t out_size;
} ran;

static char test_folder[TEST_PATH];

static inline int
folder_setup(void **state)
{
    (void)state;
    test_temp_folder(test_folder);
    return chdir(test_folder);
}

static inline int
folder_teardown(void **state)
{
    (void)state;
    free(ran.out);
    free(ran.err);
    test_require(chdir("/") == 0, "chdir");
    test_temp_remove(test_folder);
    return 0;
}

static inline char *
read_whole(const char *path, size_t *size)
{
    FILE *const file = fopen(path, "rb");
    size_t used = 0, room = 4096;
    char *text = malloc(room);

    test_require(file != NULL && text != NULL, path);
    for (size_t got = 1; got > 0; used += got) {
        if (room - used < 2048) {
            room *= 2;
            text = realloc(text, room);
            test_require(text != NULL, "realloc");
        }
        got = fread(text + used, 1, room - used - 1, file);
    }
    fclose(file);
    text[used] = '\0';
    if (size != NULL)
        *size = used;
    return text;
}

/* Where memory is refused a sanitizer says so first, "==1==WARNING: ...", which is not dotk's. */
static inline void
drop_warnings(char *text)
{
    for (char *line = text; strncmp(line, "==", 2) == 0 && strchr(line, '\n') != NULL;) {
        char *const next = strchr(line, '\n') + 1;
        const char *const warning = strstr(line, "Sanitizer failed to allocate");
        if (warning == NULL || warning > next)
            break;
        memmove(line, next, strlen(next) + 1);
    }
}

/* Runs 'dotk ARGUMENTS', which the shell reads; returns its exit code. */
static inline int __attribute__((format(printf, 1, 2))) dotk(const char *format, ...)
{
    char arguments[2048], command[4096];
    va_list list;

    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    snprintf(command, sizeof command, "{ '%s' %s ; } >.out 2>.err", DOTK_CLI, arguments);
    const int status = system(command);
    test_require(status != -1, "system");
    free(ran.out);
    free(ran.err);
    ran.out = read_whole(".out", &ran.out_size);
    ran.err = read_whole(".err", NULL);
    drop_warnings(ran.err);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return ran.code;
}

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            print_error("\"%s\" lacks \"%s\"\n", (text), (part));                                  \
        assert_non_null(strstr((text), (part)));                                                   \
    } while (0)

#define assert_lacks(text, part)                                                                   \
    do {                                                                                           \
        if (strstr((text), (part)) != NULL)                                                        \
            print_error("\"%s\" has \"%s\"\n", (text), (part));                                    \
        assert_null(strstr((text), (part)));                                                       \
    } while (0)

/* The last command succeeded without a message. */
#define assert_clean()                                                                             \
    do {                                                                                           \
        if (ran.code != 0 || ran.err[0] != '\0')                                                   \
            print_error("exit code %d: %s\n", ran.code, ran.err);                                  \
        assert_int_equal(ran.code, 0);                                                             \
        assert_string_equal(ran.err, "");                                                          \
    } while (0)

/* The last command failed with 'exit_code' and a message of one line that has 'part'. */
#define assert_refused(exit_code, part)                                                            \
    do {                                                                                           \
        if (ran.code != (exit_code))                                                               \
            print_error("exit code %d: %s\n", ran.code, ran.err);                                  \
        assert_int_equal(ran.code, (exit_code));                                                   \
        assert_contains(ran.err, (part));                                                          \
        assert_true(strncmp(ran.err, "dotk", 4) == 0);                                             \
        assert_ptr_equal(strchr(ran.err, '\n'), ran.err + strlen(ran.err) - 1);                    \
    } while (0)

/* What the last command printed, as JSON. */
static inline json_t *
ran_json(void)
{
    json_error_t error;
    json_t *const json = json_loads(ran.out, 0, &error);

    if (json == NULL)
        print_error("not JSON: %s in \"%s\"\n", error.text, ran.out);
    assert_non_null(json);
    assert_non_null(json_string_value(json_object_get(json, "schema")));
    return json;
}

static inline bool
exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* How many files the folder has besides .out and .err. */
static inline size_t
count_files(void)
{
    FILE *const list = popen("ls -A | grep -v -e '^[.]out$' -e '^[.]err$' | wc -l", "r");
    size_t count = 0;

    test_require(list != NULL && fscanf(list, "%zu", &count) == 1, "ls");
    pclose(list);
    return count;
}

/* axes: sizes that end with 0 are not needed; shape (rows, dim), (heads, rows, dim), ... */
static inline void
save_f32(const char *path, const float *data, size_t axes, const size_t *shape)
{
    assert_ok(dotk_npy_save(path, DOTK_NPY_F32, data, axes, shape));
}

static inline void
save_matrix(const char *path, const float *data, size_t rows, size_t dim)
{
    save_f32(path, data, 2, (const size_t[]){rows, dim});
}

static inline void
save_text(const char *path, const char *text)
{
    FILE *const file = fopen(path, "w");
    test_require(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, path);
}

static inline void
shell(const char *command)
{
    test_require(system(command) == 0, command);
}

/* ------------------------------------------------------------------------- */
/*  Terminals                                                                */
/* ------------------------------------------------------------------------- */

struct terminal {
    pid_t child;
    int side; /* ours */
    char text[1 << 16];
    size_t size;
};

/*
 * Starts the command; both outputs go to the terminal, or only stderr. Skips the test, saying so,
 * on a machine that has no pseudo-terminals (a container without /dev/pts, say).
 */
static inline void
terminal_start(struct terminal *terminal, bool out_too, char *const argv[])
{
    terminal->size = 0;
    terminal->text[0] = '\0';
    terminal->side = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal->side < 0) {
        print_message("skipped: no pseudo-terminal on this machine\n");
        skip();
    }
    test_require(grantpt(terminal->side) == 0 && unlockpt(terminal->side) == 0, "grantpt");
    terminal->child = fork();
    test_require(terminal->child >= 0, "fork");
    if (terminal->child == 0) {
        const int other = open(ptsname(terminal->side), O_RDWR | O_NOCTTY);
        const int null = open("/dev/null", O_WRONLY);
        dup2(out_too ? other : null, STDOUT_FILENO);
        dup2(other, STDERR_FILENO);
        execv(DOTK_CLI, argv);
        _exit(99);
    }
}

/* Reads until 'part' has come or the command has ended; false in the second case. */
static inline bool
terminal_read(struct terminal *terminal, const char *part)
{
    for (;;) {
        if (part != NULL && strstr(terminal->text, part) != NULL)
            return true;
        struct pollfd wait = {terminal->side, POLLIN, 0};
        const int ready = poll(&wait, 1, 20);
        if (ready > 0 && (wait.revents & POLLIN) != 0) {
            char bytes[4096];
            const ssize_t got = read(terminal->side, bytes, sizeof bytes);
            if (got <= 0)
                return false;
            if (terminal->size + (size_t)got < sizeof terminal->text) {
                memcpy(terminal->text + terminal->size, bytes, (size_t)got);
                terminal->size += (size_t)got;
                terminal->text[terminal->size] = '\0';
            }
        } else if (ready > 0) {
            return false; /* the other side is closed: the command has ended */
        }
    }
}

static inline int
terminal_end(struct terminal *terminal)
{
    int status;

    terminal_read(terminal, NULL);
    test_require(waitpid(terminal->child, &status, 0) == terminal->child, "waitpid");
    close(terminal->side);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif /* DOTK_TEST_FACES_SPAWN_H */
