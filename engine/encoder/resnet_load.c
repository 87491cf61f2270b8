/* From tensors to a network: the architecture is read off the shapes, batch norm is folded, and
 * every tensor of the file must be accounted for.
 *
 * Folding (inference): y = (w * x - mean) * g / sqrt(var + eps) + b is a convolution with weights
 * w * s and bias b - mean * s, s = g / sqrt(var + eps), in double precision. */
#include "engine/encoder/resnet.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 96 };

static const double BATCH_NORM_EPSILON = 1e-5;

struct loader {
    const struct safetensors *file;
    bool *used; /* per tensor of the file */
    uint64_t n_parameters;
    struct error *err;
};

static const struct safetensors_tensor *take(struct loader *loader, const char *name)
{
    const struct safetensors_tensor *tensor = safetensors_find(loader->file, name);
    if (tensor == NULL)
        error_set(loader->err, ERROR_INVALID, "tensor %s is missing", name);
    else
        loader->used[tensor - safetensors_at(loader->file, 0)] = true;
    return tensor;
}

static bool has(const struct loader *loader, const char *name)
{
    return safetensors_find(loader->file, name) != NULL;
}

static void shape_text(const uint64_t *shape, uint32_t rank, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (uint32_t i = 0; i < rank && used < size; i++)
        used +=
            (size_t)snprintf(out + used, size - used, "%s%" PRIu64, i == 0 ? "" : ", ", shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

/* ERROR_INVALID unless the shape is `wanted`. */
static int check_shape(const struct safetensors_tensor *tensor, const uint64_t *wanted,
                       uint32_t rank, struct error *err)
{
    if (tensor->rank == rank && memcmp(tensor->shape, wanted, rank * sizeof(*wanted)) == 0)
        return 0;
    char found_text[200];
    char wanted_text[120];
    shape_text(tensor->shape, tensor->rank, found_text, sizeof(found_text));
    shape_text(wanted, rank, wanted_text, sizeof(wanted_text));
    return error_set(err, ERROR_INVALID, "tensor %s has shape %s, not %s", tensor->name, found_text,
                     wanted_text);
}

/* Converts to float32; every value must be finite. `out` is allocated. */
static int load_floats(const struct safetensors_tensor *tensor, float **out, struct error *err)
{
    float *values = calloc(tensor->n_elements, sizeof(*values));
    if (values == NULL)
        return error_set_nomem(err, tensor->name);
    int rc = safetensors_to_float(tensor, values, err);
    for (uint64_t i = 0; rc == 0 && i < tensor->n_elements; i++) {
        if (!isfinite(values[i]))
            rc = error_set(err, ERROR_INVALID, "tensor %s: element %" PRIu64 " is not finite",
                           tensor->name, i);
    }
    if (rc == 0)
        *out = values;
    else
        free(values);
    return rc;
}

static int load_channel_vector(struct loader *loader, const char *norm, const char *part,
                               uint64_t n_channels, float **out)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "%s.%s", norm, part);
    const struct safetensors_tensor *tensor = take(loader, name);
    if (tensor == NULL)
        return ERROR_INVALID;
    int rc = check_shape(tensor, &n_channels, 1, loader->err);
    return rc != 0 ? rc : load_floats(tensor, out, loader->err);
}

static int check_scale(const char *norm, uint64_t channel, double variance, double scale,
                       double bias, struct error *err)
{
    if (variance < 0.0)
        return error_set(err, ERROR_INVALID,
                         "tensor %s.running_var: element %" PRIu64 " is negative", norm, channel);
    if (!isfinite((float)scale) || !isfinite((float)bias))
        return error_set(err, ERROR_INVALID,
                         "batch norm %s: channel %" PRIu64 " overflows float32 when folded", norm,
                         channel);
    return 0;
}

/* Reads a batch norm as one scale and one bias per channel. */
static int load_norm(struct loader *loader, const char *norm, uint32_t n_channels, double *scales,
                     float *biases)
{
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    float *values[4] = {NULL};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 4; i++)
        rc = load_channel_vector(loader, norm, parts[i], n_channels, &values[i]);
    for (uint32_t c = 0; rc == 0 && c < n_channels; c++) {
        const double variance = (double)values[3][c];
        scales[c] = (double)values[0][c] / sqrt(variance + BATCH_NORM_EPSILON);
        const double bias = (double)values[1][c] - (double)values[2][c] * scales[c];
        biases[c] = (float)bias;
        rc = check_scale(norm, c, variance, scales[c], bias, loader->err);
    }
    for (size_t i = 0; i < 4; i++)
        free(values[i]);
    char counter[NAME_SIZE];
    snprintf(counter, sizeof(counter), "%s.num_batches_tracked", norm);
    if (rc == 0 && has(loader, counter))
        take(loader, counter);
    loader->n_parameters += 2 * (uint64_t)n_channels;
    return rc;
}

/* [out][in][ky][kx] to [ky][kx][in][out], scaled per output channel. */
static int fold_weights(const struct conv *conv, const char *name, const float *raw,
                        const double *scales, float *weights, struct error *err)
{
    const uint64_t n_window = (uint64_t)conv->kernel * conv->kernel;
    for (uint64_t o = 0; o < conv->out_channels; o++) {
        for (uint64_t i = 0; i < conv->in_channels; i++) {
            for (uint64_t k = 0; k < n_window; k++, raw++) {
                const float folded = (float)((double)*raw * scales[o]);
                if (!isfinite(folded))
                    return error_set(err, ERROR_INVALID,
                                     "tensor %s overflows float32 when its batch norm is folded",
                                     name);
                weights[(k * conv->in_channels + i) * conv->out_channels + o] = folded;
            }
        }
    }
    return 0;
}

/* Reads the output channels off a convolution's shape and checks the rest against the conv. */
static int read_conv_shape(struct conv *conv, const struct safetensors_tensor *tensor,
                           struct loader *loader)
{
    if (tensor->rank != 4 || tensor->shape[0] < 1 || tensor->shape[0] > RESNET_CHANNELS_MAX)
        return error_set(loader->err, ERROR_INVALID,
                         "tensor %s: rank %u, %" PRIu64
                         " output channels; wanted rank 4 and 1..%d channels",
                         tensor->name, tensor->rank, tensor->rank > 0 ? tensor->shape[0] : 0,
                         RESNET_CHANNELS_MAX);
    const uint64_t wanted[] = {tensor->shape[0], conv->in_channels, conv->kernel, conv->kernel};
    int rc = check_shape(tensor, wanted, 4, loader->err);
    if (rc != 0)
        return rc;
    loader->n_parameters += tensor->n_elements;
    if (loader->n_parameters > RESNET_PARAMETERS_MAX)
        return error_set(loader->err, ERROR_INVALID, "tensor %s: the network exceeds %d parameters",
                         tensor->name, RESNET_PARAMETERS_MAX);
    conv->out_channels = (uint32_t)tensor->shape[0];
    return 0;
}

/* Loads convolution `name`.weight and batch norm `norm`: the conv's shape, and the folded weights
 * and bias, which are the caller's to free, also after a failure. */
static int load_folded(struct loader *loader, struct conv *conv, const char *name, const char *norm,
                       float **weights, float **bias)
{
    char weight[NAME_SIZE];
    snprintf(weight, sizeof(weight), "%s.weight", name);
    const struct safetensors_tensor *tensor = take(loader, weight);
    if (tensor == NULL)
        return ERROR_INVALID;
    int rc = read_conv_shape(conv, tensor, loader);
    if (rc != 0)
        return rc;
    float *raw = NULL;
    double *scales = calloc(conv->out_channels, sizeof(*scales));
    *weights = calloc(tensor->n_elements, sizeof(**weights));
    *bias = calloc(conv->out_channels, sizeof(**bias));
    if (scales == NULL || *weights == NULL || *bias == NULL)
        rc = error_set_nomem(loader->err, weight);
    if (rc == 0)
        rc = load_floats(tensor, &raw, loader->err);
    if (rc == 0)
        rc = load_norm(loader, norm, conv->out_channels, scales, *bias);
    if (rc == 0)
        rc = fold_weights(conv, weight, raw, scales, *weights, loader->err);
    free(raw);
    free(scales);
    return rc;
}

/* Loads into an empty conv. */
static int load_conv(struct loader *loader, struct conv *conv, const char *name, const char *norm,
                     uint32_t in_channels, uint32_t kernel, uint32_t stride)
{
    float *weights = NULL;
    float *bias = NULL;
    *conv = (struct conv){.in_channels = in_channels, .kernel = kernel, .stride = stride};
    int rc = load_folded(loader, conv, name, norm, &weights, &bias);
    if (rc == 0)
        rc = conv_pack(conv, weights, bias, loader->err);
    free(weights);
    free(bias);
    return rc;
}

static int load_stem(struct loader *loader, struct encoder *encoder)
{
    const struct safetensors_tensor *tensor = take(loader, "conv1.weight");
    if (tensor == NULL)
        return ERROR_INVALID;
    const uint64_t in_channels = tensor->shape[1];
    const uint64_t kernel = tensor->shape[2];
    if (tensor->rank != 4 || (in_channels != 1 && in_channels != 3))
        return error_set(loader->err, ERROR_INVALID,
                         "tensor conv1.weight: rank %u, %" PRIu64
                         " input channels; wanted rank 4 and 1 or 3 channels",
                         tensor->rank, in_channels);
    if (kernel % 2 == 0 || kernel < 3 || kernel > CONV_KERNEL_MAX)
        return error_set(loader->err, ERROR_INVALID,
                         "tensor conv1.weight: kernel side %" PRIu64 " is not odd and in 3..%d",
                         kernel, CONV_KERNEL_MAX);
    encoder->info.in_channels = (uint32_t)in_channels;
    struct stem *stem = &encoder->stem;
    struct conv conv = {.in_channels = (uint32_t)in_channels, .kernel = (uint32_t)kernel};
    int rc = load_folded(loader, &conv, "conv1", "bn1", &stem->weights, &stem->bias);
    stem->in_channels = conv.in_channels;
    stem->out_channels = conv.out_channels;
    stem->kernel = conv.kernel;
    return rc;
}

static int load_downsample(struct loader *loader, struct block *block, const char *prefix,
                           uint32_t in_channels, uint32_t stride)
{
    const uint32_t width = block->convs[block->n_convs - 1].out_channels;
    char name[NAME_SIZE];
    char norm[NAME_SIZE];
    char weight[NAME_SIZE];
    snprintf(name, sizeof(name), "%s.downsample.0", prefix);
    snprintf(norm, sizeof(norm), "%s.downsample.1", prefix);
    snprintf(weight, sizeof(weight), "%s.downsample.0.weight", prefix);
    const bool changes = in_channels != width || stride != 1;
    if (!changes && !has(loader, weight))
        return 0;
    if (changes && !has(loader, weight))
        return error_set(loader->err, ERROR_INVALID,
                         "tensor %s is missing: the block changes %u channels to %u at stride %u",
                         weight, in_channels, width, stride);
    block->has_downsample = true;
    int rc = load_conv(loader, &block->downsample, name, norm, in_channels, 1, stride);
    if (rc == 0 && block->downsample.out_channels != width)
        rc = error_set(loader->err, ERROR_INVALID,
                       "tensor %s has %u output channels, its block has %u", weight,
                       block->downsample.out_channels, width);
    return rc;
}

static int load_block(struct loader *loader, struct block *block, const char *prefix,
                      bool bottleneck, uint32_t in_channels, uint32_t stride)
{
    static const uint32_t basic_kernels[] = {3, 3};
    static const uint32_t bottleneck_kernels[] = {1, 3, 1};
    block->n_convs = bottleneck ? 3 : 2;
    /* Torchvision's (v1.5) Bottleneck has its stride in the 3x3 convolution. */
    const uint32_t strided = bottleneck ? 1 : 0;
    uint32_t n_channels = in_channels;
    for (uint32_t i = 0; i < block->n_convs; i++) {
        char name[NAME_SIZE];
        char norm[NAME_SIZE];
        snprintf(name, sizeof(name), "%s.conv%u", prefix, i + 1);
        snprintf(norm, sizeof(norm), "%s.bn%u", prefix, i + 1);
        int rc = load_conv(loader, &block->convs[i], name, norm, n_channels,
                           bottleneck ? bottleneck_kernels[i] : basic_kernels[i],
                           i == strided ? stride : 1);
        if (rc != 0)
            return rc;
        n_channels = block->convs[i].out_channels;
    }
    return load_downsample(loader, block, prefix, in_channels, stride);
}

/* Whether the file has anything of a stage or of one after it; stages count from 0. */
static bool has_stage_from(const struct loader *loader, uint32_t stage)
{
    for (size_t i = 0; i < safetensors_n_tensors(loader->file); i++) {
        const char *name = safetensors_at(loader->file, i)->name;
        for (uint32_t later = stage; later < ENCODER_STAGES; later++) {
            char prefix[NAME_SIZE];
            const int length = snprintf(prefix, sizeof(prefix), "layer%u.", later + 1);
            if (strncmp(name, prefix, (size_t)length) == 0)
                return true;
        }
    }
    return false;
}

/* Blocks per stage: as many as have a conv1. */
static int count_blocks(const struct loader *loader, struct encoder *encoder)
{
    for (uint32_t stage = 0; stage < ENCODER_STAGES; stage++) {
        encoder->first_block[stage] = encoder->n_blocks;
        char name[NAME_SIZE];
        for (uint32_t depth = 0;; depth++, encoder->n_blocks++) {
            snprintf(name, sizeof(name), "layer%u.%u.conv1.weight", stage + 1, depth);
            encoder->info.depths[stage] = depth;
            if (!has(loader, name))
                break;
            if (encoder->n_blocks >= RESNET_BLOCKS_MAX)
                return error_set(loader->err, ERROR_INVALID,
                                 "tensor %s: the network exceeds %d blocks", name,
                                 RESNET_BLOCKS_MAX);
        }
        if (encoder->info.depths[stage] > 0)
            encoder->info.n_stages++;
        else if (stage == 0 || has_stage_from(loader, stage))
            return error_set(loader->err, ERROR_INVALID, "tensor %s is missing", name);
    }
    encoder->first_block[ENCODER_STAGES] = encoder->n_blocks;
    return 0;
}

static int load_stages(struct loader *loader, struct encoder *encoder)
{
    int rc = count_blocks(loader, encoder);
    if (rc != 0)
        return rc;
    encoder->blocks = calloc(encoder->n_blocks, sizeof(*encoder->blocks));
    if (encoder->blocks == NULL)
        return error_set_nomem(loader->err, "the network's blocks");
    const bool bottleneck = has(loader, "layer1.0.conv3.weight");
    encoder->info.bottleneck = bottleneck;
    uint32_t n_channels = encoder->stem.out_channels;
    for (uint32_t stage = 0; stage < encoder->info.n_stages; stage++) {
        for (uint32_t i = 0; i < encoder->info.depths[stage]; i++) {
            char prefix[NAME_SIZE / 2];
            snprintf(prefix, sizeof(prefix), "layer%u.%u", stage + 1, i);
            struct block *block = &encoder->blocks[encoder->first_block[stage] + i];
            block->first_layer = encoder->n_layers;
            rc = load_block(loader, block, prefix, bottleneck, n_channels,
                            stage > 0 && i == 0 ? 2 : 1);
            if (rc != 0)
                return rc;
            n_channels = block->convs[block->n_convs - 1].out_channels;
            encoder->n_layers += block->n_convs + (block->has_downsample ? 1 : 0);
        }
        encoder->info.widths[stage] = n_channels;
    }
    return 0;
}

/* A published file has its classifier; it is not used, but must be this network's. */
static int check_classifier(struct loader *loader, uint32_t width)
{
    if (!has(loader, "fc.weight") && !has(loader, "fc.bias"))
        return 0;
    const struct safetensors_tensor *weight = take(loader, "fc.weight");
    const struct safetensors_tensor *bias = take(loader, "fc.bias");
    if (weight == NULL || bias == NULL)
        return ERROR_INVALID;
    const uint64_t weight_shape[] = {weight->shape[0], width};
    int rc = check_shape(weight, weight_shape, 2, loader->err);
    return rc != 0 ? rc : check_shape(bias, weight_shape, 1, loader->err);
}

static int check_all_used(const struct loader *loader)
{
    for (size_t i = 0; i < safetensors_n_tensors(loader->file); i++) {
        if (!loader->used[i])
            return error_set(loader->err, ERROR_INVALID,
                             "tensor %s does not belong to a ResNet of this shape",
                             safetensors_at(loader->file, i)->name);
    }
    return 0;
}

static void name_architecture(struct encoder_info *info)
{
    static const struct {
        const char *name;
        bool bottleneck;
        uint32_t depths[ENCODER_STAGES];
    } known[] = {
        {"resnet18", false, {2, 2, 2, 2}},  {"resnet34", false, {3, 4, 6, 3}},
        {"resnet50", true, {3, 4, 6, 3}},   {"resnet101", true, {3, 4, 23, 3}},
        {"resnet152", true, {3, 8, 36, 3}},
    };
    snprintf(info->architecture, sizeof(info->architecture), "resnet");
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].bottleneck == info->bottleneck &&
            memcmp(known[i].depths, info->depths, sizeof(info->depths)) == 0)
            snprintf(info->architecture, sizeof(info->architecture), "%s", known[i].name);
    }
}

int resnet_init(struct encoder *encoder, const struct safetensors *file, struct error *err)
{
    const size_t n_tensors = safetensors_n_tensors(file);
    struct loader loader = {.file = file, .err = err};
    loader.used = calloc(n_tensors > 0 ? n_tensors : 1, sizeof(*loader.used));
    if (loader.used == NULL)
        return error_set_nomem(err, "the list of tensors");
    int rc = load_stem(&loader, encoder);
    if (rc == 0)
        rc = load_stages(&loader, encoder);
    if (rc == 0)
        rc = check_classifier(&loader, encoder->info.widths[encoder->info.n_stages - 1]);
    if (rc == 0)
        rc = check_all_used(&loader);
    free(loader.used);
    if (rc != 0)
        return rc;
    encoder->info.n_parameters = loader.n_parameters;
    name_architecture(&encoder->info);
    return 0;
}

void resnet_clear(struct encoder *encoder)
{
    stem_clear(&encoder->stem);
    for (uint32_t i = 0; encoder->blocks != NULL && i < encoder->n_blocks; i++) {
        struct block *block = &encoder->blocks[i];
        for (uint32_t k = 0; k < block->n_convs; k++)
            conv_clear(&block->convs[k]);
        conv_clear(&block->downsample);
    }
    free(encoder->blocks);
    encoder->blocks = NULL;
    encoder->n_blocks = 0;
}
