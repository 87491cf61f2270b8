/* A convolution with its batch norm folded in, and the ways to compute it. Maps are as in
 * kernels/kernels.h: NHWC, channels padded. Private to engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_CONV_H
#define CHIPSHOT_ENGINE_ENCODER_CONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/encoder/kernels/int8.h"
#include "engine/encoder/kernels/kernels.h"
#include "engine/encoder/precision.h"

static inline uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

enum { CONV_KERNEL_MAX = 15 };

/* Padding is kernel / 2. */
struct conv {
    uint32_t in_channels;
    uint32_t out_channels;
    uint32_t kernel; /* side, odd */
    uint32_t stride;
    /* Panel by panel over the padded output channels (kernels.h):
     * [kernel][kernel][in_channels][width of the panel]. NULL until packed. */
    float *panels;
    float *bias; /* [padded out_channels] */
    /* Of 3x3 convolutions of stride 1, on demand: [(m + 2)^2] matrices, each panel by panel:
     * [in_channels][width of the panel]. */
    float *winograd[WINOGRAD_TILES];
    /* The same in words of two input channels (kernels.h), on demand; an odd last one is paired
     * with zero. */
    float *panel_pairs;
    float *winograd_pairs; /* of WINOGRAD_2 */
    /* In words of four input channels (int8.h), on demand; channels beyond the last are zero. */
    float *panel_quads;
    float *weight_steps; /* [padded out_channels] */
};

/* Takes weights [kernel][kernel][in_channels][out_channels] and bias [out_channels], both borrowed.
 * The convolution is cleared with conv_clear, also after a failure. ERROR_NOMEM. */
int conv_pack(struct conv *conv, const float *weights, const float *bias, struct error *err);
void conv_clear(struct conv *conv);

/* Side of the map that a window of side `kernel` with padding kernel / 2 gives. */
static inline uint32_t window_output_side(uint32_t side, uint32_t kernel, uint32_t stride)
{
    return (side + 2 * (kernel / 2) - kernel) / stride + 1;
}

enum conv_algorithm {
    CONV_WINOGRAD_2 = WINOGRAD_2,
    CONV_WINOGRAD_3 = WINOGRAD_3,
    CONV_WINOGRAD_4 = WINOGRAD_4,
    CONV_WINOGRAD_5 = WINOGRAD_5,
    CONV_WINOGRAD_6 = WINOGRAD_6,
    CONV_DIRECT = WINOGRAD_TILES,
    /* With products of bfloat16 values. */
    CONV_BFLOAT16_WINOGRAD_2,
    CONV_BFLOAT16_DIRECT,
    /* Of int8 values. */
    CONV_INT8_DIRECT,
};
_Static_assert((int)CONV_WINOGRAD_6 == WINOGRAD_TILES - 1 && (int)CONV_WINOGRAD_2 == 0,
               "a tile's algorithm has the tile's number");

static inline bool conv_is_bfloat16(enum conv_algorithm algorithm)
{
    return algorithm == CONV_BFLOAT16_WINOGRAD_2 || algorithm == CONV_BFLOAT16_DIRECT;
}

/* The algorithm without its precision. */
static inline enum conv_algorithm conv_scheme(enum conv_algorithm algorithm)
{
    if (algorithm == CONV_BFLOAT16_DIRECT || algorithm == CONV_INT8_DIRECT)
        return CONV_DIRECT;
    return algorithm == CONV_BFLOAT16_WINOGRAD_2 ? CONV_WINOGRAD_2 : algorithm;
}

/* Makes the weights that an algorithm needs, unless they are there. ERROR_NOMEM. */
int conv_prepare(struct conv *conv, enum conv_algorithm algorithm, struct error *err);
int conv_prepare_int8(struct conv *conv, struct error *err);

/* Whether the convolution can be computed by Winograd's tiles. */
static inline bool conv_has_winograd(const struct conv *conv)
{
    return conv->kernel == 3 && conv->stride == 1;
}

/* Bytes of the weights of one of its tiles. */
uint64_t conv_winograd_bytes(const struct conv *conv, enum winograd_tile tile);

/* The algorithm for n maps of this side: the one that should take the least time, by the work and
 * the weights to be read (conv_choice.c). Only the first n_winograd tiles are considered.
 * It may compute with products of the given precision. */
enum conv_algorithm conv_choose(const struct conv *conv, uint32_t side, uint32_t n,
                                uint32_t n_winograd, enum precision precision);
const char *conv_algorithm_name(enum conv_algorithm algorithm);

/* What a thread computes convolutions with. Begins zeroed. */
struct conv_scratch {
    const struct kernels *kernels;
    const struct kernels *bfloat16; /* NULL: none, as the next */
    const struct int8_kernels *int8;
    float *words;  /* conv_map_words */
    float *planes; /* conv_plane_floats */
    float *zeros;  /* as many as the widest map has channels: stands for rows beside a map */
    const float *rows[CONV_KERNEL_MAX * 256];
    const float *residual[256];
    float *out[256];
    float row_scales[256]; /* of int8 */
    uint64_t n_products;   /* since the last look whether to give way */
};

/* Floats of `planes` that the algorithm needs for n maps. */
uint64_t conv_plane_floats(const struct conv *conv, enum conv_algorithm algorithm, uint32_t side,
                           uint32_t n);

/* Words of `words` that the algorithm needs for n maps. */
uint64_t conv_map_words(const struct conv *conv, enum conv_algorithm algorithm, uint32_t side,
                        uint32_t n);

struct conv_call {
    const struct conv *conv;
    enum conv_algorithm algorithm;
    uint32_t n;
    uint32_t side; /* of the maps of `in` */
    const float *in;
    float *out;            /* overlaps nothing but the residual, which may be the same maps */
    const float *residual; /* maps like `out`, or NULL */
    bool relu;
};

/* Calls a product's kernel, and gives way to requests after some tens of microseconds of them. */
void conv_multiply(struct conv_scratch *scratch, void (*product)(const struct gemm *gemm),
                   const struct gemm *gemm);

/* out = activation(conv(in) + bias + residual). */
void conv_apply(struct conv_scratch *scratch, const struct conv_call *call);
/* Its two ways. */
void conv_apply_direct(struct conv_scratch *scratch, const struct conv_call *call);
void conv_apply_winograd(struct conv_scratch *scratch, const struct conv_call *call);
/* Rounds n maps to words of int8 values, each with a step of its own, so that a map's result does
 * not depend on the others. */
void conv_round_maps(const struct int8_kernels *kernels, const float *maps, uint32_t n,
                     size_t map_floats, float *words, float *steps);

#endif
