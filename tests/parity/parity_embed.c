/* Embeds raw chips for parity.py.
 * Usage: parity_embed WEIGHTS INPUT_SIZE CHIPS OUT   (raw little-endian float32 files) */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/encoder/encoder.h"

static void *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long length = -1;
    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0)
        length = ftell(file);
    rewind(file);
    if (length >= 0)
        data = malloc((size_t)length + 1);
    if (data != NULL && fread(data, 1, (size_t)length, file) != (size_t)length) {
        free(data);
        data = NULL;
    }
    fclose(file);
    *size = (size_t)length;
    return data;
}

static int embed_file(const struct encoder *encoder, struct encoder_workspace *workspace,
                      uint32_t size, const char *chips_path, const char *out_path)
{
    const size_t dimension = encoder_info(encoder)->dimension;
    const size_t chip_floats = (size_t)size * size;
    size_t n_bytes = 0;
    float *chips = read_file(chips_path, &n_bytes);
    float *embeddings = calloc(ENCODER_BATCH * dimension, sizeof(*embeddings));
    FILE *out = fopen(out_path, "wb");
    int rc = chips != NULL && embeddings != NULL && out != NULL ? 0 : 1;
    const size_t n = n_bytes / sizeof(*chips) / chip_floats;
    for (size_t first = 0; rc == 0 && first < n; first += ENCODER_BATCH) {
        const size_t batch = n - first < ENCODER_BATCH ? n - first : ENCODER_BATCH;
        encoder_embed(encoder, workspace, chips + first * chip_floats, (uint32_t)batch, embeddings);
        if (fwrite(embeddings, sizeof(*embeddings) * dimension, batch, out) != batch)
            rc = 1;
    }
    if (out != NULL && fclose(out) != 0)
        rc = 1;
    free(embeddings);
    free(chips);
    if (rc != 0)
        fprintf(stderr, "parity_embed: %s or %s: reading or writing failed\n", chips_path,
                out_path);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: parity_embed WEIGHTS INPUT_SIZE CHIPS OUT\n");
        return 2;
    }
    struct error err = {0};
    struct encoder *encoder = NULL;
    struct encoder_workspace *workspace = NULL;
    const uint32_t size = (uint32_t)strtoul(argv[2], NULL, 10);
    size_t n_bytes = 0;
    void *weights = read_file(argv[1], &n_bytes);
    int rc = 1;
    if (weights == NULL)
        fprintf(stderr, "parity_embed: %s cannot be read\n", argv[1]);
    else if (encoder_create(&encoder, weights, n_bytes, &err) != 0 ||
             encoder_workspace_create(&workspace, encoder, size, PRECISION_FLOAT32, NULL, &err) !=
                 0)
        fprintf(stderr, "parity_embed: %s\n", err.message);
    else
        rc = embed_file(encoder, workspace, size, argv[3], argv[4]);
    encoder_workspace_destroy(workspace);
    encoder_destroy(encoder);
    free(weights);
    return rc;
}
