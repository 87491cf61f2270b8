/* What is made is kept under the name of the image's bytes, so these are checked first; and then
 * they need not be judged a second time while they are decoded. */
#include "api/view_make.h"

#include <stdlib.h>
#include <string.h>

#include "api/job/image_counts.h"
#include "api/job/mask_document.h"
#include "engine/image/mask/mask.h"

struct making {
    const struct view_source *from;
    struct store_file blob;
    struct image_source source;
    struct pyramid_maker *maker;
    struct mask mask; /* bits NULL: nothing is left out */
    uint8_t *rows;    /* SOURCE_BLOCK_ROWS of samples; owned */
    uint8_t *greys;   /* the same in 8 bits; owned */
};

static int check_cancel(const struct making *making, struct error *err)
{
    return cancel_is_asked(making->from->cancel)
               ? error_set(err, ERROR_CANCELLED, "stopped on request")
               : 0;
}

/* The bytes were verified when they were uploaded: what fails now was damaged since, or the limits
 * were lowered. */
static int fail(const struct making *making, const struct error *cause, struct error *err)
{
    if (cause->code == ERROR_INVALID)
        return error_set(err, ERROR_CORRUPT, "stored image %s: %.400s", making->from->image->id,
                         cause->message);
    return error_set(err, cause->code, "%s", cause->message);
}

static int open_file(struct making *making, struct error *err)
{
    const struct view_source *from = making->from;
    struct error cause = {0};
    int rc = store_file_open(from->store, from->image->sha256, from->cancel, &making->blob, &cause);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "the file of image %s is missing", from->image->id);
    return rc != 0 ? error_set(err, rc, "image %s: %.400s", from->image->id, cause.message) : 0;
}

static int open_source(struct making *making, struct error *err)
{
    const struct view_source *from = making->from;
    const struct image_info *info = &making->source.info;
    struct error cause = {0};
    const struct image_request request = {.data = making->blob.data,
                                          .size = making->blob.size,
                                          .limits = from->limits,
                                          .frame = from->image->frame,
                                          .trust = IMAGE_CHECKED,
                                          .cancel = from->cancel};
    int rc = image_open(&request, &making->source, &cause);
    if (rc != 0)
        return fail(making, &cause, err);
    if (info->width == from->image->width && info->height == from->image->height)
        return 0;
    image_source_close(&making->source);
    return error_set(err, ERROR_CORRUPT, "stored image %s has another size", from->image->id);
}

/* What was found in the image has no say in its greys, lest a data bar take all of their range. */
static int draw_mask(struct making *making, struct error *err)
{
    const struct db_image *image = making->from->image;
    const uint64_t n_pixels = (uint64_t)image->width * image->height;
    struct image_look look;
    int rc = image_look_from_text(image->look, image->width, image->height, &look, err);
    if (rc != 0 || look.n_bars == 0)
        return rc;
    rc = mask_init(&making->mask, image->width, image->height, err);
    for (uint32_t i = 0; rc == 0 && i < look.n_bars; i++)
        mask_add_rectangle(&making->mask, &look.bars[i].rect);
    if (rc == 0 && making->mask.n_pixels == n_pixels)
        mask_clear(&making->mask);
    return rc;
}

/* ---- of types that have levels, by rows ---- */

static int read_rows(struct making *making, uint32_t *n, struct error *err)
{
    struct error cause = {0};
    int rc = image_source_read(&making->source, SOURCE_BLOCK_ROWS, making->rows, n, &cause);
    return rc != 0 ? fail(making, &cause, err) : 0;
}

/* Of row `y`, which is not left out. */
static void count_row(const struct making *making, uint32_t y, const uint8_t *row, uint32_t *counts)
{
    const enum sample_type type = making->source.info.type;
    const uint32_t width = making->source.info.width;
    const size_t size = sample_type_size(type);
    uint32_t counted = 0, x = 0, end;
    for (; making->mask.bits != NULL && mask_next_run(&making->mask, y, &x, &end); x = end) {
        samples_add_counts(type, row + counted * size, x - counted, counts);
        counted = end;
    }
    samples_add_counts(type, row + counted * size, width - counted, counts);
}

static int count_rows(struct making *making, uint32_t *counts, struct error *err)
{
    const struct image_info info = making->source.info;
    int rc = 0;
    while (rc == 0 && making->source.n_rows < info.height) {
        const uint32_t first = making->source.n_rows;
        uint32_t n;
        rc = read_rows(making, &n, err);
        for (uint32_t y = 0; rc == 0 && y < n; y++)
            count_row(making, first + y,
                      making->rows + (size_t)y * info.width * sample_type_size(info.type), counts);
    }
    return rc;
}

/* The counts that were stored with the image, or else those of all its rows: these are stored,
 * where nothing is left out. */
static int find_counts(struct making *making, uint32_t *counts, struct error *err)
{
    const struct view_source *from = making->from;
    const struct image_info info = making->source.info;
    const uint32_t n_levels = sample_type_n_levels(info.type);
    const uint64_t n_samples = (uint64_t)info.width * info.height;
    const bool is_whole = making->mask.bits == NULL;
    if (is_whole && image_counts_get(from->cache, from->image->sha256, from->image->frame, "",
                                     n_samples, counts, n_levels))
        return 0;
    memset(counts, 0, n_levels * sizeof(counts[0]));
    int rc = count_rows(making, counts, err);
    if (rc != 0)
        return rc;
    if (is_whole)
        image_counts_put(from->cache, from->image->sha256, from->image->frame, "", counts,
                         n_levels);
    image_source_close(&making->source);
    return open_source(making, err);
}

/* What each level is in 8 bits of grey. */
static int make_table(struct making *making, uint8_t table[SAMPLE_LEVELS_MAX], struct error *err)
{
    const struct image_info info = making->source.info;
    const uint32_t n_levels = sample_type_n_levels(info.type);
    uint32_t *counts = malloc(n_levels * sizeof(counts[0]));
    float *levels = malloc(n_levels * sizeof(levels[0]));
    int rc = counts == NULL || levels == NULL ? error_set_nomem(err, "an image's levels")
                                              : find_counts(making, counts, err);
    if (rc == 0)
        rc = normalise_levels(making->from->normalise, counts, info.type, &info.full_scale, levels,
                              err);
    if (rc == 0)
        pyramid_quantise(levels, n_levels, table);
    free(counts);
    free(levels);
    return rc;
}

static int make_by_rows(struct making *making, struct error *err)
{
    const enum sample_type type = making->source.info.type;
    const uint32_t width = making->source.info.width, height = making->source.info.height;
    uint8_t table[SAMPLE_LEVELS_MAX];
    making->rows = malloc((size_t)SOURCE_BLOCK_ROWS * width * sample_type_size(type));
    if (making->rows == NULL)
        return error_set_nomem(err, "an image's rows");
    int rc = make_table(making, table, err);
    while (rc == 0 && making->source.n_rows < height) {
        uint32_t n;
        rc = read_rows(making, &n, err);
        if (rc != 0)
            return rc;
        samples_look_up(type, making->rows, (size_t)n * width, table, making->greys);
        rc = pyramid_maker_add(making->maker, making->greys, n, err);
    }
    return rc;
}

/* ---- of others, as a whole ---- */

static int add_plane(struct making *making, const struct image *image, struct error *err)
{
    const uint32_t width = image->info.width, height = image->info.height;
    int rc = 0;
    for (uint32_t y = 0; rc == 0 && y < height; y += SOURCE_BLOCK_ROWS) {
        const uint32_t n = height - y < SOURCE_BLOCK_ROWS ? height - y : SOURCE_BLOCK_ROWS;
        pyramid_quantise(image->pixels + (size_t)y * width, (size_t)n * width, making->greys);
        rc = pyramid_maker_add(making->maker, making->greys, n, err);
        if (rc == 0)
            rc = check_cancel(making, err);
    }
    return rc;
}

static int make_of_plane(struct making *making, struct error *err)
{
    struct image image = {0};
    struct error cause = {0};
    int rc = image_source_decode(&making->source, &image, &cause);
    if (rc != 0)
        return fail(making, &cause, err);
    if (making->mask.bits != NULL)
        mask_apply(&making->mask, image.pixels);
    rc = normalise_apply(making->from->normalise, image.pixels, image.info.width, image.info.height,
                         &image.info.full_scale, making->from->cancel, err);
    if (rc == 0)
        rc = add_plane(making, &image, err);
    image_clear(&image);
    return rc;
}

bool view_leaves_out(const struct db_image *image)
{
    struct image_look look;
    return image_look_from_text(image->look, image->width, image->height, &look, NULL) == 0 &&
           look.n_bars > 0;
}

int view_make(const struct view_source *source, const struct pyramid *pyramid,
              pyramid_write_tiles write, void *context, struct error *err)
{
    struct making making = {.from = source};
    int rc = open_file(&making, err);
    if (rc != 0)
        return rc;
    rc = draw_mask(&making, err);
    if (rc == 0)
        rc = open_source(&making, err);
    if (rc == 0)
        rc = pyramid_maker_create(&making.maker, pyramid, write, context, err);
    if (rc != 0)
        goto out;
    making.greys = malloc((size_t)SOURCE_BLOCK_ROWS * source->image->width);
    if (making.greys == NULL)
        rc = error_set_nomem(err, "an image's rows");
    else if (sample_type_n_levels(making.source.info.type) > 0 &&
             normalise_is_by_level(source->normalise))
        rc = make_by_rows(&making, err);
    else
        rc = make_of_plane(&making, err);
out:
    image_source_close(&making.source);
    pyramid_maker_destroy(making.maker);
    mask_clear(&making.mask);
    free(making.rows);
    free(making.greys);
    store_file_close(&making.blob);
    return rc;
}
