/* Planning: walks the network at an input size, counts its work, decides how many chips go through
 * which part together, and lays all buffers out in one arena. The plan depends on the encoder and
 * the input size alone, so equal batches take equal paths in every workspace. */
#include "engine/encoder/resnet.h"

#include <stdlib.h>

#include "engine/encoder/ops.h"

enum {
    /* Floats of one scratch buffer (1 MB): a segment's maps stay in the second-level cache. */
    SCRATCH_FLOATS_GOAL = 256 * 1024,
    /* Matrix products of fewer rows spend their time packing the weights. */
    ROWS_GOAL = 512,
    /* Floats of one buffer between segments (64 MB): bounds memory at large inputs. */
    BOUNDARY_FLOATS_GOAL = 16 * 1024 * 1024,
    ALIGNMENT = 64,
};

static const uint64_t WORKSPACE_BYTES_MAX = UINT64_C(1) << 30;

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
    return (uint64_t)side * side * n_channels;
}

/* What one segment needs per chip. */
struct segment_cost {
    uint64_t map_floats;  /* its largest map within */
    uint64_t boundary;    /* the map it hands on */
    uint64_t n_positions; /* of its smallest map */
};

/* Adds a convolution of a map of this side to the work; returns the output's side. */
static uint32_t count_conv(struct plan *plan, struct segment_cost *cost, const struct conv *conv,
                           uint32_t side)
{
    const uint32_t out_side = window_output_side(side, conv->kernel, conv->stride);
    const uint64_t n_positions = (uint64_t)out_side * out_side;
    plan->flops_per_chip +=
        2 * n_positions * conv->kernel * conv->kernel * conv->in_channels * conv->out_channels;
    cost->map_floats = larger(cost->map_floats, map_floats(out_side, conv->out_channels));
    cost->n_positions = n_positions;
    return out_side;
}

static void count_stem(struct plan *plan, struct segment_cost *cost, const struct encoder *encoder)
{
    cost->map_floats = map_floats(plan->input_size, encoder->info.in_channels);
    const uint32_t side = count_conv(plan, cost, &encoder->stem, plan->input_size);
    plan->sides[0] = window_output_side(side, 3, 2);
    cost->boundary = map_floats(plan->sides[0], encoder->stem.out_channels);
}

static void count_stage(struct plan *plan, struct segment_cost *cost, const struct encoder *encoder,
                        uint32_t stage)
{
    uint32_t side = plan->sides[stage - 1];
    for (uint32_t i = encoder->first_block[stage - 1]; i < encoder->first_block[stage]; i++) {
        const struct block *block = &encoder->blocks[i];
        if (block->has_downsample)
            count_conv(plan, cost, &block->downsample, side);
        for (uint32_t k = 0; k < block->n_convs; k++)
            side = count_conv(plan, cost, &block->convs[k], side);
    }
    plan->sides[stage] = side;
    cost->boundary = map_floats(side, encoder->info.widths[stage - 1]);
}

/* The im2col buffer must serve every convolution of the segment. */
static void count_columns(struct plan *plan, const struct encoder *encoder, uint32_t segment)
{
    /* More positions than any block has: the buffer's size is then the block's. */
    const uint64_t n_positions =
        (uint64_t)plan->segment_groups[segment] * map_floats(plan->input_size, 1);
    if (segment == 0) {
        plan->column_floats = conv_column_floats(&encoder->stem, n_positions);
        return;
    }
    for (uint32_t i = encoder->first_block[segment - 1]; i < encoder->first_block[segment]; i++) {
        const struct block *block = &encoder->blocks[i];
        for (uint32_t k = 0; k < block->n_convs; k++)
            plan->column_floats =
                larger(plan->column_floats, conv_column_floats(&block->convs[k], n_positions));
        if (block->has_downsample)
            plan->column_floats =
                larger(plan->column_floats, conv_column_floats(&block->downsample, n_positions));
    }
}

static uint64_t round_up(uint64_t n_bytes)
{
    return (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t sums_floats(const struct encoder *encoder)
{
    uint64_t widest = 0;
    for (uint32_t stage = 0; stage < ENCODER_STAGES; stage++)
        widest = larger(widest, encoder->info.widths[stage]);
    return 2 * widest * sizeof(double) / sizeof(float);
}

static uint64_t arena_bytes(const struct plan *plan, const struct encoder *encoder)
{
    return 2 * round_up(plan->boundary_floats * sizeof(float)) +
           SCRATCH_BUFFERS * round_up(plan->scratch_floats * sizeof(float)) +
           round_up(plan->column_floats * sizeof(float)) +
           round_up(sums_floats(encoder) * sizeof(float));
}

static uint32_t last_pooled_stage(const struct encoder_info *info)
{
    uint32_t last = 1;
    for (uint32_t stage = 1; stage <= ENCODER_STAGES; stage++) {
        if (info->pool_stages[stage - 1])
            last = stage;
    }
    return last;
}

static void size_buffers(struct plan *plan, const struct encoder *encoder,
                         const struct segment_cost *costs)
{
    uint64_t boundary = 0;
    for (uint32_t segment = 0; segment <= plan->last_stage; segment++)
        boundary = larger(boundary, costs[segment].boundary);
    plan->group = (uint32_t)clamp(BOUNDARY_FLOATS_GOAL / boundary, 1, ENCODER_BATCH);
    plan->boundary_floats = boundary * plan->group;
    for (uint32_t segment = 0; segment <= plan->last_stage; segment++) {
        const struct segment_cost *cost = &costs[segment];
        const uint64_t for_cache = SCRATCH_FLOATS_GOAL / cost->map_floats;
        const uint64_t for_rows = (ROWS_GOAL + cost->n_positions - 1) / cost->n_positions;
        const uint64_t group = clamp(larger(for_cache, for_rows), 1, plan->group);
        plan->segment_groups[segment] = (uint32_t)group;
        plan->scratch_floats = larger(plan->scratch_floats, group * cost->map_floats);
        count_columns(plan, encoder, segment);
    }
}

int plan_init(struct plan *plan, const struct encoder *encoder, uint32_t input_size,
              struct error *err)
{
    if (input_size < ENCODER_INPUT_SIZE_MIN || input_size > ENCODER_INPUT_SIZE_MAX)
        return error_set(err, ERROR_INVALID, "input size %u is not in %d..%d", input_size,
                         ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX);
    struct plan made = {.input_size = input_size};
    struct segment_cost costs[1 + ENCODER_STAGES] = {{0}};
    made.last_stage = last_pooled_stage(&encoder->info);
    count_stem(&made, &costs[0], encoder);
    for (uint32_t stage = 1; stage <= made.last_stage; stage++)
        count_stage(&made, &costs[stage], encoder, stage);
    size_buffers(&made, encoder, costs);
    const uint64_t n_bytes = arena_bytes(&made, encoder);
    if (n_bytes > WORKSPACE_BYTES_MAX)
        return error_set(err, ERROR_INVALID,
                         "the encoder needs %llu bytes a thread at input size %u; at most %llu "
                         "are granted",
                         (unsigned long long)n_bytes, input_size,
                         (unsigned long long)WORKSPACE_BYTES_MAX);
    *plan = made;
    return 0;
}

/* Cuts a buffer off the arena. */
static void *cut(uint8_t **next, uint64_t n_floats)
{
    uint8_t *buffer = *next;
    *next += round_up(n_floats * sizeof(float));
    return buffer;
}

int encoder_workspace_create(struct encoder_workspace **out, const struct encoder *encoder,
                             uint32_t input_size, struct error *err)
{
    struct encoder_workspace *workspace = calloc(1, sizeof(*workspace));
    if (workspace == NULL)
        return error_set_nomem(err, "an encoder workspace");
    workspace->encoder = encoder;
    struct plan *plan = &workspace->plan;
    int status =
        plan_init(plan, encoder, input_size == 0 ? encoder->info.input_size : input_size, err);
    if (status != 0)
        goto out;
    const uint64_t n_bytes = arena_bytes(plan, encoder);
    workspace->arena = aligned_alloc(ALIGNMENT, n_bytes);
    if (workspace->arena == NULL) {
        status = error_set_nomem(err, "an encoder workspace");
        goto out;
    }
    uint8_t *next = workspace->arena;
    for (size_t i = 0; i < 2; i++)
        workspace->boundaries[i] = cut(&next, plan->boundary_floats);
    for (size_t i = 0; i < SCRATCH_BUFFERS; i++)
        workspace->scratch[i] = cut(&next, plan->scratch_floats);
    workspace->columns = cut(&next, plan->column_floats);
    workspace->sums = cut(&next, sums_floats(encoder));
    *out = workspace;
    workspace = NULL;
out:
    encoder_workspace_destroy(workspace);
    return status;
}

void encoder_workspace_destroy(struct encoder_workspace *workspace)
{
    if (workspace == NULL)
        return;
    free(workspace->arena);
    free(workspace);
}

uint64_t encoder_workspace_flops(const struct encoder_workspace *workspace)
{
    return workspace->plan.flops_per_chip;
}
