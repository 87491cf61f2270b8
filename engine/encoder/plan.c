/* Planning: walks the network at an input size, counts its work, chooses algorithms and how many
 * chips go through which part together. The plan depends on the encoder and the input size alone,
 * so equal batches take equal paths in every workspace. */
#include <assert.h>
#include <stdlib.h>

#include "engine/encoder/resnet.h"

enum {
    /* Floats of one scratch buffer (256 KB): a segment's maps stay in the second-level cache. */
    SCRATCH_FLOATS_GOAL = 64 * 1024,
    /* Products of fewer rows spend their time fetching the weights. */
    ROWS_GOAL = 768,
};

static const uint64_t WORKSPACE_BYTES_MAX = UINT64_C(1) << 30;
/* Of the transformed weights of all layers for one of Winograd's tiles, which can be seven times as
 * large as the weights. The published ResNets need less. */
static const uint64_t WINOGRAD_BYTES_MAX = UINT64_C(1) << 30;

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t clamp(uint64_t value, uint64_t minimum, uint64_t maximum)
{
    if (value < minimum)
        return minimum;
    return value > maximum ? maximum : value;
}

static uint64_t map_floats(uint32_t side, uint32_t n_channels)
{
    return (uint64_t)side * side * padded_channels(n_channels);
}

/* What one segment needs per chip. */
struct segment_cost {
    uint64_t map_floats;    /* its largest map within */
    uint64_t output_floats; /* the largest that a block of it puts out */
    uint64_t n_positions;   /* of its smallest map */
};

/* Adds a convolution of a map of this side to the work; returns the output's side. */
static uint32_t count_conv(struct plan *plan, struct segment_cost *cost, const struct conv *conv,
                           uint32_t side)
{
    const uint32_t out_side = window_output_side(side, conv->kernel, conv->stride);
    const uint64_t n_positions = (uint64_t)out_side * out_side;
    plan->flops_per_chip +=
        2 * n_positions * conv->kernel * conv->kernel * conv->in_channels * conv->out_channels;
    plan->widest = (uint32_t)larger(plan->widest, padded_channels(conv->in_channels));
    plan->widest = (uint32_t)larger(plan->widest, padded_channels(conv->out_channels));
    cost->map_floats = larger(cost->map_floats, map_floats(out_side, conv->out_channels));
    cost->n_positions = n_positions;
    return out_side;
}

static void count_stem(struct plan *plan, struct segment_cost *cost, const struct encoder *encoder)
{
    const struct stem *stem = &encoder->stem;
    const uint64_t padded_size = plan->input_size + 2 * (stem->kernel / 2);
    plan->padded_floats = padded_size * padded_size;
    struct conv conv = stem->folded;
    conv.in_channels = stem->in_channels; /* the work is the network's, not the folded one's */
    const uint32_t side = count_conv(plan, cost, &conv, plan->input_size);
    plan->scratch_floats = (uint64_t)STEM_ROWS * side * padded_channels(stem->out_channels);
    plan->sides[0] = window_output_side(side, 3, 2);
    plan->map_floats[0] = map_floats(plan->sides[0], stem->out_channels);
    cost->output_floats = plan->map_floats[0];
}

static void count_stage(struct plan *plan, struct segment_cost *cost, const struct encoder *encoder,
                        uint32_t stage)
{
    uint32_t side = plan->sides[stage - 1];
    for (uint32_t i = encoder->first_block[stage - 1]; i < encoder->first_block[stage]; i++) {
        const struct block *block = &encoder->blocks[i];
        struct layer *layer = &plan->layers[block->first_layer];
        if (block->has_downsample) {
            layer[block->n_convs].side = side;
            count_conv(plan, cost, &block->downsample, side);
        }
        for (uint32_t k = 0; k < block->n_convs; k++) {
            layer[k].side = side;
            side = count_conv(plan, cost, &block->convs[k], side);
        }
        const uint32_t n_channels = block->convs[block->n_convs - 1].out_channels;
        cost->output_floats = larger(cost->output_floats, map_floats(side, n_channels));
    }
    plan->sides[stage] = side;
    plan->map_floats[stage] = map_floats(side, encoder->info.widths[stage - 1]);
}

/* The tiles whose weights are granted: the first ones, as larger tiles have larger weights. */
static uint32_t count_tiles(const struct encoder *encoder)
{
    uint32_t n = 0;
    for (; n < WINOGRAD_TILES; n++) {
        uint64_t n_bytes = 0;
        for (uint32_t i = 0; i < encoder->n_blocks; i++) {
            const struct block *block = &encoder->blocks[i];
            for (uint32_t k = 0; k < block->n_convs; k++) {
                if (conv_has_winograd(&block->convs[k]))
                    n_bytes += conv_winograd_bytes(&block->convs[k], (enum winograd_tile)n);
            }
        }
        if (n_bytes > WINOGRAD_BYTES_MAX)
            break;
    }
    return n;
}

static void choose_algorithms(struct plan *plan, const struct conv *conv, struct layer *layer,
                              uint32_t n)
{
    layer->together = conv_choose(conv, layer->side, n, plan->n_winograd, plan->precision);
    layer->alone = conv_choose(conv, layer->side, 1, plan->n_winograd, plan->precision);
    plan->map_words =
        larger(plan->map_words, conv_map_words(conv, layer->together, layer->side, n));
    plan->map_words = larger(plan->map_words, conv_map_words(conv, layer->alone, layer->side, 1));
    plan->plane_floats =
        larger(plan->plane_floats, conv_plane_floats(conv, layer->together, layer->side, n));
    plan->plane_floats =
        larger(plan->plane_floats, conv_plane_floats(conv, layer->alone, layer->side, 1));
}

static void choose_in_stage(struct plan *plan, const struct encoder *encoder, uint32_t stage)
{
    for (uint32_t i = encoder->first_block[stage - 1]; i < encoder->first_block[stage]; i++) {
        const struct block *block = &encoder->blocks[i];
        struct layer *layer = &plan->layers[block->first_layer];
        for (uint32_t k = 0; k < block->n_convs; k++)
            choose_algorithms(plan, &block->convs[k], &layer[k], plan->segment_groups[stage]);
        if (block->has_downsample)
            choose_algorithms(plan, &block->downsample, &layer[block->n_convs],
                              plan->segment_groups[stage]);
    }
}

static bool layer_check(const struct plan *plan, const struct conv *conv, const struct layer *layer,
                        uint32_t group)
{
    const enum conv_algorithm algorithms[] = {layer->together, layer->alone};
    const uint32_t n_maps[] = {group, 1};
    const uint32_t out_side = window_output_side(layer->side, conv->kernel, conv->stride);
    for (size_t i = 0; i < 2; i++) {
        const enum conv_algorithm scheme = conv_scheme(algorithms[i]);
        if (scheme != CONV_DIRECT &&
            (!conv_has_winograd(conv) || (uint32_t)scheme >= plan->n_winograd))
            return false;
        if (conv_map_words(conv, algorithms[i], layer->side, n_maps[i]) > plan->map_words ||
            conv_plane_floats(conv, algorithms[i], layer->side, n_maps[i]) > plan->plane_floats)
            return false;
    }
    return group * map_floats(out_side, conv->out_channels) <= plan->scratch_floats &&
           padded_channels(conv->in_channels) <= plan->widest &&
           padded_channels(conv->out_channels) <= plan->widest;
}

static bool stage_check(const struct plan *plan, const struct encoder *encoder, uint32_t stage)
{
    const uint32_t group = plan->segment_groups[stage];
    for (uint32_t i = encoder->first_block[stage - 1]; i < encoder->first_block[stage]; i++) {
        const struct block *block = &encoder->blocks[i];
        const struct layer *layer = &plan->layers[block->first_layer];
        for (uint32_t k = 0; k < block->n_convs; k++) {
            if (!layer_check(plan, &block->convs[k], &layer[k], group))
                return false;
        }
        if (block->has_downsample &&
            !layer_check(plan, &block->downsample, &layer[block->n_convs], group))
            return false;
    }
    return true;
}

static bool plan_check(const struct plan *plan, const struct encoder *encoder)
{
    if (plan->last_stage < 1 || plan->last_stage > ENCODER_STAGES || plan->segment_groups[0] < 1)
        return false;
    for (uint32_t segment = 0; segment <= plan->last_stage; segment++) {
        /* A segment's maps are read by the next one's group. */
        const uint32_t reader = segment < plan->last_stage ? segment + 1 : segment;
        const uint64_t group = plan->segment_groups[reader];
        if (group < plan->segment_groups[segment] || group > plan->batch ||
            plan->boundary_floats[segment] < group * plan->map_floats[segment])
            return false;
        if (segment > 0 && !stage_check(plan, encoder, segment))
            return false;
    }
    return true;
}

uint64_t plan_arena_bytes(const struct plan *plan)
{
    uint64_t boundaries = 0;
    for (uint32_t segment = 0; segment <= ENCODER_STAGES; segment++)
        boundaries += align_size(plan->boundary_floats[segment] * sizeof(float));
    return boundaries + SCRATCH_BUFFERS * align_size(plan->scratch_floats * sizeof(float)) +
           align_size(plan->plane_floats * sizeof(float)) +
           align_size(plan->map_words * sizeof(float)) +
           align_size(plan->padded_floats * sizeof(float)) +
           align_size(plan->widest * sizeof(float));
}

static uint32_t last_pooled_stage(const struct encoder_info *info)
{
    uint32_t last = 1;
    for (uint32_t stage = 1; stage <= ENCODER_STAGES; stage++) {
        if (info->pool_stages[stage])
            last = stage;
    }
    return last;
}

static void size_buffers(struct plan *plan, const struct encoder *encoder,
                         const struct segment_cost *costs)
{
    uint64_t group = 1;
    for (uint32_t segment = 0; segment <= plan->last_stage; segment++) {
        const struct segment_cost *cost = &costs[segment];
        const uint64_t for_cache = SCRATCH_FLOATS_GOAL / cost->map_floats;
        const uint64_t for_rows = (ROWS_GOAL + cost->n_positions - 1) / cost->n_positions;
        const uint64_t wanted = segment == 0 ? for_cache : larger(for_cache, for_rows);
        group = clamp(wanted, group, plan->batch);
        plan->segment_groups[segment] = (uint32_t)group;
        if (segment > 0) {
            plan->scratch_floats = larger(plan->scratch_floats, group * cost->map_floats);
            plan->boundary_floats[segment - 1] = group * costs[segment - 1].output_floats;
            choose_in_stage(plan, encoder, segment);
        }
    }
    plan->boundary_floats[plan->last_stage] = group * costs[plan->last_stage].output_floats;
}

int plan_init(struct plan *plan, const struct encoder *encoder, uint32_t input_size, uint32_t batch,
              enum precision precision, struct error *err)
{
    if (input_size < ENCODER_INPUT_SIZE_MIN || input_size > ENCODER_INPUT_SIZE_MAX)
        return error_set(err, ERROR_INVALID, "input size %u is not in %d..%d", input_size,
                         ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX);
    struct plan made = {.input_size = input_size, .batch = batch, .precision = precision};
    struct segment_cost costs[1 + ENCODER_STAGES] = {{0}};
    made.layers = calloc(encoder->n_layers, sizeof(*made.layers));
    if (made.layers == NULL)
        return error_set_nomem(err, "the encoder's plan");
    made.last_stage = last_pooled_stage(&encoder->info);
    made.n_winograd = count_tiles(encoder);
    count_stem(&made, &costs[0], encoder);
    for (uint32_t stage = 1; stage <= made.last_stage; stage++)
        count_stage(&made, &costs[stage], encoder, stage);
    size_buffers(&made, encoder, costs);
    const uint64_t n_bytes = plan_arena_bytes(&made);
    if (n_bytes > WORKSPACE_BYTES_MAX) {
        plan_clear(&made);
        return error_set(err, ERROR_INVALID,
                         "the encoder needs %llu bytes a thread at input size %u; at most %llu "
                         "are granted",
                         (unsigned long long)n_bytes, input_size,
                         (unsigned long long)WORKSPACE_BYTES_MAX);
    }
    assert(plan_check(&made, encoder));
    *plan = made;
    return 0;
}

void plan_clear(struct plan *plan)
{
    free(plan->layers);
    *plan = (struct plan){0};
}
