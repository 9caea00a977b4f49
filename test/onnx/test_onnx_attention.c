/*
 * test_onnx_attention.c - ONNX's Attention by dotk_attention_forward()
 *
 * Arguments are passed as they lie: 3-D inputs (B, L, H * D) by strides, masks by strides of 0.
 * Keys of the past are put before the new ones, and a mask that is narrower than the keys is
 * padded with "does not count", as the operator's definition has it.
 *
 * Tolerances: f32 |got - want| <= 2e-6 max |V| (dotk/attention.h), and 2e-6 times the largest score
 * for scores; f16 rtol 2^-9, since the reference rounds scores, weights and output to f16.
 */
#include "cases.h"

#include <dotk/attention.h>

/* The inputs of the operator, by place. */
enum { QUERY, KEY, VALUE, MASK, PAST_KEY, PAST_VALUE, KEY_LENGTHS };
/* And its outputs. */
enum { OUT, PRESENT_KEY, PRESENT_VALUE, SCORES };

/* A (B, H, rows, width) array, of f32 or of f16 as it lay. */
struct array {
    void *at;
    size_t batch, heads, rows, width;
    dotk_layout layout;
};

static void *
copy_of(const struct onnx_tensor *tensor)
{
    if (tensor->type == ONNX_F32)
        return onnx_floats(tensor);
    assert_int_equal(tensor->type, ONNX_F16);
    void *const out = malloc(2 * tensor->count + 1);
    assert_non_null(out);
    memcpy(out, tensor->bytes, 2 * tensor->count);
    return out;
}

/* 4-D inputs say how many heads there are, 3-D ones leave it to an attribute. */
static struct array
read_array(const struct onnx_tensor *tensor, int64_t heads)
{
    struct array out = {.at = copy_of(tensor), .batch = tensor->dims[0]};

    if (tensor->axes == 4) {
        out.heads = tensor->dims[1];
        out.rows = tensor->dims[2];
        out.width = tensor->dims[3];
        out.layout = (dotk_layout){out.heads * out.rows * out.width, out.rows * out.width,
                                   out.width};
        return out;
    }
    assert_int_equal(tensor->axes, 3);
    assert_true(heads > 0 && tensor->dims[2] % (size_t)heads == 0);
    out.heads = (size_t)heads;
    out.rows = tensor->dims[1];
    out.width = tensor->dims[2] / out.heads;
    out.layout = (dotk_layout){out.rows * tensor->dims[2], out.width, tensor->dims[2]};
    return out;
}

/* 'past', (B, G, P, width), before the rows of 'array'; both f32. */
static void
prepend(struct array *array, const struct onnx_tensor *past)
{
    const size_t before = past->dims[2], rows = before + array->rows, width = array->width;
    float *const old = onnx_floats(past), *const from = array->at;
    float *const out = malloc(array->batch * array->heads * rows * width * sizeof *out + 1);

    assert_true(out != NULL && past->type == ONNX_F32 && past->axes == 4);
    for (size_t b = 0; b < array->batch; b++) {
        for (size_t h = 0; h < array->heads; h++) {
            float *const to = out + (b * array->heads + h) * rows * width;
            memcpy(to, old + (b * array->heads + h) * before * width, before * width * sizeof *to);
            for (size_t r = 0; r < array->rows; r++)
                memcpy(to + (before + r) * width,
                       from + b * array->layout.batch + h * array->layout.head +
                           r * array->layout.row,
                       width * sizeof *to);
        }
    }
    free(old);
    free(array->at);
    array->at = out;
    array->rows = rows;
    array->layout = (dotk_layout){array->heads * rows * width, rows * width, width};
}

static size_t scores_checked; /* cases that have an output of scores */

/* What one case comes to. */
struct call {
    dotk_attention_shape shape;
    dotk_attention_options options;
    struct array q, k, v;
    void *mask; /* bytes or floats: what options points to */
    size_t *key_lengths;
    size_t past;
};

/* The mask, its last axis widened to the keys, with strides of 0 where it is to be repeated. */
static void
read_mask(const struct onnx_tensor *mask, struct call *call)
{
    const size_t keys = call->shape.keys, wide = mask->dims[mask->axes - 1];
    const size_t lines = mask->count / wide;
    const bool is_bool = mask->type == ONNX_BOOL;
    uint8_t *const bytes = malloc(lines * keys + 1);
    float *const floats = malloc(lines * keys * sizeof *floats + 1);
    dotk_layout layout = {0, 0, 0};
    size_t stride = keys;

    assert_true(bytes != NULL && floats != NULL && wide <= keys && mask->axes >= 2);
    for (size_t i = 0; i < lines * keys; i++) {
        const bool is_there = i % keys < wide;
        const size_t from = i / keys * wide + i % keys;
        bytes[i] = is_there && is_bool && onnx_value(mask, from) != 0;
        floats[i] = is_there ? (float)onnx_value(mask, from) : -INFINITY;
    }
    size_t *const strides[] = {&layout.row, &layout.head, &layout.batch};
    for (size_t axis = 1; axis < mask->axes; axis++) { /* from the last but one to the first */
        const size_t dim = mask->dims[mask->axes - 1 - axis];
        *strides[axis - 1] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    call->mask = is_bool ? (void *)bytes : floats;
    free(is_bool ? (void *)floats : bytes);
    if (is_bool) {
        call->options.mask = call->mask;
        call->options.mask_layout = layout;
    } else {
        call->options.bias = call->mask;
        call->options.bias_layout = layout;
    }
}

static struct call
read_call(const struct onnx_case *c)
{
    const struct onnx_node *const node = &c->node;
    struct call call = {.options = DOTK_ATTENTION_OPTIONS_INIT};
    dotk_attention_options *const options = &call.options;

    assert_string_equal(node->operator, "Attention");
    call.q = read_array(c->input[QUERY], onnx_integer(node, "q_num_heads", 0));
    call.k = read_array(c->input[KEY], onnx_integer(node, "kv_num_heads", 0));
    call.v = read_array(c->input[VALUE], onnx_integer(node, "kv_num_heads", 0));
    if (c->input[PAST_KEY] != NULL) {
        call.past = c->input[PAST_KEY]->dims[2];
        prepend(&call.k, c->input[PAST_KEY]);
        prepend(&call.v, c->input[PAST_VALUE]);
    }
    call.shape = (dotk_attention_shape){
        .batch = call.q.batch,
        .heads = call.q.heads,
        .queries = call.q.rows,
        .keys = call.k.rows,
        .width = call.q.width,
        .value_width = call.v.width,
        .key_heads = call.k.heads,
    };
    options->store = c->input[QUERY]->type == ONNX_F16 ? DOTK_STORE_F16 : DOTK_STORE_F32;
    options->query = call.q.layout;
    options->key = call.k.layout;
    options->value = call.v.layout;
    if (c->output[OUT]->axes == 3) { /* (B, L, H * E) */
        const size_t row = call.q.heads * call.v.width;
        options->output = (dotk_layout){call.q.rows * row, call.v.width, row};
    }
    options->has_scale = onnx_attribute(node, "scale") != NULL;
    options->scale = onnx_number(node, "scale", 0);
    options->softcap = onnx_number(node, "softcap", 0);
    options->causal = onnx_integer(node, "is_causal", 0) != 0;
    options->query_offset = (int64_t)call.past;
    if (c->input[MASK] != NULL)
        read_mask(c->input[MASK], &call);
    if (c->input[KEY_LENGTHS] != NULL) {
        call.key_lengths = malloc(call.shape.batch * sizeof *call.key_lengths);
        assert_non_null(call.key_lengths);
        for (size_t b = 0; b < call.shape.batch; b++)
            call.key_lengths[b] = (size_t)onnx_value(c->input[KEY_LENGTHS], b);
        options->key_lengths = call.key_lengths;
    }
    return call;
}

static void
free_call(struct call *call)
{
    free(call->q.at);
    free(call->k.at);
    free(call->v.at);
    free(call->mask);
    free(call->key_lengths);
}

static double
largest(const struct onnx_tensor *tensor)
{
    double most = 0;

    for (size_t i = 0; i < tensor->count; i++)
        most = fmax(most, isinf(onnx_value(tensor, i)) ? 0 : fabs(onnx_value(tensor, i)));
    return most;
}

/* Compares f16 or f32 numbers, as the call stored them, with a case's. */
static void
expect(const struct onnx_case *c, const struct onnx_tensor *want, const void *got, double most)
{
    float *const floats = malloc(want->count * sizeof *floats + 1);

    assert_non_null(floats);
    if (want->type == ONNX_F16) {
        struct onnx_tensor as = *want;
        as.bytes = got;
        for (size_t i = 0; i < want->count; i++)
            floats[i] = (float)onnx_value(&as, i);
        onnx_expect(c, want, floats, 0x1p-9, 0x1p-9 * most);
    } else {
        memcpy(floats, got, want->count * sizeof *floats);
        onnx_expect(c, want, floats, 0, 2e-6 * most);
    }
    free(floats);
}

/* The modes of qk_matmul_output_mode are the stages of dotk_attention_scores(), and 3 the weights.
 */
static void
check_scores(const struct onnx_case *c, const struct call *call)
{
    const struct onnx_tensor *const want = c->output[SCORES];
    const int64_t mode = onnx_integer(&c->node, "qk_matmul_output_mode", 0);
    float *const scores = malloc(want->count * sizeof *scores + 1);

    assert_non_null(scores);
    assert_int_equal(want->count, call->shape.batch * call->shape.heads * call->shape.queries *
                                      call->shape.keys);
    if (mode == 3)
        assert_ok(dotk_attention_weights(NULL, &call->shape, call->q.at, call->k.at, &call->options,
                                         0, scores));
    else
        assert_ok(dotk_attention_scores(NULL, &call->shape, call->q.at, call->k.at, &call->options,
                                        (dotk_attention_stage)mode, scores));
    if (want->type == ONNX_F16)
        onnx_expect(c, want, scores, 0x1p-9, 0x1p-9 * largest(want));
    else
        onnx_expect(c, want, scores, 0, 2e-6 * largest(want));
    scores_checked++;
    free(scores);
}

static void
run_attention(const struct onnx_case *c)
{
    struct call call = read_call(c);
    const struct onnx_tensor *const y = c->output[OUT];
    void *const out = malloc(y->count * sizeof(float) + 1);

    assert_non_null(out);
    assert_ok(dotk_attention_forward(NULL, &call.shape, call.q.at, call.k.at, call.v.at,
                                     &call.options, out, NULL));
    expect(c, y, out, largest(c->input[VALUE]));
    if (c->output[PRESENT_KEY] != NULL) {
        expect(c, c->output[PRESENT_KEY], call.k.at, 0);
        expect(c, c->output[PRESENT_VALUE], call.v.at, 0);
    }
    if (c->output[SCORES] != NULL)
        check_scores(c, &call);
    free(out);
    free_call(&call);
}

static void
test_attention(void **state)
{
    (void)state;
    onnx_run("test_attention_", 44, run_attention);
    assert_int_equal(scores_checked, 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
