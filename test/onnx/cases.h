/*
 * cases.h - runs the cases of one kind: every folder of onnx-node/node whose name has a word in it
 *
 * A case is model.onnx and test_data_set_0/input_N.pb and output_N.pb, numbered without the
 * arguments that the node leaves out. Tolerances are those of ONNX's own runner, rtol 1e-3 and
 * atol 1e-7, or tighter ones that a test states.
 */
#ifndef DOTK_TEST_ONNX_CASES_H
#define DOTK_TEST_ONNX_CASES_H

#include "onnx.h"

#include <dirent.h>

struct onnx_case {
    const char *name;
    struct onnx_node node;
    const struct onnx_tensor *input[ONNX_ARGUMENTS], *output[ONNX_ARGUMENTS]; /* NULL: left out */
    struct onnx_tensor tensors[2 * ONNX_ARGUMENTS];
    uint8_t *files[1 + 2 * ONNX_ARGUMENTS];
    size_t tensor_count, file_count;
};

/* The bytes of folder/name, the caller's to free(). */
static inline uint8_t *
onnx_file(const char *folder, const char *name, size_t *size)
{
    char path[2 * TEST_PATH];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *const file = fopen(path, "rb");
    test_require(file != NULL && fseek(file, 0, SEEK_END) == 0, path);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *const bytes = malloc(*size + 1);
    test_require(bytes != NULL && fread(bytes, 1, *size, file) == *size && fclose(file) == 0, path);
    return bytes;
}

static inline void
onnx_case_tensors(struct onnx_case *c, const char *folder, const char *kind, size_t count,
                  char names[][ONNX_NAME], const struct onnx_tensor **out)
{
    size_t files = 0, size;

    for (size_t i = 0; i < count; i++) {
        char file[64];
        if (names[i][0] == '\0')
            continue;
        struct onnx_tensor *const tensor = &c->tensors[c->tensor_count++];
        snprintf(file, sizeof file, "test_data_set_0/%s_%zu.pb", kind, files++);
        uint8_t *const bytes = onnx_file(folder, file, &size);
        c->files[c->file_count++] = bytes;
        if (!onnx_tensor_parse(bytes, size, tensor) || strcmp(tensor->name, names[i]) != 0)
            fail_msg("%s: %s is not the tensor %s", c->name, file, names[i]);
        out[i] = tensor;
    }
}

static inline void
onnx_case_open(struct onnx_case *c, const char *folder, const char *name)
{
    size_t size;

    *c = (struct onnx_case){.name = name};
    uint8_t *const model = onnx_file(folder, "model.onnx", &size);
    c->files[c->file_count++] = model;
    if (!onnx_node_parse(model, size, &c->node))
        fail_msg("%s: model.onnx is no model of one node", name);
    onnx_case_tensors(c, folder, "input", c->node.inputs, c->node.input, c->input);
    onnx_case_tensors(c, folder, "output", c->node.outputs, c->node.output, c->output);
}

static inline void
onnx_case_close(struct onnx_case *c)
{
    for (size_t i = 0; i < c->file_count; i++)
        free(c->files[i]);
}

/* Every |got - want| <= rtol |want| + atol, infinities alike. */
static inline void
onnx_expect(const struct onnx_case *c, const struct onnx_tensor *want, const float *got,
            double rtol, double atol)
{
    for (size_t i = 0; i < want->count; i++) {
        const double w = onnx_value(want, i), g = (double)got[i];
        if (!(g == w || fabs(g - w) <= rtol * fabs(w) + atol))
            fail_msg("%s: %s[%zu] is %.9g, not %.9g", c->name, want->name, i, g, w);
    }
}

/*
 * Calls run() for each case whose name has 'word' in it. 'expected' cases are there in the data
 * set; without the data set the test is skipped.
 */
static inline void
onnx_run(const char *word, size_t expected, void run(const struct onnx_case *c))
{
    char root[TEST_PATH];
    size_t count = 0;

    if (test_data_path(root, "onnx-node/node") == NULL)
        skip();
    DIR *const folder = opendir(root);
    test_require(folder != NULL, root);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[TEST_PATH + 256];
        struct onnx_case c;
        if (strstr(entry->d_name, word) == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", root, entry->d_name);
        onnx_case_open(&c, path, entry->d_name);
        run(&c);
        onnx_case_close(&c);
        count++;
    }
    closedir(folder);
    print_message("%zu cases of %s pass\n", count, word);
    assert_int_equal(count, expected);
}

#endif /* DOTK_TEST_ONNX_CASES_H */
