/* Rows are embedded image by image and size by size, whatever the manifest's order, so that each
 * image is decoded once; `order` arrays hold row numbers. */
#include "server/cli/manifest_embed.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct walk {
    const struct manifest *manifest;
    const char *root;
    const struct normalise_params *normalise;
    chip_embeddings make;
    void *context;
    uint32_t dimension;
    float *embeddings; /* n_rows x dimension */
};

/* Rows order[0..n), all of one image and size. */
static int embed_run(const struct walk *walk, const size_t *order, uint32_t n,
                     const struct image *image, struct error *err)
{
    uint32_t dimension = walk->dimension;
    struct chip_rect *rects = calloc(n, sizeof(rects[0]));
    float *embeddings = calloc((size_t)n * dimension, sizeof(float));
    int rc = rects == NULL || embeddings == NULL ? error_set_nomem(err, "embeddings") : 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        const struct manifest_row *row = &walk->manifest->rows[order[i]];
        rects[i] = (struct chip_rect){row->x, row->y, row->size, row->size};
        struct error inner = {0};
        if (chip_rect_check(&rects[i], image->info.width, image->info.height, &inner) < 0)
            rc = error_set(err, ERROR_INVALID, "manifest row %zu (%.200s): %.200s", order[i] + 1,
                           row->image, inner.message);
    }
    if (rc == 0)
        rc = walk->make(walk->context, image, rects, n, embeddings, err);
    for (uint32_t i = 0; i < n && rc == 0; i++)
        memcpy(walk->embeddings + order[i] * dimension, embeddings + (size_t)i * dimension,
               dimension * sizeof(float));
    free(rects);
    free(embeddings);
    return rc;
}

static int embed_image(const struct walk *walk, const size_t *order, size_t n, struct error *err)
{
    char path[PATH_MAX];
    const struct manifest_row *rows = walk->manifest->rows;
    const char *name = rows[order[0]].image;
    if (snprintf(path, sizeof(path), "%s/%s", walk->root, name) >= PATH_MAX)
        return error_set(err, ERROR_INVALID, "%.100s: the path is too long", name);
    struct image image = {0};
    int rc = session_load_image(path, walk->normalise, &image, NULL, err);
    for (size_t first = 0; first < n && rc == 0;) {
        size_t end = first;
        while (end < n && rows[order[end]].size == rows[order[first]].size)
            end++;
        rc = embed_run(walk, order + first, (uint32_t)(end - first), &image, err);
        first = end;
    }
    image_clear(&image);
    return rc;
}

int manifest_embed(const struct manifest *manifest, const char *root,
                   const struct normalise_params *normalise, chip_embeddings make, void *context,
                   uint32_t dimension, float **out, struct error *err)
{
    size_t n = manifest->n_rows;
    const struct manifest_row *rows = manifest->rows;
    size_t *order = calloc(n, sizeof(order[0]));
    struct walk walk = {.manifest = manifest,
                        .root = root,
                        .normalise = normalise,
                        .make = make,
                        .context = context,
                        .dimension = dimension,
                        .embeddings = calloc(n * dimension, sizeof(float))};
    int rc = order == NULL || walk.embeddings == NULL ? error_set_nomem(err, "embeddings") : 0;
    if (rc == 0) {
        for (size_t i = 0; i < n; i++)
            order[i] = i;
        qsort_r(order, n, sizeof(order[0]), compare_rows, (void *)manifest);
    }
    for (size_t first = 0; first < n && rc == 0;) {
        size_t end = first;
        while (end < n && strcmp(rows[order[end]].image, rows[order[first]].image) == 0)
            end++;
        rc = embed_image(&walk, order + first, end - first, err);
        first = end;
    }
    free(order);
    if (rc < 0)
        free(walk.embeddings);
    else
        *out = walk.embeddings;
    return rc;
}
