/* Where the time of a run goes, layer by layer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/encoder/resnet.h"

uint64_t layer_begin(const struct encoder_workspace *workspace)
{
    return workspace->times == NULL ? 0 : clock_now_ns();
}

void layer_end(struct encoder_workspace *workspace, uint32_t index, uint64_t begin)
{
    if (workspace->times != NULL)
        workspace->times[index] += clock_now_ns() - begin;
}

int encoder_workspace_measure(struct encoder_workspace *workspace, struct error *err)
{
    free(workspace->times);
    workspace->times = calloc(workspace->encoder->n_layers + 2, sizeof(*workspace->times));
    return workspace->times == NULL ? error_set_nomem(err, "the layers' times") : 0;
}

static void describe_conv(const struct encoder_workspace *workspace, const struct conv *conv,
                          uint32_t number, struct encoder_layer *out)
{
    const struct layer *layer = &workspace->plan.layers[number];
    const uint64_t out_side = window_output_side(layer->side, conv->kernel, conv->stride);
    out->algorithm = conv_algorithm_name(workspace->alone ? layer->alone : layer->together);
    out->side = layer->side;
    out->kernel = conv->kernel;
    out->stride = conv->stride;
    out->in_channels = conv->in_channels;
    out->out_channels = conv->out_channels;
    out->flops = 2 * out_side * out_side * conv->kernel * conv->kernel * conv->in_channels *
                 conv->out_channels;
}

static void describe_stem(const struct encoder_workspace *workspace, struct encoder_layer *out)
{
    const struct stem *stem = &workspace->encoder->stem;
    const uint64_t side = workspace->stem.side;
    snprintf(out->name, sizeof(out->name), "conv1");
    out->algorithm = "direct, one channel";
    out->side = workspace->plan.input_size;
    out->kernel = stem->kernel;
    out->stride = STEM_STRIDE;
    out->in_channels = stem->in_channels;
    out->out_channels = stem->out_channels;
    out->flops =
        2 * side * side * stem->kernel * stem->kernel * stem->in_channels * stem->out_channels;
}

/* A convolution of the blocks by its number. */
static void describe_block_conv(const struct encoder_workspace *workspace, uint32_t number,
                                struct encoder_layer *out)
{
    const struct encoder *encoder = workspace->encoder;
    uint32_t stage = 1;
    uint32_t index = 0;
    while (index + 1 < encoder->n_blocks && encoder->blocks[index + 1].first_layer <= number)
        index++;
    while (encoder->first_block[stage] <= index)
        stage++;
    const struct block *block = &encoder->blocks[index];
    const uint32_t part = number - block->first_layer;
    const uint32_t in_stage = index - encoder->first_block[stage - 1];
    if (part == block->n_convs)
        snprintf(out->name, sizeof(out->name), "layer%u.%u.downsample.0", stage, in_stage);
    else
        snprintf(out->name, sizeof(out->name), "layer%u.%u.conv%u", stage, in_stage, part + 1);
    describe_conv(workspace, part == block->n_convs ? &block->downsample : &block->convs[part],
                  number, out);
}

/* Of the stages that run. */
static uint32_t n_layers_run(const struct encoder_workspace *workspace)
{
    const struct encoder *encoder = workspace->encoder;
    const uint32_t n_blocks = encoder->first_block[workspace->plan.last_stage];
    return n_blocks < encoder->n_blocks ? encoder->blocks[n_blocks].first_layer : encoder->n_layers;
}

bool encoder_workspace_layer(const struct encoder_workspace *workspace, uint32_t index,
                             struct encoder_layer *out)
{
    const uint32_t n = n_layers_run(workspace);
    if (workspace->times == NULL || index > n + 1)
        return false;
    *out = (struct encoder_layer){.algorithm = ""};
    out->seconds = (double)workspace->times[index] * 1e-9;
    if (index == 0) {
        describe_stem(workspace, out);
    } else if (index <= n) {
        describe_block_conv(workspace, index - 1, out);
    } else {
        snprintf(out->name, sizeof(out->name), "pooling");
        out->seconds = (double)workspace->times[workspace->encoder->n_layers + 1] * 1e-9;
    }
    return true;
}
