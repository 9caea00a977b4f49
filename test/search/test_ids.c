/* test_ids.c - ids and positions against a plain array, over random operations */
#include "support.h"

#include "platform/memory.h"
#include "search/ids.h"

enum { STEPS = 20000, MOST = 200, UNIVERSE = 400 };

struct model {
    size_t count;
    int64_t id[MOST];
    bool dead[MOST];
};

static size_t
model_find(const struct model *model, int64_t id)
{
    for (size_t p = 0; p < model->count; p++) {
        if (model->id[p] == id && !model->dead[p])
            return p;
    }
    return DK_IDS_NONE;
}

static size_t
model_present(const struct model *model)
{
    size_t present = 0;

    for (size_t p = 0; p < model->count; p++)
        present += !model->dead[p];
    return present;
}

static void
assert_same(const struct dk_ids *ids, const struct model *model, int64_t probe)
{
    bool ascending = true;

    assert_int_equal(ids->count, model->count);
    assert_int_equal(dk_ids_present(ids), model_present(model));
    for (size_t p = 0; p < model->count; p++) {
        assert_int_equal(dk_ids_at(ids, p), model->id[p]);
        assert_int_equal(dk_ids_is_dead(ids, p), model->dead[p]);
        assert_int_equal(dk_ids_find(ids, model->id[p]), model_find(model, model->id[p]));
        ascending = ascending && (p == 0 || model->id[p - 1] < model->id[p]);
    }
    assert_int_equal(dk_ids_find(ids, probe), model_find(model, probe));
    assert_int_equal(dk_ids_find(ids, -1), DK_IDS_NONE);
    /* It may say "no" where removals have left ascending ids, never wrongly "yes". */
    assert_true(ascending || !dk_ids_ascending(ids));
}

/* Appends up to 8 ids; the status that must come is worked out first. */
static void
append_some(struct dk_ids *ids, struct model *model, int64_t *next, bool given, uint64_t *state)
{
    int64_t wanted[8];
    const size_t n = test_random_below(state, 9);
    dotk_status expected = DOTK_OK;
    bool decided = false;

    if (model->count + n > MOST)
        return;
    for (size_t i = 0; i < n; i++) {
        wanted[i] = given ? (int64_t)test_random_below(state, UNIVERSE) - 1 : (*next)++;
        if (!decided && given) {
            bool twice = false;
            for (size_t j = 0; j < i; j++)
                twice = twice || wanted[j] == wanted[i];
            if (wanted[i] < 0 || twice)
                expected = DOTK_BAD_ARGUMENT;
            else if (model_find(model, wanted[i]) != DK_IDS_NONE)
                expected = DOTK_EXISTS;
            decided = expected != DOTK_OK;
        }
    }
    const bool moves = dk_ids_append_moves(ids, n, given ? wanted : NULL);
    const int64_t *const before = ids->id;
    assert_status(dk_ids_append(ids, n, given ? wanted : NULL), expected);
    assert_true(moves || ids->id == before);
    for (size_t i = 0; expected == DOTK_OK && i < n; i++) {
        model->dead[model->count] = false;
        model->id[model->count++] = wanted[i];
    }
}

static void
remove_some(struct dk_ids *ids, struct model *model, uint64_t *state)
{
    int64_t wanted[8];
    const size_t n = test_random_below(state, 9);
    bool remove[MOST] = {false};
    dotk_status expected = DOTK_OK;
    size_t *positions;

    if (model_present(model) == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        wanted[i] = UNIVERSE + 7 * STEPS;
        while (test_random_below(state, 60) != 0) {
            const size_t p = test_random_below(state, model->count);
            wanted[i] = model->id[p];
            if (!model->dead[p])
                break;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const size_t p = model_find(model, wanted[i]);
        if (p == DK_IDS_NONE)
            expected = DOTK_NOT_FOUND;
        else if (remove[p] && expected == DOTK_OK)
            expected = DOTK_BAD_ARGUMENT;
        if (p != DK_IDS_NONE)
            remove[p] = true;
    }
    assert_status(dk_ids_find_all(ids, n, wanted, &positions), expected);
    if (expected != DOTK_OK) {
        assert_null(positions);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || positions[i - 1] < positions[i]);
        assert_true(remove[positions[i]]);
    }
    assert_ok(dk_ids_remove(ids, n, positions));
    dk_free(positions);
    for (size_t p = 0; p < model->count; p++)
        model->dead[p] = model->dead[p] || remove[p];
}

static void
close_gaps(struct dk_ids *ids, struct model *model)
{
    const size_t dead = model->count - model_present(model);
    size_t *positions, n, kept = 0, gaps = 0;

    assert_true(dk_ids_close_gaps(ids, &positions, &n));
    assert_int_equal(n, dead);
    for (size_t p = 0; p < model->count; p++) {
        if (model->dead[p]) {
            assert_int_equal(positions[gaps++], p);
        } else {
            model->dead[kept] = false;
            model->id[kept++] = model->id[p];
        }
    }
    dk_free(positions);
    model->count = kept;
}

static void
operate(bool given, uint64_t seed)
{
    static struct model model;
    struct dk_ids ids = {0};
    uint64_t state = seed;
    int64_t next = 0;

    model.count = 0;
    for (size_t step = 0; step < STEPS; step++) {
        const size_t phase = step / 2000 % 2; /* mostly growing, mostly shrinking */
        if (test_random_below(&state, 3) >= 1 + phase)
            append_some(&ids, &model, &next, given, &state);
        else
            remove_some(&ids, &model, &state);
        if (test_random_below(&state, 10) == 0)
            close_gaps(&ids, &model);
        if (step % 16 == 0)
            assert_same(&ids, &model, (int64_t)test_random_below(&state, UNIVERSE));
    }
    dk_ids_release(&ids);
}

static void
assigned_ids_follow_the_model(void **unused)
{
    (void)unused;
    operate(false, 1);
}

static void
given_ids_follow_the_model(void **unused)
{
    (void)unused;
    operate(true, 2);
}

static void
the_source_is_fixed_by_the_first_row(void **unused)
{
    const int64_t bad[] = {4, 4}, good[] = {INT64_MAX, 0};
    struct dk_ids ids = {0};

    (void)unused;
    assert_ok(dk_ids_append(&ids, 0, good)); /* no row: nothing decided */
    assert_status(dk_ids_append(&ids, 2, bad), DOTK_BAD_ARGUMENT);
    assert_message("ids[1] is 4, as is ids[0]");
    assert_null(ids.id); /* or positions would not be ids in what follows */
    assert_null(ids.place);
    assert_ok(dk_ids_append(&ids, 2, NULL));
    assert_status(dk_ids_append(&ids, 1, good), DOTK_BAD_ARGUMENT);
    dk_ids_release(&ids);
    assert_ok(dk_ids_append(&ids, 2, good));
    assert_int_equal(dk_ids_find(&ids, INT64_MAX), 0);
    assert_status(dk_ids_append(&ids, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dk_ids_append(&ids, 1, good), DOTK_EXISTS);
    dk_ids_release(&ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assigned_ids_follow_the_model),
        cmocka_unit_test(given_ids_follow_the_model),
        cmocka_unit_test(the_source_is_fixed_by_the_first_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
