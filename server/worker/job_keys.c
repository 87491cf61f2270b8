#include "server/worker/job_keys.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/dense/geometry.h"
#include "engine/encoder/encoder.h"

enum { WINDOW_SIZE = 128 };

/* All that an embedding depends on besides the window. The kernels are part of it: others round
 * differently, and the chips of an image must not mix them. */
static void write_key(const struct job_state *state, const struct job_image *image,
                      const struct input_sizes *input_sizes, const char *window,
                      char out[JOB_KEY_SIZE])
{
    const struct normalise_params *n = &image->normalise;
    char sizes[INPUT_SIZES_TEXT], frame[16] = "", encoding[ENCODING_NAME_SIZE + 16] = "";
    char mask[MASK_NAME_SIZE + 8] = "";
    char flatten[FLATTEN_KEY_SIZE];
    char given[64] = "";
    const struct embedder *embedder = state->encoder->embedder;
    /* The first frame has no number in its key: so it was when files had one image. */
    if (image->row.frame > 0)
        snprintf(frame, sizeof(frame), "#%" PRIu32, image->row.frame);
    /* Chips have no name in theirs, as outliers that are kept: so it was when there was no choice.
     */
    if (embedder_encoding(embedder) != ENCODING_CHIPS)
        snprintf(encoding, sizeof(encoding), " %s %d", encoding_name(embedder_encoding(embedder)),
                 DENSE_REVISION);
    /* Images of which all is analysed have none in theirs: so it was before there were masks. */
    if (!image_mask_is_empty(&image->mask))
        snprintf(mask, sizeof(mask), "|mask %s", image->mask.parts.name);
    /* An image that is stretched by its own range has none in its key. */
    if (n->given.is_given)
        snprintf(given, sizeof(given), " to %.17g %.17g", n->given.low, n->given.high);
    input_sizes_text(input_sizes, sizes);
    flatten_key(&n->flatten, flatten);
    snprintf(out, JOB_KEY_SIZE,
             "4|%s%s|%s|%s %s|%s%s|%s|%s %.17g %.17g%s%s%s|%d %.17g %" PRIu32 "%s",
             image->row.sha256, frame, state->encoder->sha256, encoder_kernels(),
             precision_name(embedder_precision(embedder)), sizes, encoding, window,
             normalise_method_name(n->method), n->low, n->high,
             n->outliers == NORMALISE_KEEP ? "" : " replace", given, flatten, n->clahe.enabled,
             n->clahe.clip_limit, n->clahe.tiles, mask);
}

/* `what` of an image's grid. */
static void write_grid_key(const struct job_state *state, const struct job_image *image,
                           const char *what, char out[JOB_KEY_SIZE])
{
    char window[WINDOW_SIZE];
    const struct grid_params *g = &image->grid.params;
    snprintf(window, sizeof(window),
             "%s %" PRIu32 "x%" PRIu32 " %" PRIu32 ",%" PRIu32 " %" PRIu32 ",%" PRIu32 " %s", what,
             g->chip_width, g->chip_height, g->stride_x, g->stride_y, g->offset_x, g->offset_y,
             grid_edge_name(g->edge));
    write_key(state, image, embedder_input_sizes(state->encoder->embedder), window, out);
}

void job_key_of_grid(const struct job_state *state, const struct job_image *image,
                     char out[JOB_KEY_SIZE])
{
    write_grid_key(state, image, "grid", out);
}

void job_key_of_reference(const struct job_state *state, const struct job_image *image,
                          char out[JOB_KEY_SIZE])
{
    write_grid_key(state, image, "reference", out);
}

void job_key_of_window(const struct job_state *state, const struct job_image *image,
                       const struct chip_rect *rect, char out[JOB_KEY_SIZE])
{
    char window[WINDOW_SIZE];
    snprintf(window, sizeof(window), "chip %" PRIu32 "x%" PRIu32 " %" PRIu32 ",%" PRIu32,
             rect->width, rect->height, rect->x, rect->y);
    write_key(state, image, embedder_input_sizes(state->encoder->embedder), window, out);
}

void job_key_of_maps(const struct job_state *state, const struct job_image *image,
                     uint32_t input_size, char out[JOB_KEY_SIZE])
{
    char window[WINDOW_SIZE];
    const struct input_sizes sizes = {1, {input_size}};
    snprintf(window, sizeof(window), "maps %" PRIu32 "x%" PRIu32, state->set.chip_width,
             state->set.chip_height);
    write_key(state, image, &sizes, window, out);
}
