/* Inside of the encoder: a ResNet with folded batch norm, and the plan of a run. Private to
 * engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_RESNET_H
#define CHIPSHOT_ENGINE_ENCODER_RESNET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/encoder/conv.h"
#include "engine/encoder/encoder.h"
#include "engine/encoder/safetensors.h"
#include "engine/encoder/stem.h"

enum {
    RESNET_CHANNELS_MAX = 8192,
    RESNET_BLOCKS_MAX = 200,
    RESNET_PARAMETERS_MAX = 1000000000,
    RESNET_BLOCK_CONVS_MAX = 3,
};

struct block {
    uint32_t n_convs; /* 2: BasicBlock, 3: Bottleneck */
    struct conv convs[RESNET_BLOCK_CONVS_MAX];
    bool has_downsample;
    struct conv downsample;
    uint32_t first_layer; /* number of convs[0]; the others follow, downsample last */
};

struct encoder {
    struct encoder_info info;
    struct stem stem;
    uint32_t n_blocks;
    uint32_t n_layers;                        /* convolutions of all blocks */
    struct block *blocks;                     /* stage after stage */
    uint32_t first_block[ENCODER_STAGES + 1]; /* of each stage; n_blocks behind the last one */
    pthread_mutex_t packing; /* held while weights of another algorithm are made (conv.h) */
};

/* Fills stem, blocks and the parts of info that follow from the tensors. On failure resnet_clear
 * frees what was made. ERROR_INVALID names the tensor. */
int resnet_init(struct encoder *encoder, const struct safetensors *file, struct error *err);
void resnet_clear(struct encoder *encoder);

/* Floats that all of a stage's statistics take in an embedding; 0 where it is not pooled. */
uint32_t encoder_stage_floats(const struct encoder_info *info, uint32_t stage);

/* How one convolution is computed. A chip on its own takes another way than chips together: the
 * weights' way from memory is then the cost, not the products. */
struct layer {
    uint32_t side; /* of its input */
    enum conv_algorithm together;
    enum conv_algorithm alone;
};

/* How one run at an input size is cut. The stem is segment 0, stage s is segment s.
 * segment_groups[s] chips at most go through a segment together: few, so that the maps stay in the
 * cache, but not so few that fetching the weights costs more than the products. They never get
 * fewer from segment to segment: what one hands on fits in the next one's group.
 *
 * Invariant (plan_check): groups are within 1..batch and never fall; the buffers hold, for
 * each segment that runs, its group's maps and, for each of its layers, what the algorithms chosen
 * for the group and for a chip alone need; no layer uses a tile beyond the first n_winograd. */
struct plan {
    uint32_t input_size;
    uint32_t batch; /* chips of a call at most */
    enum precision precision;
    uint32_t sides[1 + ENCODER_STAGES];      /* map side at the end of each segment */
    uint64_t map_floats[1 + ENCODER_STAGES]; /* of the map there */
    uint32_t last_stage;                     /* stages after it are not pooled, so not run */
    uint32_t segment_groups[1 + ENCODER_STAGES];
    uint32_t n_winograd;                          /* of Winograd's tiles, the first ones are used */
    struct layer *layers;                         /* n_layers; of stages that do not run unused */
    uint64_t boundary_floats[1 + ENCODER_STAGES]; /* of the maps that each segment works in */
    uint64_t scratch_floats;                      /* of each of two buffers within a segment */
    uint64_t plane_floats;                        /* of Winograd's planes */
    uint64_t map_words;                           /* of maps in reduced precision */
    uint64_t padded_floats;                       /* of a chip with its border */
    uint32_t widest;                              /* channels of the widest map, padded */
    uint64_t flops_per_chip;
};

/* ERROR_INVALID: the size is out of range, or a workspace would need too much memory. */
int plan_init(struct plan *plan, const struct encoder *encoder, uint32_t input_size, uint32_t batch,
              enum precision precision, struct error *err);
void plan_clear(struct plan *plan);
/* Bytes of the arena of a workspace. */
uint64_t plan_arena_bytes(const struct plan *plan);

enum { SCRATCH_BUFFERS = 2 };

struct encoder_workspace {
    const struct encoder *encoder; /* borrowed */
    struct plan plan;
    struct stem_plan stem;
    float *boundaries[1 + ENCODER_STAGES];
    float *scratch[SCRATCH_BUFFERS];
    float *padded;
    void *arena; /* owns all buffers */
    struct conv_scratch conv;
    bool alone; /* the call has one chip */
    const struct cancel *cancel;
    /* Nanoseconds of the stem, of each layer and of pooling; NULL: not measured. */
    uint64_t *times;
};

/* Around a step: adds its time to slot `index`, if this workspace measures. */
uint64_t layer_begin(const struct encoder_workspace *workspace);
void layer_end(struct encoder_workspace *workspace, uint32_t index, uint64_t begin);

/* A multiple of the alignment of channels. */
static inline uint64_t align_size(uint64_t n_bytes)
{
    return (n_bytes + KERNEL_ALIGNMENT - 1) / KERNEL_ALIGNMENT * KERNEL_ALIGNMENT;
}

#endif
