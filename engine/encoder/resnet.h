/* Inside of the encoder: a ResNet with folded batch norm, and the plan of a run.
 *
 * Activations are NHWC (channels innermost): an im2col row is then a few contiguous copies, a 1x1
 * convolution is a plain matrix product, and bias, residual and ReLU run along channels. Private to
 * engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_RESNET_H
#define CHIPSHOT_ENGINE_ENCODER_RESNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/encoder/encoder.h"
#include "engine/encoder/safetensors.h"

enum {
    RESNET_CHANNELS_MAX = 8192,
    RESNET_BLOCKS_MAX = 200,
    RESNET_PARAMETERS_MAX = 1000000000,
    RESNET_STEM_KERNEL_MAX = 15,
    RESNET_BLOCK_CONVS_MAX = 3,
};

/* A convolution with its batch norm folded in; padding is kernel / 2. */
struct conv {
    uint32_t in_channels;
    uint32_t out_channels;
    uint32_t kernel; /* side, odd */
    uint32_t stride;
    float *weights; /* [kernel][kernel][in_channels][out_channels] */
    float *bias;    /* [out_channels] */
};

struct block {
    uint32_t n_convs; /* 2: BasicBlock, 3: Bottleneck */
    struct conv convs[RESNET_BLOCK_CONVS_MAX];
    bool has_downsample;
    struct conv downsample;
};

struct encoder {
    struct encoder_info info;
    struct conv stem; /* followed by a max pool of 3x3, stride 2, padding 1 */
    uint32_t n_blocks;
    struct block *blocks;                     /* stage after stage */
    uint32_t first_block[ENCODER_STAGES + 1]; /* of each stage; the last entry is n_blocks */
};

/* Side of the map that a window of side `kernel` with padding kernel / 2 gives. */
static inline uint32_t window_output_side(uint32_t side, uint32_t kernel, uint32_t stride)
{
    return (side + 2 * (kernel / 2) - kernel) / stride + 1;
}

/* Fills stem, blocks and the parts of info that follow from the tensors. On failure resnet_clear
 * frees what was made. ERROR_INVALID names the tensor. */
int resnet_init(struct encoder *encoder, const struct safetensors *file, struct error *err);
void resnet_clear(struct encoder *encoder);

/* How one run at an input size is cut. The stem with its pool is segment 0, stage s is segment s.
 * Chips go through the whole network `group` at a time (bounds memory at large inputs) and through
 * a segment segment_groups[] at a time (keeps its activations in the cache). */
struct plan {
    uint32_t input_size;
    uint32_t sides[1 + ENCODER_STAGES]; /* map side at the end of each segment */
    uint32_t last_stage;                /* stages after it are not pooled, so not run */
    uint32_t group;
    uint32_t segment_groups[1 + ENCODER_STAGES];
    uint64_t boundary_floats; /* of each of two buffers between segments */
    uint64_t scratch_floats;  /* of each of four buffers within a segment */
    uint64_t column_floats;   /* of the im2col buffer */
    uint64_t flops_per_chip;
};

/* ERROR_INVALID: the size is out of range, or a workspace would need too much memory. */
int plan_init(struct plan *plan, const struct encoder *encoder, uint32_t input_size,
              struct error *err);

enum { SCRATCH_BUFFERS = 4 };

struct encoder_workspace {
    const struct encoder *encoder; /* borrowed */
    struct plan plan;
    float *boundaries[2];
    float *scratch[SCRATCH_BUFFERS];
    float *columns;
    double *sums; /* one channel vector */
    void *arena;  /* owns all of the above */
};

#endif
