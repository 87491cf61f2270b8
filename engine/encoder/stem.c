/* A tap of the product is one row of the window: its columns lie side by side in the padded chip,
 * so they are the product's depth. */
#include "engine/encoder/stem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums over the input channels for one tap and output channel: the weight of a grey chip, and what
 * the mean takes off. */
static double fold_tap(const struct stem *stem, uint32_t tap, uint32_t out, const float *mean,
                       const float *std, double *offset)
{
    const float *weights =
        stem->weights + (size_t)tap * stem->in_channels * stem->out_channels + out;
    double sum = 0.0;
    *offset = 0.0;
    for (uint32_t in = 0; in < stem->in_channels; in++) {
        const double weight = (double)weights[(size_t)in * stem->out_channels] / (double)std[in];
        sum += weight;
        *offset += weight * (double)mean[in];
    }
    return sum;
}

int stem_fold(struct stem *stem, const float *mean, const float *std, struct error *err)
{
    const uint32_t n_taps = stem->kernel * stem->kernel;
    const uint32_t n_out = stem->out_channels;
    float *weights = calloc((size_t)n_taps * n_out, sizeof(*weights));
    stem->offsets = calloc((size_t)n_taps * n_out, sizeof(*stem->offsets));
    int rc = 0;
    if (weights == NULL || stem->offsets == NULL) {
        rc = error_set_nomem(err, "the first convolution");
        goto out;
    }
    for (size_t i = 0; i < (size_t)n_taps * n_out; i++) {
        weights[i] = (float)fold_tap(stem, (uint32_t)(i / n_out), (uint32_t)(i % n_out), mean, std,
                                     &stem->offsets[i]);
        if (!isfinite(weights[i]) || !isfinite((float)stem->offsets[i])) {
            rc = error_set(err, ERROR_INVALID,
                           "tensor conv1.weight overflows float32 when the input's mean and "
                           "std are folded");
            goto out;
        }
    }
    stem->folded = (struct conv){
        .in_channels = 1, .out_channels = n_out, .kernel = stem->kernel, .stride = STEM_STRIDE};
    rc = conv_pack(&stem->folded, weights, stem->bias, err);
    free(stem->weights);
    stem->weights = NULL;
out:
    free(weights);
    return rc;
}

void stem_clear(struct stem *stem)
{
    free(stem->weights);
    free(stem->bias);
    free(stem->offsets);
    conv_clear(&stem->folded);
    *stem = (struct stem){0};
}

/* The taps first..end of an axis that lie on the chip, for a window at this output coordinate. */
struct cut {
    uint32_t first;
    uint32_t end;
};

static struct cut cut_at(const struct stem *stem, uint32_t size, uint32_t coordinate)
{
    const uint32_t padding = stem->kernel / 2;
    const uint32_t begin = coordinate * STEM_STRIDE;
    const uint32_t left = size + padding - begin;
    return (struct cut){begin < padding ? padding - begin : 0,
                        left < stem->kernel ? left : stem->kernel};
}

static void classify_cuts(struct stem_plan *plan, const struct stem *stem, struct cut *cuts)
{
    for (uint32_t i = 0; i < plan->side; i++) {
        const struct cut cut = cut_at(stem, plan->size, i);
        uint32_t class = 0;
        while (class < plan->n_classes &&
               (cuts[class].first != cut.first || cuts[class].end != cut.end))
            class ++;
        if (class == plan->n_classes)
            cuts[plan->n_classes++] = cut;
        plan->classes[i] = (uint8_t) class;
    }
}

static float class_bias(const struct stem *stem, struct cut rows, struct cut columns, uint32_t out)
{
    double value = (double)stem->bias[out];
    for (uint32_t y = rows.first; y < rows.end; y++) {
        for (uint32_t x = columns.first; x < columns.end; x++)
            value -= stem->offsets[((size_t)y * stem->kernel + x) * stem->out_channels + out];
    }
    return (float)value;
}

int stem_plan_init(struct stem_plan *plan, const struct stem *stem, uint32_t size,
                   struct error *err)
{
    *plan = (struct stem_plan){
        .size = size,
        .side = window_output_side(size, stem->kernel, STEM_STRIDE),
        .padded_size = size + 2 * (stem->kernel / 2),
    };
    struct cut cuts[STEM_SIDE_MAX];
    classify_cuts(plan, stem, cuts);
    const uint32_t padded = padded_channels(stem->out_channels);
    const uint32_t n = plan->n_classes;
    plan->biases = aligned_alloc(KERNEL_ALIGNMENT, (size_t)n * n * padded * sizeof(float));
    if (plan->biases == NULL)
        return error_set_nomem(err, "the first convolution");
    for (uint32_t i = 0; i < n * n; i++) {
        for (uint32_t out = 0; out < padded; out++)
            plan->biases[(size_t)i * padded + out] =
                out < stem->out_channels ? class_bias(stem, cuts[i / n], cuts[i % n], out) : 0.0f;
    }
    return 0;
}

void stem_plan_clear(struct stem_plan *plan)
{
    free(plan->biases);
    *plan = (struct stem_plan){0};
}

static void pad_chip(const struct stem_plan *plan, uint32_t padding, const float *chip,
                     float *padded)
{
    for (uint32_t y = 0; y < plan->size; y++)
        memcpy(padded + (size_t)(y + padding) * plan->padded_size + padding,
               chip + (size_t)y * plan->size, plan->size * sizeof(*chip));
}

/* One row of the output: its positions are the product's rows. */
static void apply_row(const struct stem *stem, const struct stem_plan *plan,
                      struct conv_scratch *scratch, const float *padded, uint32_t y, float *out)
{
    const struct conv *conv = &stem->folded;
    const uint32_t n_columns = padded_channels(conv->out_channels);
    const uint32_t kernel = conv->kernel;
    const float *biases = plan->biases + (size_t)plan->classes[y] * plan->n_classes * n_columns;
    for (uint32_t x = 0; x < plan->side; x++) {
        scratch->out[x] = out + (size_t)x * n_columns;
        scratch->residual[x] = biases + (size_t)plan->classes[x] * n_columns;
    }
    for (uint32_t tap = 0; tap < kernel; tap++) {
        const float *row = padded + (size_t)(y * STEM_STRIDE + tap) * plan->padded_size;
        for (uint32_t x = 0; x < plan->side; x++)
            scratch->rows[(size_t)tap * plan->side + x] = row + (size_t)x * STEM_STRIDE;
    }
    for (uint32_t column = 0; column < n_columns; column += panel_width(column, n_columns)) {
        const uint32_t width = panel_width(column, n_columns);
        const float *panels[CONV_KERNEL_MAX];
        for (uint32_t tap = 0; tap < kernel; tap++)
            panels[tap] = conv->panels + ((size_t)kernel * column + (size_t)tap * width) * kernel;
        const struct gemm gemm = {
            .n_rows = plan->side,
            .n_taps = kernel,
            .depth = kernel,
            .width = width,
            .rows = scratch->rows,
            .panels = panels,
            .out = scratch->out,
            .residual = scratch->residual,
            .column = column,
            .bias = scratch->zeros,
            .finish = true,
            .relu = true,
        };
        conv_multiply(scratch, scratch->kernels->gemm, &gemm);
    }
}

/* Rows are pooled as soon as they are there: the map before the pool is four times as large as the
 * one after it, and would not stay in the cache. */
static void apply_chip(const struct stem *stem, const struct stem_plan *plan,
                       struct conv_scratch *scratch, const float *padded, float *rows, float *out)
{
    const uint32_t channels = padded_channels(stem->out_channels);
    const size_t row_floats = (size_t)plan->side * channels;
    const uint32_t pooled_side = window_output_side(plan->side, 3, 2);
    uint32_t n_made = 0;
    for (uint32_t y = 0; y < pooled_side; y++, out += (size_t)pooled_side * channels) {
        const uint32_t first = y > 0 ? 2 * y - 1 : 0, end = smaller(2 * y + 2, plan->side);
        const float *seen[STEM_ROWS];
        for (; n_made < end; n_made++)
            apply_row(stem, plan, scratch, padded, n_made, rows + n_made % STEM_ROWS * row_floats);
        for (uint32_t row = first; row < end; row++)
            seen[row - first] = rows + row % STEM_ROWS * row_floats;
        scratch->kernels->max_pool(seen, end - first, plan->side, channels, out);
    }
}

void stem_apply(const struct stem *stem, const struct stem_plan *plan, struct conv_scratch *scratch,
                const float *chips, uint32_t n, float *padded, float *rows, float *out)
{
    const uint32_t pooled_side = window_output_side(plan->side, 3, 2);
    const size_t map_floats =
        (size_t)pooled_side * pooled_side * padded_channels(stem->out_channels);
    for (uint32_t chip = 0; chip < n; chip++) {
        pad_chip(plan, stem->kernel / 2, chips + (size_t)chip * plan->size * plan->size, padded);
        apply_chip(stem, plan, scratch, padded, rows, out + chip * map_floats);
    }
}
