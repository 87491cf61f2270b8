#include "server/manifest_embed.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows are embedded image by image and size by size, whatever the manifest's order, so that each
 * image is decoded once; `order` arrays hold row numbers. */
static int compare_rows(const void *a, const void *b, void *context)
{
    const struct manifest *manifest = context;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const struct manifest_row *p = &manifest->rows[i], *q = &manifest->rows[j];
    int images = strcmp(p->image, q->image);
    if (images != 0)
        return images;
    if (p->size != q->size)
        return p->size < q->size ? -1 : 1;
    return i < j ? -1 : i > j;
}

/* Embeds rows order[0..n), all of one image and size. */
static int embed_run(struct session *session, const struct manifest *manifest, const size_t *order,
                     uint32_t n, const struct image *image, float *out, struct error *err)
{
    uint32_t dimension = encoder_info(session->encoder)->dimension;
    struct chip_rect *rects = calloc(n, sizeof(rects[0]));
    float *vectors = calloc((size_t)n * dimension, sizeof(float));
    int status = rects == NULL || vectors == NULL ? error_set_nomem(err, "embeddings") : 0;
    for (uint32_t i = 0; i < n && status == 0; i++) {
        const struct manifest_row *row = &manifest->rows[order[i]];
        rects[i] = (struct chip_rect){row->x, row->y, row->size, row->size};
        struct error inner = {0};
        if (chip_rect_check(&rects[i], image->info.width, image->info.height, &inner) < 0)
            status = error_set(err, ERROR_INVALID, "manifest row %zu (%.200s): %.200s",
                               order[i] + 1, row->image, inner.message);
    }
    if (status == 0)
        status = embed_rects(session->embedder, session->lane, image->pixels, image->info.width,
                             rects, n, ENCODER_BATCH, vectors, err);
    for (uint32_t i = 0; i < n && status == 0; i++)
        memcpy(out + order[i] * dimension, vectors + (size_t)i * dimension,
               dimension * sizeof(float));
    free(rects);
    free(vectors);
    return status;
}

static int embed_image(struct session *session, const struct manifest *manifest, const char *root,
                       const size_t *order, size_t n, float *out, struct error *err)
{
    char path[PATH_MAX];
    const char *name = manifest->rows[order[0]].image;
    if (snprintf(path, sizeof(path), "%s/%s", root, name) >= PATH_MAX)
        return error_set(err, ERROR_INVALID, "%.100s: the path is too long", name);
    struct image image = {0};
    int status = session_load_image(path, &normalise_params_default, &image, err);
    for (size_t first = 0; first < n && status == 0;) {
        size_t end = first;
        while (end < n && manifest->rows[order[end]].size == manifest->rows[order[first]].size)
            end++;
        status =
            embed_run(session, manifest, order + first, (uint32_t)(end - first), &image, out, err);
        first = end;
    }
    image_clear(&image);
    return status;
}

int manifest_embed(struct session *session, const struct manifest *manifest, const char *root,
                   float **out, struct error *err)
{
    size_t n = manifest->n_rows;
    size_t *order = calloc(n, sizeof(order[0]));
    float *vectors = calloc(n * encoder_info(session->encoder)->dimension, sizeof(float));
    int status = order == NULL || vectors == NULL ? error_set_nomem(err, "embeddings") : 0;
    if (status == 0) {
        for (size_t i = 0; i < n; i++)
            order[i] = i;
        qsort_r(order, n, sizeof(order[0]), compare_rows, (void *)manifest);
    }
    for (size_t first = 0; first < n && status == 0;) {
        size_t end = first;
        while (end < n &&
               strcmp(manifest->rows[order[end]].image, manifest->rows[order[first]].image) == 0)
            end++;
        status = embed_image(session, manifest, root, order + first, end - first, vectors, err);
        first = end;
    }
    free(order);
    if (status < 0)
        free(vectors);
    else
        *out = vectors;
    return status;
}
