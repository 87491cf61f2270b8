/* The forward pass. The blocks of a stage all write to the same maps, the stage's output: a block's
 * last convolution adds to its input where it lies, so that what it reads is what it overwrites and
 * takes the cache's place once. Scratch 0 and 1 hold the maps between a block's convolutions. */
#include "engine/encoder/encoder.h"

#include <assert.h>
#include <math.h>

#include "engine/encoder/pooling.h"
#include "engine/encoder/resnet.h"

static void run_stem(const struct encoder *encoder, struct encoder_workspace *workspace,
                     const float *chips, uint32_t n, float *out)
{
    if (cancel_is_asked(workspace->cancel))
        return;
    const uint64_t begin = layer_begin(workspace);
    stem_apply(&encoder->stem, &workspace->stem, &workspace->conv, chips, n, workspace->padded,
               workspace->scratch[0], out);
    layer_end(workspace, 0, begin);
}

enum activation { ACTIVATION_NONE, ACTIVATION_RELU };

static void run_conv(struct encoder_workspace *workspace, const struct conv *conv, uint32_t number,
                     const float *in, uint32_t n, const float *residual, enum activation activation,
                     float *out)
{
    if (cancel_is_asked(workspace->cancel))
        return;
    const struct layer *layer = &workspace->plan.layers[number];
    const struct conv_call call = {
        .conv = conv,
        .algorithm = workspace->alone ? layer->alone : layer->together,
        .n = n,
        .side = layer->side,
        .in = in,
        .out = out,
        .residual = residual,
        .relu = activation == ACTIVATION_RELU,
    };
    const uint64_t begin = layer_begin(workspace);
    conv_apply(&workspace->conv, &call);
    layer_end(workspace, 1 + number, begin);
}

/* `out` may be `in`. */
static void run_block(const struct block *block, struct encoder_workspace *workspace,
                      const float *in, uint32_t n, float *out)
{
    const uint32_t first = block->first_layer;
    const float *map = in;
    const uint32_t last = block->n_convs - 1;
    for (uint32_t i = 0; i < last; i++) {
        float *next = workspace->scratch[i];
        run_conv(workspace, &block->convs[i], first + i, map, n, NULL, ACTIVATION_RELU, next);
        map = next;
    }
    const float *residual = in;
    if (block->has_downsample) {
        /* Where the sum will be; else the buffer that the last convolution does not read. */
        float *free_scratch = workspace->scratch[map == workspace->scratch[0] ? 1 : 0];
        float *downsampled = out != in ? out : free_scratch;
        run_conv(workspace, &block->downsample, first + block->n_convs, in, n, NULL,
                 ACTIVATION_NONE, downsampled);
        residual = downsampled;
    }
    run_conv(workspace, &block->convs[last], first + last, map, n, residual, ACTIVATION_RELU, out);
}

static void run_stage(const struct encoder *encoder, struct encoder_workspace *workspace,
                      uint32_t stage, const float *in, uint32_t n, float *out)
{
    const uint32_t end = encoder->first_block[stage];
    for (uint32_t i = encoder->first_block[stage - 1]; i < end; i++) {
        run_block(&encoder->blocks[i], workspace, in, n, out);
        in = out;
    }
}

/* Writes one map's statistics at `out`. */
static void pool_map(const struct encoder_info *info, const float *map, uint32_t n_positions,
                     uint32_t n_channels, bool normalised, float *out)
{
    float *means = info->pool_mean ? out : NULL;
    float *deviations = !info->pool_std ? NULL : info->pool_mean ? out + n_channels : out;
    channel_statistics(map, n_positions, padded_channels(n_channels), n_channels, means,
                       deviations);
    if (normalised && means != NULL)
        l2_normalise(means, n_channels);
    if (normalised && deviations != NULL)
        l2_normalise(deviations, n_channels);
}

/* Where a stage's statistics begin in an embedding. */
static uint32_t stage_offset(const struct encoder_info *info, uint32_t stage)
{
    uint32_t offset = 0;
    for (uint32_t before = 0; before < stage; before++)
        offset += encoder_stage_floats(info, before);
    return offset;
}

/* Stage 0 of n embeddings, with which they begin. */
static void pool_chips(const struct encoder *encoder, struct encoder_workspace *workspace,
                       const float *chips, uint32_t n, float *embeddings)
{
    const uint64_t begin = layer_begin(workspace);
    const struct encoder_info *info = &encoder->info;
    const uint32_t side = workspace->plan.input_size;
    for (uint32_t chip = 0; chip < n; chip++) {
        float mean, contrast;
        float *out = embeddings + (size_t)chip * info->dimension;
        chip_statistics(chips + (size_t)chip * side * side, side, &mean, &contrast);
        if (info->pool_mean)
            out = encoder_put_number(info, ENCODER_MEAN, mean, out);
        if (info->pool_std)
            encoder_put_number(info, ENCODER_STD, contrast, out);
    }
    layer_end(workspace, encoder->n_layers + 1, begin);
}

/* Pools a stage's maps into n embeddings. */
static void pool_stage(const struct encoder *encoder, struct encoder_workspace *workspace,
                       uint32_t stage, const float *maps, uint32_t n, float *out)
{
    const uint64_t begin = layer_begin(workspace);
    const struct encoder_info *info = &encoder->info;
    const uint32_t side = workspace->plan.sides[stage];
    const size_t map_floats = workspace->plan.map_floats[stage];
    const bool normalised = !encoder_pools_one_vector(info);
    out += stage_offset(info, stage);
    for (uint32_t chip = 0; chip < n; chip++, maps += map_floats, out += info->dimension)
        pool_map(info, maps, side * side, info->widths[stage - 1], normalised, out);
    layer_end(workspace, encoder->n_layers + 1, begin);
}

/* Parts of nearly equal size, none above `group`. */
static uint32_t part_size(uint32_t n, uint32_t group)
{
    const uint32_t n_parts = (n + group - 1) / group;
    return (n + n_parts - 1) / n_parts;
}

/* Runs a segment and, part by part, all before it, so that a part's maps are still in the cache
 * when they are read. The maps go to the segment's boundary buffer, which holds n of them. */
static void run_segment(const struct encoder *encoder, struct encoder_workspace *workspace,
                        uint32_t segment, const float *chips, uint32_t n, float *embeddings)
{
    const struct plan *plan = &workspace->plan;
    const size_t chip_floats = (size_t)plan->input_size * plan->input_size;
    const uint32_t part = part_size(n, plan->segment_groups[segment]);
    float *maps = workspace->boundaries[segment];
    for (uint32_t first = 0; first < n; first += part) {
        const uint32_t n_part = smaller(n - first, part);
        const float *part_chips = chips + first * chip_floats;
        float *part_maps = maps + first * plan->map_floats[segment];
        if (segment == 0) {
            run_stem(encoder, workspace, part_chips, n_part, part_maps);
            if (encoder->info.pool_stages[0])
                pool_chips(encoder, workspace, part_chips, n_part,
                           embeddings + (size_t)first * encoder->info.dimension);
            continue;
        }
        run_segment(encoder, workspace, segment - 1, part_chips, n_part,
                    embeddings + (size_t)first * encoder->info.dimension);
        run_stage(encoder, workspace, segment, workspace->boundaries[segment - 1], n_part,
                  part_maps);
    }
    if (segment > 0 && encoder->info.pool_stages[segment])
        pool_stage(encoder, workspace, segment, maps, n, embeddings);
}

void encoder_embed(const struct encoder *encoder, struct encoder_workspace *workspace,
                   const float *chips, uint32_t n, float *out)
{
    assert(workspace->encoder == encoder);
    assert(n >= 1 && n <= workspace->plan.batch);
    const struct plan *plan = &workspace->plan;
    const size_t chip_floats = (size_t)plan->input_size * plan->input_size;
    const uint32_t dimension = encoder->info.dimension;
    const uint32_t part = part_size(n, plan->segment_groups[plan->last_stage]);
    workspace->alone = n == 1;
    for (uint32_t first = 0; first < n; first += part)
        run_segment(encoder, workspace, plan->last_stage, chips + first * chip_floats,
                    smaller(n - first, part), out + (size_t)first * dimension);
    /* Finite weights can still overflow in sums; no later code should have to meet a NaN. */
    for (size_t i = 0; i < (size_t)n * dimension; i++) {
        if (!isfinite(out[i]))
            out[i] = 0.0f;
    }
}

void encoder_run_tile(const struct encoder *encoder, struct encoder_workspace *workspace,
                      const float *tile, encoder_take_map take, void *context)
{
    assert(workspace->encoder == encoder);
    const struct plan *plan = &workspace->plan;
    workspace->alone = true;
    run_stem(encoder, workspace, tile, 1, workspace->boundaries[0]);
    for (uint32_t stage = 1; stage <= plan->last_stage && !cancel_is_asked(workspace->cancel);
         stage++) {
        float *maps = workspace->boundaries[stage];
        run_stage(encoder, workspace, stage, workspace->boundaries[stage - 1], 1, maps);
        const uint32_t width = encoder->info.widths[stage - 1];
        const struct encoder_map map = {maps, plan->sides[stage], width, padded_channels(width)};
        if (encoder->info.pool_stages[stage] && !cancel_is_asked(workspace->cancel))
            take(context, stage, &map);
    }
}
