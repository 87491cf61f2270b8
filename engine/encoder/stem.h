/* The first convolution and the max pool of 3x3, stride 2 and padding 1 that follows it, on grey
 * chips. The network's normalisation and the replication of grey to
 * three channels are folded into the weights: with w summed over channels,
 * conv((x - mean) / std) = conv'(x) - offset, where the offset sums over the taps that lie on the
 * chip, so it differs near the edges. Private to engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_STEM_H
#define CHIPSHOT_ENGINE_ENCODER_STEM_H

#include "engine/encoder/conv.h"
#include "engine/encoder/encoder.h"

enum {
    STEM_STRIDE = 2,
    STEM_SIDE_MAX = ENCODER_INPUT_SIZE_MAX / STEM_STRIDE,
    STEM_ROWS = 3, /* of the convolution's output, that a row of the pool sees */
};

/* Padding is kernel / 2. */
struct stem {
    uint32_t in_channels;
    uint32_t out_channels;
    uint32_t kernel;
    float *weights; /* [kernel][kernel][in_channels][out_channels] until folded, then NULL */
    float *bias;    /* [out_channels], as well */
    struct conv folded;
    double *offsets; /* [kernel][kernel][out_channels]: what each tap takes off */
};

/* mean, std: of each input channel. ERROR_NOMEM; ERROR_INVALID: a weight overflows float32. */
int stem_fold(struct stem *stem, const float *mean, const float *std, struct error *err);
void stem_clear(struct stem *stem);

/* What the stem needs at one input size. */
struct stem_plan {
    uint32_t size;
    uint32_t side;                  /* of the convolution's output */
    uint32_t padded_size;           /* of a chip with its border of zeros */
    uint32_t n_classes;             /* ways in which windows are cut along an axis */
    uint8_t classes[STEM_SIDE_MAX]; /* of each output coordinate */
    float *biases;                  /* [n_classes][n_classes][padded out_channels]: bias - offset */
};

int stem_plan_init(struct stem_plan *plan, const struct stem *stem, uint32_t size,
                   struct error *err);
void stem_plan_clear(struct stem_plan *plan);

/* chips: n x size x size. padded: padded_size squared floats, zero at first. rows: STEM_ROWS rows
 * of the convolution's output, to work in. out: n maps, after ReLU and pool. */
void stem_apply(const struct stem *stem, const struct stem_plan *plan, struct conv_scratch *scratch,
                const float *chips, uint32_t n, float *padded, float *rows, float *out);

#endif
