/* chipshot embed: the embeddings of a manifest's chips as a NumPy file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cli/command.h"
#include "server/cli/common_options.h"
#include "server/cli/embedding_choice.h"
#include "server/cli/files.h"

/* Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0. The
 * header is padded so that the data starts at a multiple of 64. Little-endian hosts only, as x86-64
 * and ARM64 Linux are. */
static int write_npy(const char *path, const float *data, size_t rows, size_t columns,
                     struct error *err)
{
    char header[128];
    int length =
        snprintf(header + 10, sizeof(header) - 10,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, columns);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    memset(header + 10 + length, ' ', sizeof(header) - 10 - (size_t)length);
    header[sizeof(header) - 1] = '\n';
    size_t size = rows * columns * sizeof(float);
    char *bytes = malloc(sizeof(header) + size);
    if (bytes == NULL)
        return error_set_nomem(err, "the NumPy file");
    memcpy(bytes, header, sizeof(header));
    memcpy(bytes + sizeof(header), data, size);
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int rc = directory == NULL ? error_set_nomem(err, "a path")
                               : file_write(directory, slash == NULL ? path : slash + 1, bytes,
                                            sizeof(header) + size, err);
    free(directory);
    free(bytes);
    return rc;
}

static int embed(const char *manifest_path, const char *root, const char *out,
                 const struct embedding_choice *choice, const char *encoder_path,
                 uint64_t n_threads, struct error *err)
{
    struct manifest manifest = {0};
    float *embeddings = NULL;
    uint32_t dimension;
    int rc = manifest_read(manifest_path, &manifest, err);
    if (rc == 0)
        rc = embedding_choice_compute(choice, &manifest, root, encoder_path, n_threads, &embeddings,
                                      &dimension, err);
    if (rc == 0)
        rc = write_npy(out, embeddings, manifest.n_rows, dimension, err);
    free(embeddings);
    manifest_clear(&manifest);
    return rc;
}

/* What the command line says; one a process. */
static struct {
    const char *manifest, *root, *out, *encoder;
    uint64_t n_threads;
    struct embedding_options choice;
} given;

static const struct command_option known_options[] = {
    OPTION_MANIFEST(&given.manifest),
    OPTION_ROOT(&given.root),
    {.name = "out",
     .argument = "FILE",
     .value.text = &given.out,
     .required = true,
     .help = "NumPy file to write: float32, one row a chip, in the manifest's order"},
    OPTION_ENCODER(&given.encoder),
    OPTION_INPUT_SIZES(&given.choice.input_sizes),
    OPTION_ENCODING(&given.choice.encoding),
    OPTION_PRECISION(&given.choice.precision),
    OPTION_STAGES(&given.choice.stages),
    OPTION_STATISTICS(&given.choice.statistics),
    OPTION_FEATURES(&given.choice.kind),
    OPTION_WORKERS(&given.n_threads),
};

static const struct command description = {
    .usage = "embed --manifest FILE --root DIR --out FILE [OPTION]...",
    .summary = "Writes the embedding of every chip of a manifest.",
    .options = known_options,
    .n_options = sizeof(known_options) / sizeof(known_options[0]),
};

int cmd_embed(int argc, char **argv)
{
    enum command_action action = command_parse(&description, argc, argv, NULL);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    struct error err = {0};
    struct embedding_choice choice;
    if (embedding_choice_parse(&given.choice, &choice, &err) < 0)
        return command_fail_usage(&err);
    return embed(given.manifest, given.root, given.out, &choice, given.encoder, given.n_threads,
                 &err) == 0
               ? 0
               : command_fail(&err);
}
