/*
 * protobuf.h - the wire format of protocol buffers: fields of a message, one after the other
 *
 * A field is a key (number and wire type) and a value: a varint, 8 or 4 bytes, or a length and so
 * many bytes. Every length is checked against what remains before it is believed.
 * https://protobuf.dev/programming-guides/encoding
 */
#ifndef DOTK_TEST_ONNX_PROTOBUF_H
#define DOTK_TEST_ONNX_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What is left of a message. */
struct pb {
    const uint8_t *at, *end;
};

enum pb_wire { PB_VARINT = 0, PB_8_BYTES = 1, PB_BYTES = 2, PB_4_BYTES = 5 };

struct pb_field {
    uint64_t number;
    enum pb_wire wire;
    uint64_t value;  /* of a varint, or of 8 or 4 bytes */
    struct pb bytes; /* of PB_BYTES */
};

static inline bool
pb_varint(struct pb *message, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (message->at == message->end)
            return false;
        const uint8_t byte = *message->at++;
        if (shift == 63 && byte > 1)
            return false; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* 'count' bytes, least significant first. */
static inline bool
pb_fixed(struct pb *message, size_t count, uint64_t *out)
{
    if ((size_t)(message->end - message->at) < count)
        return false;
    *out = 0;
    for (size_t i = 0; i < count; i++)
        *out |= (uint64_t)*message->at++ << 8 * i;
    return true;
}

/* The next field of a message that has one; false where the bytes are no field. */
static inline bool
pb_next(struct pb *message, struct pb_field *field)
{
    uint64_t key;

    if (!pb_varint(message, &key) || key >> 3 == 0)
        return false;
    *field = (struct pb_field){.number = key >> 3, .wire = (enum pb_wire)(key & 7)};
    switch (field->wire) {
    case PB_VARINT: return pb_varint(message, &field->value);
    case PB_8_BYTES: return pb_fixed(message, 8, &field->value);
    case PB_4_BYTES: return pb_fixed(message, 4, &field->value);
    case PB_BYTES:
        if (!pb_varint(message, &field->value) ||
            field->value > (uint64_t)(message->end - message->at))
            return false;
        field->bytes.at = message->at;
        field->bytes.end = message->at += field->value;
        return true;
    }
    return false;
}

/* Copies text into 'room' bytes; false when it is too long or has a zero byte. */
static inline bool
pb_text(const struct pb *bytes, char *out, size_t room)
{
    const size_t length = (size_t)(bytes->end - bytes->at);

    if (length >= room || (length > 0 && memchr(bytes->at, 0, length) != NULL))
        return false;
    if (length > 0)
        memcpy(out, bytes->at, length);
    out[length] = '\0';
    return true;
}

#endif /* DOTK_TEST_ONNX_PROTOBUF_H */
