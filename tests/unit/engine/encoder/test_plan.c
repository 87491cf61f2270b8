/* Plans of networks that exist as shapes only, so that the widest that a file may hold can be
 * planned too: sizes do not overflow, and memory stays within its limits. */
#include "tests/test.h"

#include "engine/encoder/resnet.h"

enum { STEM_KERNEL = 7 };

static const uint64_t GIBIBYTE = UINT64_C(1) << 30;

/* A network of so many BasicBlocks a stage, `width` wide throughout, with no weights. */
struct shape {
    uint32_t width;
    uint32_t first_width; /* if not 0, of what the first of more blocks of a stage puts out */
    uint32_t depth;
    uint32_t last_stage; /* that is pooled */
};

static struct conv make_conv(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride)
{
    return (struct conv){
        .in_channels = in, .out_channels = out, .kernel = kernel, .stride = stride};
}

static void make_encoder(struct encoder *encoder, const struct shape *shape)
{
    *encoder = (struct encoder){.n_blocks = ENCODER_STAGES * shape->depth};
    assert_true(encoder->n_blocks <= RESNET_BLOCKS_MAX);
    encoder->stem = (struct stem){
        .in_channels = 1,
        .out_channels = shape->width,
        .kernel = STEM_KERNEL,
        .folded = {.in_channels = 1,
                   .out_channels = shape->width,
                   .kernel = STEM_KERNEL,
                   .stride = STEM_STRIDE},
    };
    encoder->info.pool_stages[shape->last_stage] = true;
    encoder->blocks = calloc(encoder->n_blocks, sizeof(*encoder->blocks));
    assert_non_null(encoder->blocks);
    for (uint32_t i = 0; i < encoder->n_blocks; i++) {
        const uint32_t number = i % shape->depth;
        const uint32_t stride = i > 0 && number == 0 ? 2 : 1;
        const bool varies = shape->first_width != 0 && shape->depth > 1;
        const uint32_t in = varies && number == 1 ? shape->first_width : shape->width;
        const uint32_t out = varies && number == 0 ? shape->first_width : shape->width;
        struct block *block = &encoder->blocks[i];
        *block = (struct block){
            .n_convs = 2,
            .convs = {make_conv(in, shape->width, 3, stride), make_conv(shape->width, out, 3, 1)},
            .has_downsample = stride == 2 || in != out,
            .downsample = make_conv(in, out, 1, stride),
            .first_layer = encoder->n_layers};
        encoder->n_layers += block->has_downsample ? 3 : 2;
    }
    for (uint32_t stage = 0; stage < ENCODER_STAGES; stage++) {
        encoder->first_block[stage + 1] = (stage + 1) * shape->depth;
        encoder->info.widths[stage] = shape->width;
        encoder->info.depths[stage] = shape->depth;
    }
}

/* Bytes of the transformed weights that the plan asks for. */
static uint64_t winograd_bytes(const struct encoder *encoder, const struct plan *plan)
{
    uint64_t n_bytes[WINOGRAD_TILES] = {0};
    uint64_t largest = 0;
    for (uint32_t i = 0; i < encoder->first_block[plan->last_stage]; i++) {
        const struct block *block = &encoder->blocks[i];
        for (uint32_t k = 0; k < block->n_convs; k++) {
            const struct layer *layer = &plan->layers[block->first_layer + k];
            const struct conv *conv = &block->convs[k];
            if (layer->together != CONV_DIRECT)
                n_bytes[layer->together] +=
                    conv_winograd_bytes(conv, (enum winograd_tile)layer->together);
            if (layer->alone != CONV_DIRECT && layer->alone != layer->together)
                n_bytes[layer->alone] +=
                    conv_winograd_bytes(conv, (enum winograd_tile)layer->alone);
        }
    }
    for (uint32_t tile = 0; tile < WINOGRAD_TILES; tile++)
        largest = n_bytes[tile] > largest ? n_bytes[tile] : largest;
    return largest;
}

/* Groups grow from segment to segment, and the buffers hold what a group of any size needs. */
static void check_plan(const struct encoder *encoder, const struct plan *plan)
{
    uint32_t group = 1;
    for (uint32_t segment = 0; segment <= plan->last_stage; segment++) {
        assert_true(plan->segment_groups[segment] >= group);
        group = plan->segment_groups[segment];
        assert_true(group <= ENCODER_BATCH);
        assert_true(plan->boundary_floats[segment] >= group * plan->map_floats[segment]);
        assert_true(plan->scratch_floats >= group * plan->map_floats[segment]);
    }
    for (uint32_t i = 0; i < encoder->first_block[plan->last_stage]; i++) {
        const struct block *block = &encoder->blocks[i];
        const uint32_t stage = 1 + i / encoder->info.depths[0];
        assert_true(plan->boundary_floats[stage] >=
                    (uint64_t)plan->segment_groups[stage] * plan->sides[stage] *
                        plan->sides[stage] *
                        padded_channels(block->convs[block->n_convs - 1].out_channels));
        for (uint32_t k = 0; k < block->n_convs; k++) {
            const struct layer *layer = &plan->layers[block->first_layer + k];
            assert_true(plan->plane_floats >=
                        conv_plane_floats(&block->convs[k], layer->alone, layer->side, 1));
            for (uint32_t n = 1; n <= plan->segment_groups[stage]; n++)
                assert_true(plan->plane_floats >=
                            conv_plane_floats(&block->convs[k], layer->together, layer->side, n));
        }
    }
    assert_true(plan_arena_bytes(plan) <= GIBIBYTE);
    assert_true(winograd_bytes(encoder, plan) <= GIBIBYTE);
}

/* Returns false where the plan is refused for its memory. */
static bool plans(const struct shape *shape, uint32_t size)
{
    struct encoder encoder;
    struct plan plan;
    struct error err = {0};
    make_encoder(&encoder, shape);
    const int rc = plan_init(&plan, &encoder, size, ENCODER_BATCH, PRECISION_FLOAT32, &err);
    if (rc == 0) {
        if (shape->first_width <= shape->width || shape->depth == 1)
            assert_int_equal(plan.widest, padded_channels(shape->width));
        check_plan(&encoder, &plan);
        plan_clear(&plan);
    } else {
        assert_int_equal(rc, ERROR_INVALID);
        assert_non_null(strstr(err.message, "bytes a thread at input size"));
    }
    free(encoder.blocks);
    return rc == 0;
}

static void usual_networks_are_planned(void **state)
{
    (void)state;
    static const uint32_t widths[] = {1, 16, 20, 64, 512, 1024};
    static const uint32_t sizes[] = {16, 17, 64, 224, 300};
    for (uint32_t i = 0; i < 6 * 5 * ENCODER_STAGES; i++) {
        const struct shape shape = {
            .width = widths[i % 6], .depth = 1 + i % 7, .last_stage = 1 + i / 30};
        assert_true(plans(&shape, sizes[i / 6 % 5]));
        struct shape varied = shape;
        varied.first_width = widths[(i + 1) % 6];
        assert_true(plans(&varied, sizes[i / 6 % 5]));
    }
}

/* The most channels and blocks that a file may have, at the smallest input and the largest. */
static void the_widest_networks_stay_within_memory(void **state)
{
    (void)state;
    for (uint32_t depth = 1; depth <= RESNET_BLOCKS_MAX / ENCODER_STAGES; depth += 7) {
        const struct shape widest = {
            .width = RESNET_CHANNELS_MAX, .depth = depth, .last_stage = ENCODER_STAGES};
        assert_true(plans(&widest, ENCODER_INPUT_SIZE_MIN));
        assert_false(plans(&widest, ENCODER_INPUT_SIZE_MAX));
        const struct shape wide = {.width = 1500, .depth = depth, .last_stage = 2};
        assert_true(plans(&wide, 100));
    }
}

/* Transformed weights of a tile are used as long as all layers' fit: the larger tiles go first. */
static void tiles_are_granted_by_the_memory_of_their_weights(void **state)
{
    (void)state;
    static const struct {
        uint32_t width;
        uint32_t depth;
        uint32_t n_winograd;
    } cases[] = {
        /* 8 x depth - 3 products of width squared, of 4 x 16, 25, 36, 49 or 64 bytes each. */
        {64, 3, 5},   {512, 2, 5},  {1024, 1, 4}, {1200, 1, 3},
        {1400, 1, 2}, {1800, 1, 1}, {2048, 1, 0}, {8192, 50, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct shape shape = {
            .width = cases[i].width, .depth = cases[i].depth, .last_stage = 1};
        struct encoder encoder;
        struct plan plan;
        make_encoder(&encoder, &shape);
        assert_int_equal(plan_init(&plan, &encoder, ENCODER_INPUT_SIZE_MIN, ENCODER_BATCH,
                                   PRECISION_FLOAT32, NULL),
                         0);
        assert_int_equal(plan.n_winograd, cases[i].n_winograd);
        plan_clear(&plan);
        free(encoder.blocks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_networks_are_planned),
        cmocka_unit_test(the_widest_networks_stay_within_memory),
        cmocka_unit_test(tiles_are_granted_by_the_memory_of_their_weights),
    };
    return test_run(tests);
}
