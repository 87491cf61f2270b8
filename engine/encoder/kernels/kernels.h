/* The encoder's inner loops, one implementation an instruction set, chosen once for the process.
 *
 * All maps are NHWC with the channels padded to a multiple of KERNEL_LANES; what lies in the
 * padding is zero and stays zero, so that no kernel has a tail. Pointers to channels are aligned to
 * 64 bytes. Every kernel sums in an order that does not depend on how many rows, tiles or maps
 * there are, so a chip's bytes do not depend on its neighbours in a batch. Private to
 * engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_KERNELS_KERNELS_H
#define CHIPSHOT_ENGINE_ENCODER_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KERNEL_LANES = 16,
    KERNEL_ALIGNMENT = 64,
    PANEL_WIDTH_MAX = 64,
};

static inline uint32_t padded_channels(uint32_t n_channels)
{
    return (n_channels + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
}

/* Weights are packed in panels of 64 columns (output channels), then one of 32 and one of 16 for
 * what is left: the width of the panel that begins at a column. */
static inline uint32_t panel_width(uint32_t column, uint32_t n_columns)
{
    const uint32_t left = n_columns - column;
    return left >= 64 ? 64 : left >= 32 ? 32 : 16;
}

/* out[m][n] = finish(sum over taps t and depths k of rows[t][m][k] x panels[t][k][n]) for one
 * panel. A tap is one position of a convolution's window; a product of two matrices has one tap. */
struct gemm {
    uint32_t n_rows;
    uint32_t n_taps;
    uint32_t depth;
    uint32_t width;             /* columns: 64, 32 or 16 */
    const float *const *rows;   /* [n_taps][n_rows], each of `depth` floats */
    const float *const *panels; /* [n_taps], each depth x width */
    /* Where as many floats as the panels have are read soon, which come closer to the processor
     * meanwhile; any address does no harm. NULL: not known. */
    const float *ahead;
    float *const *out;            /* [n_rows] */
    const float *const *residual; /* [n_rows], or NULL */
    uint32_t column;              /* of out and residual at which the panel begins */
    const float *bias;            /* `width` floats */
    const float *row_scales;      /* [n_rows], of int8 only (int8.h) */
    const float *column_scales;   /* `width` floats, of int8 only */
    bool accumulate;              /* the sum begins with what is in out, not with zero */
    bool finish; /* add bias and residual, then ReLU if wanted; else the bare sum */
    bool relu;
};

/* Winograd's minimal filtering F(m x m, 3 x 3) (Lavin and Gray, CVPR 2016): m x m outputs of a 3x3
 * convolution from a tile of (m + 2)^2 inputs with (m + 2)^2 products a channel pair. */
enum winograd_tile { WINOGRAD_2, WINOGRAD_3, WINOGRAD_4, WINOGRAD_5, WINOGRAD_6, WINOGRAD_TILES };

static inline uint32_t winograd_outputs(enum winograd_tile tile)
{
    static const uint32_t outputs[WINOGRAD_TILES] = {
        [WINOGRAD_2] = 2, [WINOGRAD_3] = 3, [WINOGRAD_4] = 4, [WINOGRAD_5] = 5, [WINOGRAD_6] = 6};
    return outputs[tile];
}

/* Tiles of a batch of maps, numbered map by map and row by row; the last ones of a row and a map
 * may reach beyond it. Planes: one for each of the (m + 2)^2 products, n_tiles x channels. */
struct winograd {
    uint32_t side;     /* of the maps; the convolution has stride 1 and padding 1 */
    uint32_t channels; /* padded */
    uint32_t first;    /* tile */
    uint32_t n_tiles;
    const float *in;       /* input: the maps */
    float *out;            /* output: the maps */
    float *planes;         /* written by input, read by output */
    size_t plane_stride;   /* floats from plane to plane */
    const float *bias;     /* output only, as the next two */
    const float *residual; /* maps, or NULL */
    bool relu;
};

/* Kernels of reduced precision (make_pairs is not NULL) multiply words of two bfloat16 values, the
 * one with the lower index in the lower half: `rows` and `panels` of their gemm and the planes that
 * their winograd_input writes hold such words, and gemm's depth counts them. All else, sums
 * included, is float32 as elsewhere. A word has the type float because it takes a float's place. */
struct kernels {
    const char *name;
    void (*gemm)(const struct gemm *gemm);
    void (*winograd_input[WINOGRAD_TILES])(const struct winograd *winograd);
    void (*winograd_output[WINOGRAD_TILES])(const struct winograd *winograd);
    /* A row of a pool of 3x3, stride 2, padding 1, of values that are not negative, from the n_rows
     * rows (2 or 3; side x channels) of the map that it sees. */
    void (*max_pool)(const float *const *rows, uint32_t n_rows, uint32_t side, uint32_t channels,
                     float *out);
    /* Rounds n values, a multiple of KERNEL_LANES, to n / 2 words. */
    void (*make_pairs)(const float *values, size_t n, float *pairs);
};

/* Plain loops; the reference of the others. */
extern const struct kernels kernels_scalar;
/* Vectors of four that any compiler knows. */
extern const struct kernels kernels_portable;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;   /* with FMA */
extern const struct kernels kernels_avx512; /* F, BW, DQ and VL */
/* Reduced precision; besides those: BF16. */
extern const struct kernels kernels_avx512_bf16;
#elif defined(__aarch64__)
extern const struct kernels kernels_neon; /* of every such processor */
#endif

/* The fastest that this processor runs. */
const struct kernels *kernels_best(void);
/* Of reduced precision; NULL: none that this processor runs is faster than float32. */
const struct kernels *kernels_bfloat16(void);
/* By its name; NULL: unknown, or not for this processor. */
const struct kernels *kernels_named(const char *name);

#endif
