/*
 * onnx.h - the conformance cases of ONNX: a model of one node, its inputs and its outputs
 *
 * Reads as much of ModelProto and TensorProto (onnx/onnx.proto) as the cases use, and refuses the
 * rest: values lie in raw_data, the graph is one node without initializers, attributes are a
 * number or a text. onnx_tensor_parse() and onnx_node_parse() take any bytes.
 */
#ifndef DOTK_TEST_ONNX_ONNX_H
#define DOTK_TEST_ONNX_ONNX_H

#include "support.h"

#include "protobuf.h"

enum { ONNX_AXES = 8, ONNX_NAME = 64, ONNX_ARGUMENTS = 8, ONNX_ATTRIBUTES = 8 };

/* TensorProto.DataType */
enum onnx_type {
    ONNX_F32 = 1,
    ONNX_U8 = 2,
    ONNX_I32 = 6,
    ONNX_I64 = 7,
    ONNX_BOOL = 9,
    ONNX_F16 = 10,
    ONNX_F64 = 11,
    ONNX_BF16 = 16
};

struct onnx_tensor {
    char name[ONNX_NAME];
    enum onnx_type type;
    size_t axes, dims[ONNX_AXES];
    size_t count;         /* of values: the product of dims */
    const uint8_t *bytes; /* the values, in the bytes that were parsed */
};

struct onnx_attribute {
    char name[ONNX_NAME], text[ONNX_NAME];
    float number;
    int64_t integer;
};

/* Names that are left out are "". */
struct onnx_node {
    char operator[ONNX_NAME];
    size_t inputs, outputs, attributes;
    char input[ONNX_ARGUMENTS][ONNX_NAME], output[ONNX_ARGUMENTS][ONNX_NAME];
    struct onnx_attribute attribute[ONNX_ATTRIBUTES];
};

/* Bytes of a value; 0 for a type that is not read. */
static inline size_t
onnx_size(enum onnx_type type)
{
    switch (type) {
    case ONNX_F64:
    case ONNX_I64: return 8;
    case ONNX_F32:
    case ONNX_I32: return 4;
    case ONNX_F16:
    case ONNX_BF16: return 2;
    case ONNX_U8:
    case ONNX_BOOL: return 1;
    }
    return 0;
}

/* ------------------------------------------------------------------------- */
/*  Tensors                                                                  */
/* ------------------------------------------------------------------------- */

static inline bool
onnx_add_dim(struct onnx_tensor *tensor, uint64_t dim)
{
    if (tensor->axes == ONNX_AXES || dim > SIZE_MAX)
        return false;
    tensor->dims[tensor->axes++] = (size_t)dim;
    return !__builtin_mul_overflow(tensor->count, (size_t)dim, &tensor->count);
}

/* Packed or one by one, as either kind of writer does it. */
static inline bool
onnx_add_dims(struct onnx_tensor *tensor, struct pb_field *field)
{
    uint64_t dim;

    if (field->wire == PB_VARINT)
        return onnx_add_dim(tensor, field->value);
    if (field->wire != PB_BYTES)
        return false;
    while (field->bytes.at < field->bytes.end) {
        if (!pb_varint(&field->bytes, &dim) || !onnx_add_dim(tensor, dim))
            return false;
    }
    return true;
}

/* False for bytes that are no TensorProto, or one with something that no case has. */
static inline bool
onnx_tensor_parse(const uint8_t *bytes, size_t size, struct onnx_tensor *out)
{
    struct pb message = {bytes, bytes + size};
    struct pb_field field;
    size_t raw = 0, needed;

    *out = (struct onnx_tensor){.count = 1};
    while (message.at < message.end) {
        if (!pb_next(&message, &field))
            return false;
        switch (field.number) {
        case 1:
            if (!onnx_add_dims(out, &field))
                return false;
            break;
        case 2:
            if (field.wire != PB_VARINT || field.value > 64)
                return false;
            out->type = (enum onnx_type)field.value;
            break;
        case 8:
            if (field.wire != PB_BYTES || !pb_text(&field.bytes, out->name, ONNX_NAME))
                return false;
            break;
        case 9:
            if (field.wire != PB_BYTES)
                return false;
            out->bytes = field.bytes.at;
            raw = (size_t)(field.bytes.end - field.bytes.at);
            break;
        case 12: break; /* doc_string */
        default: return false;
        }
    }
    return onnx_size(out->type) != 0 && out->bytes != NULL &&
           !__builtin_mul_overflow(out->count, onnx_size(out->type), &needed) && needed == raw;
}

static inline double
onnx_half(uint16_t bits)
{
    const int exponent = bits >> 10 & 31;
    const double fraction = bits & 1023;
    const double size = exponent == 0    ? ldexp(fraction, -24)
                        : exponent != 31 ? ldexp(fraction + 1024, exponent - 25)
                        : fraction == 0  ? (double)INFINITY
                                         : (double)NAN;
    return bits & 0x8000 ? -size : size;
}

/* Value number i; exact for every type but integers beyond 2^53. */
static inline double
onnx_value(const struct onnx_tensor *tensor, size_t i)
{
    const size_t size = onnx_size(tensor->type);
    const struct pb at = {tensor->bytes + i * size, tensor->bytes + (i + 1) * size};
    struct pb from = at;
    uint64_t bits = 0;
    float f32;
    double f64;

    (void)pb_fixed(&from, size, &bits);
    const uint32_t low = (uint32_t)(tensor->type == ONNX_BF16 ? bits << 16 : bits);
    memcpy(&f32, &low, sizeof f32);
    memcpy(&f64, &bits, sizeof f64);
    switch (tensor->type) {
    case ONNX_F32:
    case ONNX_BF16: return f32;
    case ONNX_F64: return f64;
    case ONNX_F16: return onnx_half((uint16_t)bits);
    case ONNX_I64: return (double)(int64_t)bits;
    case ONNX_I32: return (int32_t)bits;
    case ONNX_U8: return (double)bits;
    case ONNX_BOOL: return bits != 0;
    }
    return NAN;
}

/* All of them as f32, the caller's to free(). */
static inline float *
onnx_floats(const struct onnx_tensor *tensor)
{
    float *const out = malloc(tensor->count * sizeof *out + 1);

    test_require(out != NULL, "malloc");
    for (size_t i = 0; i < tensor->count; i++)
        out[i] = (float)onnx_value(tensor, i);
    return out;
}

/* ------------------------------------------------------------------------- */
/*  Nodes                                                                    */
/* ------------------------------------------------------------------------- */

static inline bool
onnx_attribute_parse(struct pb message, struct onnx_attribute *out)
{
    struct pb_field field;
    uint32_t bits;

    *out = (struct onnx_attribute){.number = 0};
    while (message.at < message.end) {
        if (!pb_next(&message, &field))
            return false;
        switch (field.number) {
        case 1:
            if (field.wire != PB_BYTES || !pb_text(&field.bytes, out->name, ONNX_NAME))
                return false;
            break;
        case 2:
            if (field.wire != PB_4_BYTES)
                return false;
            bits = (uint32_t)field.value;
            memcpy(&out->number, &bits, sizeof bits);
            break;
        case 3:
            if (field.wire != PB_VARINT)
                return false;
            out->integer = (int64_t)field.value;
            break;
        case 4:
            if (field.wire != PB_BYTES || !pb_text(&field.bytes, out->text, ONNX_NAME))
                return false;
            break;
        case 20: break; /* which of them it is */
        default: return false;
        }
    }
    return true;
}

static inline bool
onnx_node_fields(struct pb message, struct onnx_node *out)
{
    struct pb_field field;

    while (message.at < message.end) {
        if (!pb_next(&message, &field) || field.wire != PB_BYTES)
            return false;
        switch (field.number) {
        case 1:
            if (out->inputs == ONNX_ARGUMENTS ||
                !pb_text(&field.bytes, out->input[out->inputs++], ONNX_NAME))
                return false;
            break;
        case 2:
            if (out->outputs == ONNX_ARGUMENTS ||
                !pb_text(&field.bytes, out->output[out->outputs++], ONNX_NAME))
                return false;
            break;
        case 4:
            if (!pb_text(&field.bytes, out->operator, ONNX_NAME))
                return false;
            break;
        case 5:
            if (out->attributes == ONNX_ATTRIBUTES ||
                !onnx_attribute_parse(field.bytes, &out->attribute[out->attributes++]))
                return false;
            break;
        default: break; /* name, domain, doc_string */
        }
    }
    return true;
}

/* The one node of a ModelProto; false for anything else. */
static inline bool
onnx_node_parse(const uint8_t *bytes, size_t size, struct onnx_node *out)
{
    struct pb model = {bytes, bytes + size}, graph;
    struct pb_field field;
    size_t nodes = 0;

    *out = (struct onnx_node){.inputs = 0};
    while (model.at < model.end) {
        if (!pb_next(&model, &field))
            return false;
        if (field.number != 7)
            continue; /* versions, the producer */
        if (field.wire != PB_BYTES)
            return false;
        for (graph = field.bytes; graph.at < graph.end;) {
            if (!pb_next(&graph, &field))
                return false;
            if (field.number == 1 &&
                (field.wire != PB_BYTES || nodes++ > 0 || !onnx_node_fields(field.bytes, out)))
                return false;
            if (field.number == 5 || field.number == 15)
                return false; /* initializers */
        }
    }
    return nodes == 1;
}

/* NULL when the node has none of that name. */
static inline const struct onnx_attribute *
onnx_attribute(const struct onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->attributes; i++) {
        if (strcmp(node->attribute[i].name, name) == 0)
            return &node->attribute[i];
    }
    return NULL;
}

static inline int64_t
onnx_integer(const struct onnx_node *node, const char *name, int64_t missing)
{
    const struct onnx_attribute *const found = onnx_attribute(node, name);
    return found != NULL ? found->integer : missing;
}

static inline float
onnx_number(const struct onnx_node *node, const char *name, float missing)
{
    const struct onnx_attribute *const found = onnx_attribute(node, name);
    return found != NULL ? found->number : missing;
}

#endif /* DOTK_TEST_ONNX_ONNX_H */
