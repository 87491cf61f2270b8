/* A thread's memory: one arena that the plan cuts into buffers, and weights of the algorithms that
 * the plan chose, which all workspaces of an encoder share. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/encoder/resnet.h"

static int pack_layer(struct conv *conv, const struct layer *layer, struct error *err)
{
    int rc = conv_prepare(conv, layer->together, err);
    return rc == 0 ? conv_prepare(conv, layer->alone, err) : rc;
}

/* The blocks are the encoder's, and other threads may be reading them: weights of an algorithm are
 * only ever added, under the lock, and a thread reads those that it saw made. */
static int pack_weights(const struct encoder *encoder, const struct plan *plan,
                        const struct cancel *cancel, struct error *err)
{
    pthread_mutex_t *mutex = (pthread_mutex_t *)&encoder->packing;
    pthread_mutex_lock(mutex);
    int rc = 0;
    for (uint32_t i = 0; i < encoder->first_block[plan->last_stage] && rc == 0; i++) {
        struct block *block = &encoder->blocks[i];
        if (cancel_is_asked(cancel))
            rc = error_set(err, ERROR_CANCELLED, "packing the weights was called off");
        for (uint32_t k = 0; k < block->n_convs && rc == 0; k++)
            rc = pack_layer(&block->convs[k], &plan->layers[block->first_layer + k], err);
        if (rc == 0 && block->has_downsample)
            rc = pack_layer(&block->downsample, &plan->layers[block->first_layer + block->n_convs],
                            err);
    }
    pthread_mutex_unlock(mutex);
    return rc;
}

/* Cuts a buffer off the arena. */
static void *cut(uint8_t **next, uint64_t n_bytes)
{
    uint8_t *buffer = *next;
    *next += align_size(n_bytes);
    return buffer;
}

static int lay_out(struct encoder_workspace *workspace, struct error *err)
{
    const struct plan *plan = &workspace->plan;
    const uint64_t n_bytes = plan_arena_bytes(plan);
    workspace->arena = allocate_bytes(n_bytes);
    if (workspace->arena == NULL)
        return error_set_nomem(err, "an encoder workspace");
    uint8_t *next = workspace->arena;
    for (size_t i = 0; i <= ENCODER_STAGES; i++)
        workspace->boundaries[i] = cut(&next, plan->boundary_floats[i] * sizeof(float));
    for (size_t i = 0; i < SCRATCH_BUFFERS; i++)
        workspace->scratch[i] = cut(&next, plan->scratch_floats * sizeof(float));
    workspace->conv.planes = cut(&next, plan->plane_floats * sizeof(float));
    workspace->conv.words = cut(&next, plan->map_words * sizeof(float));
    workspace->padded = cut(&next, plan->padded_floats * sizeof(float));
    memset(workspace->padded, 0, plan->padded_floats * sizeof(float));
    workspace->conv.zeros = cut(&next, plan->widest * sizeof(float));
    memset(workspace->conv.zeros, 0, plan->widest * sizeof(float));
    assert(next == (uint8_t *)workspace->arena + n_bytes);
    return 0;
}

static int create(struct encoder_workspace **out, const struct encoder *encoder, uint32_t size,
                  uint32_t batch, enum precision precision, const struct cancel *cancel,
                  struct error *err)
{
    if (precision_check(precision, err) != 0)
        return ERROR_INVALID;
    struct encoder_workspace *workspace = calloc(1, sizeof(*workspace));
    if (workspace == NULL)
        return error_set_nomem(err, "an encoder workspace");
    workspace->encoder = encoder;
    workspace->conv.kernels = kernels_best();
    if (precision == PRECISION_BFLOAT16)
        workspace->conv.bfloat16 = kernels_bfloat16();
    if (precision == PRECISION_INT8)
        workspace->conv.int8 = int8_kernels();
    int rc = plan_init(&workspace->plan, encoder, size, batch, precision, err);
    if (rc == 0)
        rc = stem_plan_init(&workspace->stem, &encoder->stem, size, err);
    if (rc == 0)
        rc = pack_weights(encoder, &workspace->plan, cancel, err);
    if (rc == 0)
        rc = lay_out(workspace, err);
    if (rc == 0) {
        *out = workspace;
        workspace = NULL;
    }
    encoder_workspace_destroy(workspace);
    return rc;
}

int encoder_workspace_create(struct encoder_workspace **out, const struct encoder *encoder,
                             uint32_t input_size, enum precision precision,
                             const struct cancel *cancel, struct error *err)
{
    const uint32_t size = input_size == 0 ? encoder->info.input_size : input_size;
    return create(out, encoder, size, ENCODER_BATCH, precision, cancel, err);
}

int encoder_workspace_create_tile(struct encoder_workspace **out, const struct encoder *encoder,
                                  uint32_t side, enum precision precision,
                                  const struct cancel *cancel, struct error *err)
{
    return create(out, encoder, side, 1, precision, cancel, err);
}

void encoder_workspace_set_cancel(struct encoder_workspace *workspace, const struct cancel *cancel)
{
    workspace->cancel = cancel;
}

void encoder_workspace_destroy(struct encoder_workspace *workspace)
{
    if (workspace == NULL)
        return;
    stem_plan_clear(&workspace->stem);
    plan_clear(&workspace->plan);
    free(workspace->arena);
    free(workspace->times);
    free(workspace);
}

uint64_t encoder_workspace_flops(const struct encoder_workspace *workspace)
{
    return workspace->plan.flops_per_chip;
}
