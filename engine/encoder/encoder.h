/* The encoder: a ResNet (He et al., CVPR 2016) that turns a chip into an embedding.
 *
 * Weights come from safetensors with torchvision/timm tensor names; block type (BasicBlock or
 * Bottleneck), depths, widths and input channels (1 or 3) come from the tensor shapes, so any
 * published ResNet-18/34/50/101/152 file works unchanged. A file may lack the last stages, but not
 * the first. Batch norm is folded at load.
 *
 * One metadata key, "chipshot", may hold a JSON object {"format": 1, "name", "input_size", "mean":
 * [..], "std": [..], "pool": {"stages": [0,2,3], "statistics": ["mean","std"], "chip_copies":
 * [48,64]}, "encoding": "chips"|"dense", ...}; other keys in it are information. Without it: input
 * size 224, ImageNet mean and std for three channels (0 and 1 for one), the last stage that the
 * file has, mean, 48 and 64 copies, chips.
 *
 * An encoder is immutable and shared by all threads; each thread has one workspace.
 */
#ifndef CHIPSHOT_ENGINE_ENCODER_ENCODER_H
#define CHIPSHOT_ENGINE_ENCODER_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/encoder/precision.h"
#include "engine/encoding.h"

enum {
    ENCODER_STAGES = 4,
    ENCODER_POOLED = 1 + ENCODER_STAGES, /* what can be pooled: stage 0 is the chip itself */
    ENCODER_MEAN_COPIES = 48,     /* of a chip's mean beside stage 0, where a file says nothing */
    ENCODER_CONTRAST_COPIES = 64, /* of its slow contrast */
    ENCODER_COPIES_MAX = 256,     /* of either */
    ENCODER_INPUT_SIZE_MIN = 16,
    ENCODER_INPUT_SIZE_MAX = 512,
    ENCODER_BATCH = 32, /* chips in a full batch: the unit of work of the pool */
};

struct encoder;
struct encoder_workspace;

/* What is pooled of a stage's maps. */
enum encoder_statistic { ENCODER_MEAN, ENCODER_STD, ENCODER_STATISTICS };

struct encoder_info {
    char name[64];         /* from the metadata, else the architecture's name */
    char architecture[32]; /* "resnet18", "resnet50", ... or "resnet" when the depths are unusual */
    bool bottleneck;       /* block type */
    uint32_t n_stages;     /* that the file has, the first ones; 1 at least */
    uint32_t depths[ENCODER_STAGES]; /* blocks per stage; 0 of those that it lacks */
    uint32_t widths[ENCODER_STAGES]; /* output channels per stage; the same */
    uint32_t in_channels;            /* 1 or 3; a grey chip is replicated */
    uint32_t input_size;             /* pixels a side */
    float mean[3]; /* input normalisation per channel: (x - mean) / std, x in 0..1 */
    float std[3];
    bool pool_stages[ENCODER_POOLED]; /* which are pooled; one of 1 to n_stages at least */
    bool pool_mean;
    bool pool_std;                            /* population standard deviation over positions */
    uint32_t chip_copies[ENCODER_STATISTICS]; /* of stage 0's numbers, should it be pooled */
    enum encoding encoding; /* chips or dense: how jobs that do not say are encoded */
    uint32_t dimension;     /* floats of an embedding */
    uint64_t n_parameters;
    uint64_t flops_per_chip; /* multiply-adds x 2 of direct convolution at input_size */
};

/* The kernels that encode on this processor: avx512, avx2, portable or scalar. Embeddings have the
 * same bytes wherever these are the same. */
const char *encoder_kernels(void);

/* Loads an encoder; `data` is borrowed for the call. ERROR_INVALID: a tensor is missing, extra, of
 * a wrong shape or dtype, not finite, or the metadata is wrong; the message names it. ERROR_NOMEM.
 */
int encoder_create(struct encoder **out, const void *data, size_t size, struct error *err);
void encoder_destroy(struct encoder *encoder);
const struct encoder_info *encoder_info(const struct encoder *encoder);

/* Floats that one statistic of a stage takes in an embedding: its channels, or stage 0's copies. */
uint32_t encoder_stage_width(const struct encoder_info *info, uint32_t stage,
                             enum encoder_statistic statistic);

/* Whether one statistic of one stage is all that is pooled: it is then returned as pooled. */
bool encoder_pools_one_vector(const struct encoder_info *info);

/* A thread's memory for batches of up to ENCODER_BATCH chips of input_size pixels a side (0: the
 * encoder's own); planned once, no allocation afterwards. The first one of an algorithm packs its
 * weights, which takes seconds of hundreds of MB: `cancel` (NULL: never) is asked at each block.
 * ERROR_INVALID: size out of range, or as precision_check. ERROR_CANCELLED. */
int encoder_workspace_create(struct encoder_workspace **out, const struct encoder *encoder,
                             uint32_t input_size, enum precision precision,
                             const struct cancel *cancel, struct error *err);
/* The same for encoder_run_tile: tiles of `side` pixels, one at a time. */
int encoder_workspace_create_tile(struct encoder_workspace **out, const struct encoder *encoder,
                                  uint32_t side, enum precision precision,
                                  const struct cancel *cancel, struct error *err);
void encoder_workspace_destroy(struct encoder_workspace *workspace);
/* From now on encoder_embed asks `cancel` (borrowed; NULL: never, as at first) before each layer
 * and leaves out the rest once it says yes: then the embeddings mean nothing. */
void encoder_workspace_set_cancel(struct encoder_workspace *workspace, const struct cancel *cancel);
/* As encoder_info's flops_per_chip, at the workspace's input size. */
uint64_t encoder_workspace_flops(const struct encoder_workspace *workspace);

/* One step of a run, as measured. */
struct encoder_layer {
    char name[32];         /* as in the file, without ".weight"; or "pooling" */
    const char *algorithm; /* of batches; of the last call if that had one chip */
    uint32_t side;         /* of its input */
    uint32_t kernel;
    uint32_t stride;
    uint32_t in_channels;
    uint32_t out_channels;
    uint64_t flops; /* a chip's, as in encoder_info */
    double seconds; /* in all calls since measuring began */
};

/* From now on measures the time of each layer, which costs a little. ERROR_NOMEM. */
int encoder_workspace_measure(struct encoder_workspace *workspace, struct error *err);
/* Layer `index` of a workspace that measures, in the order of the run; false when there is none. */
bool encoder_workspace_layer(const struct encoder_workspace *workspace, uint32_t index,
                             struct encoder_layer *out);

/* Writes one of stage 0's numbers as it stands in an embedding: its copies, which together are as
 * long as it is large. Returns where the next part goes. */
float *encoder_put_number(const struct encoder_info *info, enum encoder_statistic statistic,
                          float number, float *out);

/* Embeds n chips, 1 to ENCODER_BATCH.
 * chips: n x size x size, grey, 0..1, row-major, borrowed. out: n x dimension.
 * Each pooled statistic is L2-normalised (divided by max(norm, 1e-12)) and they are concatenated:
 * stage by stage, mean before std. With only one pooled vector it is returned as pooled, not
 * normalised. Stage 0 is the chip before the network's normalisation: in place of the mean of a
 * map its own mean; in place of the std its slow contrast, the difference between the brightest and
 * the darkest of 9 x 9 windows, evenly spread, a third of the chip wide, in which lattice and noise
 * average out. These are single numbers, so they are not normalised; each stands there
 * chip_copies times, divided by the root of that: a part as long as the number is large,
 * which counts as so many dimensions where each is standardised. The result depends on the chips of
 * the call alone: not on the thread, and not on earlier calls. In calls of two chips or more a
 * chip's embedding has the same bytes, whatever the others are; a chip that is alone may be rounded
 * otherwise. It is finite: where weights are so large that float32 overflows it is 0. No
 * allocation. */
void encoder_embed(const struct encoder *encoder, struct encoder_workspace *workspace,
                   const float *chips, uint32_t n, float *out);

/* A stage's map of a tile: side x side positions of `stride` floats, of which the first n_channels
 * count and none is negative or, but for weights that overflow float32, not finite. Borrowed. */
struct encoder_map {
    const float *values;
    uint32_t side;
    uint32_t n_channels;
    uint32_t stride;
};

/* Takes the map of a pooled stage, 1 to 4. */
typedef void (*encoder_take_map)(void *context, uint32_t stage, const struct encoder_map *map);

/* Runs the network on one tile (side x side, as the chips of encoder_embed) and hands over the maps
 * of the stages that are pooled, in order. Position i of a stage's map, along either axis, is
 * centred on pixel i * encoder_stage_step. The result depends on the tile alone. Leaves out what
 * remains once the workspace's cancel says so. No allocation. */
void encoder_run_tile(const struct encoder *encoder, struct encoder_workspace *workspace,
                      const float *tile, encoder_take_map take, void *context);

/* Pixels from position to position in a stage's map, 1 to 4. */
static inline uint32_t encoder_stage_step(uint32_t stage)
{
    return UINT32_C(2) << stage;
}

#endif
