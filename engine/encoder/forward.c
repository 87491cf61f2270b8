/* The forward pass. Buffers of a segment: scratch 0 and 1 hold a block's input and output in turn,
 * 2 and 3 the maps between its convolutions and its downsampled input. */
#include "engine/encoder/encoder.h"

#include <assert.h>
#include <math.h>

#include "engine/encoder/ops.h"
#include "engine/encoder/resnet.h"

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Grey to normalised channels, innermost. */
static void normalise_input(const struct encoder_info *info, const float *chips, size_t n_pixels,
                            float *out)
{
    for (size_t i = 0; i < n_pixels; i++) {
        for (uint32_t c = 0; c < info->in_channels; c++)
            *out++ = (chips[i] - info->mean[c]) / info->std[c];
    }
}

static void run_stem(const struct encoder *encoder, struct encoder_workspace *workspace,
                     const float *chips, uint32_t n, float *out)
{
    const uint32_t size = workspace->plan.input_size;
    normalise_input(&encoder->info, chips, (size_t)n * size * size, workspace->scratch[0]);
    conv_apply(&encoder->stem, workspace->scratch[0], n, size, workspace->scratch[1], NULL,
               CONV_RELU, workspace->columns);
    max_pool_apply(workspace->scratch[1], n, window_output_side(size, encoder->stem.kernel, 2),
                   encoder->stem.out_channels, out);
}

/* Returns the side of the block's output. */
static uint32_t run_block(const struct block *block, struct encoder_workspace *workspace,
                          const float *in, uint32_t n, uint32_t side, float *out)
{
    float *columns = workspace->columns;
    const uint32_t in_side = side;
    const float *map = in;
    const uint32_t last = block->n_convs - 1;
    for (uint32_t i = 0; i < last; i++) {
        float *next = workspace->scratch[2 + i];
        conv_apply(&block->convs[i], map, n, side, next, NULL, CONV_RELU, columns);
        side = window_output_side(side, block->convs[i].kernel, block->convs[i].stride);
        map = next;
    }
    const float *residual = in;
    if (block->has_downsample) {
        /* The buffer that the last convolution does not read. */
        float *downsampled = workspace->scratch[map == workspace->scratch[2] ? 3 : 2];
        conv_apply(&block->downsample, in, n, in_side, downsampled, NULL, CONV_LINEAR, columns);
        residual = downsampled;
    }
    conv_apply(&block->convs[last], map, n, side, out, residual, CONV_RELU, columns);
    return side;
}

static void run_stage(const struct encoder *encoder, struct encoder_workspace *workspace,
                      uint32_t stage, const float *in, uint32_t n, float *out)
{
    uint32_t side = workspace->plan.sides[stage - 1];
    const uint32_t end = encoder->first_block[stage];
    for (uint32_t i = encoder->first_block[stage - 1]; i < end; i++) {
        float *next = i + 1 == end ? out : workspace->scratch[i % 2];
        side = run_block(&encoder->blocks[i], workspace, in, n, side, next);
        in = next;
    }
}

/* Writes one map's statistics at `out`; returns their number. sums: 2 x n_channels. */
static uint32_t pool_map(const struct encoder_info *info, const float *map, uint32_t n_positions,
                         uint32_t n_channels, double *sums, bool normalised, float *out)
{
    float *next = out;
    channel_means(map, n_positions, n_channels, sums);
    if (info->pool_mean) {
        for (uint32_t c = 0; c < n_channels; c++)
            next[c] = (float)sums[c];
        if (normalised)
            l2_normalise(next, n_channels);
        next += n_channels;
    }
    if (info->pool_std) {
        channel_deviations(map, n_positions, n_channels, sums, sums + n_channels, next);
        if (normalised)
            l2_normalise(next, n_channels);
        next += n_channels;
    }
    return (uint32_t)(next - out);
}

static bool pools_one_vector(const struct encoder_info *info)
{
    uint32_t n_stages = 0;
    for (uint32_t stage = 0; stage < ENCODER_STAGES; stage++)
        n_stages += info->pool_stages[stage] ? 1 : 0;
    return n_stages == 1 && !(info->pool_mean && info->pool_std);
}

/* Pools a stage's maps into n embeddings at `offset`; returns the offset after it. */
static uint32_t pool_stage(const struct encoder *encoder, struct encoder_workspace *workspace,
                           uint32_t stage, const float *maps, uint32_t n, uint32_t offset,
                           float *out)
{
    const struct encoder_info *info = &encoder->info;
    const uint32_t side = workspace->plan.sides[stage];
    const uint32_t n_channels = info->widths[stage - 1];
    const bool normalised = !pools_one_vector(info);
    uint32_t used = 0;
    for (uint32_t chip = 0; chip < n; chip++)
        used =
            pool_map(info, maps + (size_t)chip * side * side * n_channels, side * side, n_channels,
                     workspace->sums, normalised, out + (size_t)chip * info->dimension + offset);
    return offset + used;
}

/* Embeds at most plan.group chips. */
static void embed_group(const struct encoder *encoder, struct encoder_workspace *workspace,
                        const float *chips, uint32_t n, float *out)
{
    const struct plan *plan = &workspace->plan;
    const size_t chip_floats = (size_t)plan->input_size * plan->input_size;
    size_t map_floats = (size_t)plan->sides[0] * plan->sides[0] * encoder->stem.out_channels;
    float *maps = workspace->boundaries[0];
    float *next_maps = workspace->boundaries[1];
    for (uint32_t first = 0; first < n; first += plan->segment_groups[0])
        run_stem(encoder, workspace, chips + first * chip_floats,
                 smaller(n - first, plan->segment_groups[0]), maps + first * map_floats);
    uint32_t offset = 0;
    for (uint32_t stage = 1; stage <= plan->last_stage; stage++) {
        const size_t next_floats =
            (size_t)plan->sides[stage] * plan->sides[stage] * encoder->info.widths[stage - 1];
        for (uint32_t first = 0; first < n; first += plan->segment_groups[stage])
            run_stage(encoder, workspace, stage, maps + first * map_floats,
                      smaller(n - first, plan->segment_groups[stage]),
                      next_maps + first * next_floats);
        float *swapped = maps;
        maps = next_maps;
        next_maps = swapped;
        map_floats = next_floats;
        if (encoder->info.pool_stages[stage - 1])
            offset = pool_stage(encoder, workspace, stage, maps, n, offset, out);
    }
}

void encoder_embed(const struct encoder *encoder, struct encoder_workspace *workspace,
                   const float *chips, uint32_t n, float *out)
{
    assert(workspace->encoder == encoder);
    assert(n <= ENCODER_BATCH);
    const struct plan *plan = &workspace->plan;
    const size_t chip_floats = (size_t)plan->input_size * plan->input_size;
    const uint32_t dimension = encoder->info.dimension;
    for (uint32_t first = 0; first < n; first += plan->group)
        embed_group(encoder, workspace, chips + first * chip_floats,
                    smaller(n - first, plan->group), out + (size_t)first * dimension);
    /* Finite weights can still overflow in sums; no later code should have to meet a NaN. */
    for (size_t i = 0; i < (size_t)n * dimension; i++) {
        if (!isfinite(out[i]))
            out[i] = 0.0f;
    }
}
