/*
 * test_cli_questions.c - dotk grep answers questions about this repository's own documents
 *
 * test/text/questions.tsv has questions as somebody would ask them, and where the answer stands. A
 * question shares at most one stem with the passage that answers it, so what finds that passage is
 * more than equal words.
 */
#include "faces/spawn.h"

#include <dotk/text.h>

#include "text/terms.h"

enum { MOST_QUESTIONS = 40, QUESTIONS = 20, LEAST_RIGHT = 12 };

static struct question {
    const char *text, *file, *words;
} questions[MOST_QUESTIONS];
static size_t question_count;

static int
setup(void **state)
{
    char *line = read_whole(DOTK_SOURCE "/test/text/questions.tsv", NULL), *next;

    for (; *line != '\0'; line = next) {
        next = line + strcspn(line, "\n");
        if (*next != '\0')
            *next++ = '\0';
        if (*line == '#')
            continue;
        test_require(question_count < MOST_QUESTIONS, "questions.tsv: too many");
        struct question *const q = &questions[question_count++];
        q->text = strtok(line, "\t");
        q->file = strtok(NULL, "\t");
        q->words = strtok(NULL, "\t");
        test_require(q->words != NULL, "questions.tsv: three columns");
    }
    return folder_setup(state);
}

/* Whether the words stand in the text, where a line may end between two of them. */
static bool
has_words(const char *text, size_t size, const char *words)
{
    for (size_t begin = 0; begin < size; begin++) {
        size_t at = begin;
        const char *word = words;
        while (at < size && *word != '\0' &&
               (text[at] == *word || (*word == ' ' && text[at] == '\n'))) {
            at++;
            word++;
        }
        if (*word == '\0')
            return true;
    }
    return false;
}

/* How many distinct stems of the question stand in the text. */
static size_t
shared_stems(const char *question, const char *text, size_t size)
{
    static struct dk_terms asked, found;
    struct dk_run run = {0};
    uint64_t shared[64];
    size_t count = 0;

    while (dk_run_next(question, strlen(question), run.end, &run)) {
        dk_run_terms(question + run.begin, run.end - run.begin, false, &asked);
        for (size_t i = 0; i < asked.count; i++) {
            struct dk_run other = {0};
            bool is_shared = false;
            while (!is_shared && dk_run_next(text, size, other.end, &other)) {
                dk_run_terms(text + other.begin, other.end - other.begin, false, &found);
                for (size_t j = 0; j < found.count; j++)
                    is_shared = is_shared || found.term[j].hash == asked.term[i].hash;
            }
            for (size_t j = 0; j < count; j++)
                is_shared = is_shared && shared[j] != asked.term[i].hash;
            if (is_shared)
                shared[count++] = asked.term[i].hash;
        }
    }
    return count;
}

static void
share_at_most_one_stem(void **state)
{
    (void)state;
    assert_int_equal(question_count, QUESTIONS);
    for (size_t i = 0; i < question_count; i++) {
        const struct question *const q = &questions[i];
        char path[4096];
        size_t size, answers = 0;
        snprintf(path, sizeof path, "%s/%s", DOTK_SOURCE, q->file);
        char *const text = read_whole(path, &size);
        dotk_passages *passages;
        assert_ok(dotk_passages_cut(text, size, DOTK_TEXT_MARKDOWN, &passages));
        for (size_t j = 0; j < passages->count; j++) {
            const dotk_passage *const p = &passages->items[j];
            if (!has_words(text + p->begin, p->end - p->begin, q->words))
                continue;
            answers++;
            const size_t shared = shared_stems(q->text, text + p->begin, p->end - p->begin);
            if (shared > 1)
                print_error("\"%s\" shares %zu stems with its answer\n", q->text, shared);
            assert_true(shared <= 1);
        }
        if (answers == 0)
            print_error("%s: no passage has \"%s\"\n", q->file, q->words);
        assert_true(answers > 0);
        dotk_passages_destroy(passages);
        free(text);
    }
}

static void
answers_come_first(void **state)
{
    size_t right = 0;
    (void)state;
    for (size_t i = 0; i < question_count; i++) {
        const struct question *const q = &questions[i];
        dotk("grep --json -k 1 \"%s\" '%s/README.md' '%s/ARCHITECTURE.md' '%s/CONTRIBUTING.md' "
             "'%s/doc'",
             q->text, DOTK_SOURCE, DOTK_SOURCE, DOTK_SOURCE, DOTK_SOURCE);
        assert_clean();
        json_t *const json = ran_json();
        const json_t *const result = json_array_get(json_object_get(json, "results"), 0);
        const json_t *const hit = json_array_get(json_object_get(result, "hits"), 0);
        const char *const text = json_string_value(json_object_get(hit, "text"));
        const char *const path = json_string_value(
            json_object_get(json_object_get(hit, "source"), "path"));
        const bool is_right = has_words(text, strlen(text), q->words) &&
                              strcmp(path + strlen(DOTK_SOURCE) + 1, q->file) == 0;
        right += is_right;
        if (!is_right)
            print_message(
                "not first: \"%s\", but %s:%d\n", q->text, path,
                (int)json_integer_value(json_object_get(json_object_get(hit, "source"), "line")));
        json_decref(json);
    }
    print_message("%zu of %zu questions have their answer first\n", right, question_count);
    assert_true(right >= LEAST_RIGHT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(share_at_most_one_stem),
        cmocka_unit_test(answers_come_first),
    };
    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
