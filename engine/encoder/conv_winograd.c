/* A 3x3 convolution of stride 1 by Winograd's minimal filtering: tiles of the maps are transformed,
 * multiplied plane by plane and transformed back, as many at a time as the cache holds. */
#include "engine/encoder/conv.h"
#include "engine/give_way.h"

enum {
    /* Floats of the planes of one block of tiles (512 KB), within these limits. */
    BLOCK_FLOATS = 128 * 1024,
    BLOCK_TILES_MIN = 36,
    BLOCK_TILES_MAX = 240,
    /* Added to the distance of planes: at a power of two they would meet in few sets of the cache.
     */
    PLANE_GAP = KERNEL_LANES,
};

static uint32_t n_tiles(enum winograd_tile tile, uint32_t side, uint32_t n)
{
    const uint32_t m = winograd_outputs(tile);
    const uint32_t a_side = (side + m - 1) / m;
    return n * a_side * a_side;
}

/* At most so many tiles at a time. */
static uint32_t block_tiles_max(const struct conv *conv, enum winograd_tile tile)
{
    const uint32_t p = winograd_outputs(tile) + 2;
    const uint32_t channels =
        padded_channels(conv->in_channels) + padded_channels(conv->out_channels);
    const uint32_t n = BLOCK_FLOATS / (p * p * channels);
    return n < BLOCK_TILES_MIN ? BLOCK_TILES_MIN : smaller(n, BLOCK_TILES_MAX);
}

uint64_t conv_plane_floats(const struct conv *conv, enum conv_algorithm algorithm, uint32_t side,
                           uint32_t n)
{
    if (conv_scheme(algorithm) == CONV_DIRECT)
        return 0;
    /* Values in pairs need less, which does not matter: products outnumber them. */
    const enum winograd_tile tile = (enum winograd_tile)conv_scheme(algorithm);
    const uint32_t p = winograd_outputs(tile) + 2;
    /* Fewer maps can be cut into larger blocks than more maps, but into none larger than this. */
    const uint32_t block = smaller(block_tiles_max(conv, tile), n_tiles(tile, side, n));
    const uint64_t channels =
        padded_channels(conv->in_channels) + padded_channels(conv->out_channels);
    return p * p * (block * channels + 2 * PLANE_GAP);
}

/* products[i] = values[i] x the weights' matrix i. */
static void multiply_planes(struct conv_scratch *scratch, const struct conv_call *call, uint32_t n,
                            const float *values, size_t value_stride, float *products,
                            size_t product_stride)
{
    const struct conv *conv = call->conv;
    const bool reduced = conv_is_bfloat16(call->algorithm);
    const enum winograd_tile tile = (enum winograd_tile)conv_scheme(call->algorithm);
    const uint32_t p = winograd_outputs(tile) + 2;
    const size_t n_in = padded_channels(conv->in_channels) / (reduced ? 2 : 1);
    const uint32_t n_out = padded_channels(conv->out_channels);
    const uint32_t depth = reduced ? (conv->in_channels + 1) / 2 : conv->in_channels;
    const struct kernels *kernels = reduced ? scratch->bfloat16 : scratch->kernels;
    const float *weights = reduced ? conv->winograd_pairs : conv->winograd[tile];
    for (uint32_t i = 0; i < p * p; i++, values += value_stride, products += product_stride) {
        for (uint32_t k = 0; k < n; k++) {
            scratch->rows[k] = values + k * n_in;
            scratch->out[k] = products + (size_t)k * n_out;
        }
        for (uint32_t column = 0; column < n_out; column += panel_width(column, n_out)) {
            const uint32_t width = panel_width(column, n_out);
            const struct gemm gemm = {
                .n_rows = n,
                .n_taps = 1,
                .depth = depth,
                .width = width,
                .rows = scratch->rows,
                .panels = &weights,
                .ahead = weights + (size_t)depth * width,
                .out = scratch->out,
                .column = column,
            };
            conv_multiply(scratch, kernels->gemm, &gemm);
            weights += (size_t)depth * width;
        }
    }
}

void conv_apply_winograd(struct conv_scratch *scratch, const struct conv_call *call)
{
    const struct conv *conv = call->conv;
    const bool reduced = conv_is_bfloat16(call->algorithm);
    const struct kernels *kernels = reduced ? scratch->bfloat16 : scratch->kernels;
    const enum winograd_tile tile = (enum winograd_tile)conv_scheme(call->algorithm);
    const uint32_t p = winograd_outputs(tile) + 2;
    const uint32_t all = n_tiles(tile, call->side, call->n);
    /* Blocks of nearly equal size. */
    const uint32_t block_max = block_tiles_max(conv, tile);
    const uint32_t n_blocks = (all + block_max - 1) / block_max;
    const uint32_t block = (all + n_blocks - 1) / n_blocks;
    const size_t n_in = padded_channels(conv->in_channels) / (reduced ? 2 : 1);
    const size_t value_stride = block * n_in + PLANE_GAP;
    const size_t product_stride = (size_t)block * padded_channels(conv->out_channels) + PLANE_GAP;
    float *products = scratch->planes + p * p * value_stride;
    for (uint32_t first = 0; first < all; first += block) {
        struct winograd part = {
            .side = call->side,
            .channels = padded_channels(conv->in_channels),
            .first = first,
            .n_tiles = smaller(all - first, block),
            .in = call->in,
            .planes = scratch->planes,
            .plane_stride = value_stride,
        };
        kernels->winograd_input[tile](&part);
        give_way();
        multiply_planes(scratch, call, part.n_tiles, scratch->planes, value_stride, products,
                        product_stride);
        part.channels = padded_channels(conv->out_channels);
        part.planes = products;
        part.plane_stride = product_stride;
        part.out = call->out;
        part.bias = conv->bias;
        part.residual = call->residual;
        part.relu = call->relu;
        kernels->winograd_output[tile](&part);
        give_way();
    }
}
