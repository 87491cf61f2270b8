#include "engine/embedder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/embedder_parts.h"

int input_sizes_check(const struct input_sizes *sizes, struct error *err)
{
    if (sizes->n > INPUT_SIZES_MAX)
        return error_set(err, ERROR_INVALID, "input sizes: %u, at most %d are allowed", sizes->n,
                         INPUT_SIZES_MAX);
    for (uint32_t i = 0; i < sizes->n; i++) {
        uint32_t side = sizes->sides[i];
        if (side < ENCODER_INPUT_SIZE_MIN || side > ENCODER_INPUT_SIZE_MAX)
            return error_set(err, ERROR_INVALID, "input size %u is not within %d..%d", side,
                             ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX);
        if (i > 0 && side <= sizes->sides[i - 1])
            return error_set(err, ERROR_INVALID,
                             "input size %u does not exceed the one before it, %u", side,
                             sizes->sides[i - 1]);
    }
    return 0;
}

const char *input_sizes_text(const struct input_sizes *sizes, char text[INPUT_SIZES_TEXT])
{
    int length = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < sizes->n && length < INPUT_SIZES_TEXT; i++)
        length += snprintf(text + length, (size_t)(INPUT_SIZES_TEXT - length), "%s%u",
                           i > 0 ? "+" : "", sizes->sides[i]);
    return text;
}

/* What chips alone need; a tile's memory is made with its image. */
static int worker_init(struct worker_memory *worker, const struct embedder *embedder,
                       const struct cancel *cancel, struct error *err)
{
    const struct input_sizes *sizes = &embedder->sizes;
    int rc = 0;
    for (uint32_t i = 0; i < sizes->n && rc == 0; i++)
        rc = encoder_workspace_create(&worker->workspaces[i], embedder->encoder, sizes->sides[i],
                                      embedder->precision, cancel, err);
    if (rc < 0)
        return rc;
    size_t side = sizes->sides[sizes->n - 1]; /* the largest */
    size_t dimension = encoder_info(embedder->encoder)->dimension;
    worker->pixels = malloc(ENCODER_BATCH * side * side * sizeof(float));
    if (sizes->n > 1)
        worker->embeddings = malloc(ENCODER_BATCH * dimension * sizeof(float));
    if (worker->pixels == NULL || (sizes->n > 1 && worker->embeddings == NULL))
        return error_set_nomem(err, "a batch of chips");
    return 0;
}

int embedder_create(struct embedder **out, struct pool *pool, const struct encoder *encoder,
                    const struct input_sizes *sizes, enum encoding encoding,
                    enum precision precision, const struct cancel *cancel, struct error *err)
{
    if (sizes != NULL && input_sizes_check(sizes, err) < 0)
        return ERROR_INVALID;
    uint32_t n = pool_n_workers(pool);
    struct embedder *embedder = calloc(1, sizeof(*embedder) + n * sizeof(embedder->workers[0]));
    if (embedder == NULL)
        return error_set_nomem(err, "an embedder");
    embedder->pool = pool;
    embedder->encoder = encoder;
    embedder->encoding = encoding != ENCODING_OWN ? encoding : encoder_info(encoder)->encoding;
    embedder->precision = precision;
    if (sizes != NULL && sizes->n > 0)
        embedder->sizes = *sizes;
    else
        embedder->sizes = (struct input_sizes){1, {encoder_info(encoder)->input_size}};
    embedder->n_workers = n;
    int rc =
        encoding_check_side(embedder->encoding, embedder->sizes.sides[embedder->sizes.n - 1], err);
    for (uint32_t i = 0; i < n && rc == 0 && embedder->encoding == ENCODING_CHIPS; i++)
        rc = worker_init(&embedder->workers[i], embedder, cancel, err);
    if (rc < 0) {
        embedder_destroy(embedder);
        return rc;
    }
    *out = embedder;
    return 0;
}

void embedder_destroy(struct embedder *embedder)
{
    if (embedder == NULL)
        return;
    for (uint32_t i = 0; i < embedder->n_workers; i++) {
        struct worker_memory *worker = &embedder->workers[i];
        for (uint32_t k = 0; k < INPUT_SIZES_MAX; k++)
            encoder_workspace_destroy(worker->workspaces[k]);
        free(worker->pixels);
        free(worker->embeddings);
        encoder_workspace_destroy(worker->tile_workspace);
        dense_tile_scratch_clear(&worker->scratch);
    }
    free(embedder);
}

const struct encoder *embedder_encoder(const struct embedder *embedder)
{
    return embedder->encoder;
}

const struct input_sizes *embedder_input_sizes(const struct embedder *embedder)
{
    return &embedder->sizes;
}

enum encoding embedder_encoding(const struct embedder *embedder)
{
    return embedder->encoding;
}

enum precision embedder_precision(const struct embedder *embedder)
{
    return embedder->precision;
}

uint32_t embedder_dimension(const struct embedder *embedder)
{
    return embedder->sizes.n * encoder_info(embedder->encoder)->dimension;
}

void embedder_place_part(const float *embeddings, uint32_t n, uint32_t dimension,
                         uint32_t row_floats, float *out)
{
    for (uint32_t i = 0; i < n; i++, embeddings += dimension, out += row_floats) {
        double squares = 0.0;
        for (uint32_t k = 0; k < dimension; k++)
            squares += (double)embeddings[k] * embeddings[k];
        const double norm = fmax(sqrt(squares), 1e-12);
        for (uint32_t k = 0; k < dimension; k++)
            out[k] = (float)(embeddings[k] / norm);
    }
}
