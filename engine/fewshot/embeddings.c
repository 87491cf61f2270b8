/* Embeddings that are not in memory come in bands: threads read a band's blocks, and when all are
 * there, this thread hands the band on. The next one takes its place, so that memory holds one band
 * whatever the size of the image. Those that are in memory are used in parts as well, to be called
 * off between them.
 */
#include "engine/fewshot/embeddings.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/give_way.h"

/* A band while threads read its blocks. */
struct reading {
    const struct embeddings *embeddings;
    float *band;
    uint64_t first, n; /* chips */
    atomic_bool failed;
    struct error error; /* of the thread that failed first */
};

static uint32_t block_at(uint64_t n_chips, uint64_t first)
{
    const uint64_t left = n_chips - first;
    return left < EMBEDDINGS_BLOCK ? (uint32_t)left : EMBEDDINGS_BLOCK;
}

static void read_block(void *context, uint32_t part, uint32_t slot)
{
    (void)slot;
    struct reading *reading = context;
    const struct embeddings *embeddings = reading->embeddings;
    const uint64_t skipped = (uint64_t)part * EMBEDDINGS_BLOCK;
    struct error inner = {0};
    if (atomic_load(&reading->failed))
        return;
    if (embeddings->read(embeddings->context, reading->first + skipped,
                         block_at(reading->n, skipped),
                         reading->band + skipped * embeddings->dimension, &inner) < 0 &&
        !atomic_exchange(&reading->failed, true))
        reading->error = inner;
    give_way();
}

static int read_band(const struct embeddings *embeddings, struct pool_lane *lane, uint64_t first,
                     uint64_t n, float *band, struct error *err)
{
    struct reading reading = {
        .embeddings = embeddings, .band = band, .first = first, .n = n, .failed = false};
    pool_share(lane, read_block, &reading, (uint32_t)((n - 1) / EMBEDDINGS_BLOCK + 1));
    if (!atomic_load(&reading.failed))
        return 0;
    return error_set(err, reading.error.code, "%s", reading.error.message);
}

int embeddings_visit(const struct embeddings *embeddings, struct pool_lane *lane,
                     embeddings_use use, void *context, struct error *err)
{
    const uint64_t n_chips = embeddings->n_chips;
    const bool is_read = embeddings->values == NULL;
    const size_t band_size = is_read ? EMBEDDINGS_BAND : EMBEDDINGS_STEP;
    const size_t block_size = (size_t)EMBEDDINGS_BLOCK * embeddings->dimension * sizeof(float);
    const size_t n_blocks = band_size > block_size ? band_size / block_size : 1;
    const uint64_t n_band = n_blocks * EMBEDDINGS_BLOCK;
    float *band = is_read ? malloc(n_blocks * block_size) : NULL;
    if (is_read && band == NULL)
        return error_set_nomem(err, "a band of embeddings");
    int rc = 0;
    for (uint64_t first = 0; first < n_chips && rc == 0; first += n_band) {
        const uint64_t left = n_chips - first, n = left < n_band ? left : n_band;
        const float *there = is_read ? band : embeddings->values + first * embeddings->dimension;
        if (cancel_is_asked(embeddings->cancel))
            rc = error_set(err, ERROR_CANCELLED, "the chips' embeddings were called off");
        if (rc == 0 && is_read)
            rc = read_band(embeddings, lane, first, n, band, err);
        if (rc == 0)
            rc = use(context, there, first, n, err);
    }
    free(band);
    return rc;
}

uint64_t embeddings_n_analysed(const struct embeddings *embeddings, uint64_t first, uint64_t n)
{
    uint64_t n_skipped = 0;
    for (uint64_t i = first; embeddings->skip != NULL && i < first + n; i++)
        n_skipped += embeddings->skip[i] != 0;
    return n - n_skipped;
}

/* The next chip from `chip` on that is analysed; there is one. */
static uint64_t next_analysed(const struct embeddings *embeddings, uint64_t chip)
{
    while (embeddings->skip != NULL && embeddings->skip[chip] != 0)
        chip++;
    return chip;
}

uint32_t embeddings_spread(const struct embeddings *embeddings, uint32_t n_max, uint64_t *out)
{
    const uint64_t n_chips = embeddings_n_analysed(embeddings, 0, embeddings->n_chips);
    const uint32_t n = n_chips < n_max ? (uint32_t)n_chips : n_max;
    uint64_t n_passed = 0, chip = n > 0 ? next_analysed(embeddings, 0) : 0;
    for (uint32_t i = 0; i < n; i++) {
        for (; n_passed < n_chips * i / n; n_passed++)
            chip = next_analysed(embeddings, chip + 1);
        out[i] = chip;
    }
    return n;
}

int embeddings_get(const struct embeddings *embeddings, uint64_t chip, float *out,
                   struct error *err)
{
    const size_t dimension = embeddings->dimension;
    const uint64_t skipped = chip % EMBEDDINGS_BLOCK, first = chip - skipped;
    if (embeddings->values != NULL) {
        memcpy(out, embeddings->values + chip * dimension, dimension * sizeof(float));
        return 0;
    }
    float *block = malloc(EMBEDDINGS_BLOCK * dimension * sizeof(float));
    if (block == NULL)
        return error_set_nomem(err, "a block of embeddings");
    int rc = embeddings->read(embeddings->context, first, block_at(embeddings->n_chips, first),
                              block, err);
    if (rc == 0)
        memcpy(out, block + skipped * dimension, dimension * sizeof(float));
    free(block);
    return rc;
}
