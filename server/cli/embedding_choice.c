/* Options come first, then what they select of an encoder's embeddings, then the embeddings. An
 * encoder's are computed whole and cut down afterwards: what is left out costs nothing extra.
 */
#include "server/cli/embedding_choice.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/cli/manifest_embed.h"
#include "server/cli/session.h"

enum { PARTS_MAX = INPUT_SIZES_MAX * ENCODER_POOLED * 2, MEAN_STD_DIMENSION = 2 };

/* ---- options ---- */

/* Reads one whole number of a list and moves *text behind it and its comma; false: there is none.
 */
static bool next_number(const char **text, uint32_t *out)
{
    char *end = NULL;
    errno = 0;
    if (**text < '0' || **text > '9')
        return false;
    unsigned long value = strtoul(*text, &end, 10);
    if (errno != 0 || value > UINT32_MAX || (*end != ',' && *end != '\0') ||
        (*end == ',' && end[1] == '\0'))
        return false;
    *out = (uint32_t)value;
    *text = *end == ',' ? end + 1 : end;
    return true;
}

int embedding_parse_input_sizes(const char *text, struct input_sizes *out, struct error *err)
{
    struct input_sizes sizes = {0};
    struct error inner = {0};
    const char *rest = text != NULL ? text : "";
    if (text != NULL && *text == '\0')
        return error_set(err, ERROR_INVALID, "--input-size: no number is given");
    while (*rest != '\0') {
        uint32_t side;
        if (!next_number(&rest, &side))
            return error_set(err, ERROR_INVALID,
                             "--input-size: '%.100s' is not a list of numbers such as 48,96", text);
        if (sizes.n == INPUT_SIZES_MAX)
            return error_set(err, ERROR_INVALID, "--input-size: '%.100s' has more than %d numbers",
                             text, INPUT_SIZES_MAX);
        sizes.sides[sizes.n++] = side;
    }
    if (input_sizes_check(&sizes, &inner) < 0)
        return error_set(err, ERROR_INVALID, "--input-size: %.300s", inner.message);
    *out = sizes;
    return 0;
}

int embedding_parse_encoding(const char *text, enum encoding *out, struct error *err)
{
    struct error inner = {0};
    enum encoding encoding = ENCODING_OWN;
    if (text != NULL && encoding_parse(text, &encoding, &inner) < 0)
        return error_set(err, ERROR_INVALID, "--encoding: %.300s", inner.message);
    *out = encoding;
    return 0;
}

int embedding_parse_precision(const char *text, enum precision *out, struct error *err)
{
    struct error inner = {0};
    enum precision precision = PRECISION_FLOAT32;
    int rc = text != NULL ? precision_parse(text, &precision, &inner) : 0;
    if (rc == 0)
        rc = precision_check(precision, &inner);
    if (rc != 0)
        return error_set(err, ERROR_INVALID, "--precision: %.300s", inner.message);
    *out = precision;
    return 0;
}

static int parse_stages(const char *text, struct embedding_choice *choice, struct error *err)
{
    if (text == NULL)
        return 0;
    const char *rest = text;
    do {
        uint32_t stage;
        if (!next_number(&rest, &stage) || stage > ENCODER_STAGES || choice->stages[stage])
            return error_set(err, ERROR_INVALID,
                             "--stages: '%.100s' is not a list of different stages from 0 to %d",
                             text, ENCODER_STAGES);
        choice->stages[stage] = true;
    } while (*rest != '\0');
    choice->some_stages = true;
    return 0;
}

static int parse_statistics(const char *text, struct embedding_choice *choice, struct error *err)
{
    if (text == NULL)
        return 0;
    choice->some_statistics = true;
    choice->mean = strcmp(text, "std") != 0;
    choice->std = strcmp(text, "mean") != 0;
    if (choice->mean && choice->std && strcmp(text, "mean,std") != 0)
        return error_set(err, ERROR_INVALID, "--statistics: '%.100s' is not mean, std or mean,std",
                         text);
    return 0;
}

static int parse_kind(const struct embedding_options *options, struct embedding_choice *choice,
                      struct error *err)
{
    if (options->kind == NULL || strcmp(options->kind, "encoder") == 0)
        return 0;
    if (strcmp(options->kind, "mean-std") != 0)
        return error_set(err, ERROR_INVALID, "--features: '%.100s' is not encoder or mean-std",
                         options->kind);
    if (options->input_sizes != NULL || options->encoding != NULL || options->precision != NULL ||
        options->stages != NULL || options->statistics != NULL)
        return error_set(err, ERROR_INVALID,
                         "--features mean-std has no encoder: it takes none of --input-size, "
                         "--encoding, --precision, --stages and --statistics");
    choice->kind = EMBEDDING_MEAN_STD;
    return 0;
}

int embedding_choice_parse(const struct embedding_options *options, struct embedding_choice *out,
                           struct error *err)
{
    struct embedding_choice choice = {.kind = EMBEDDING_ENCODER};
    int rc = parse_kind(options, &choice, err);
    if (rc == 0)
        rc = embedding_parse_input_sizes(options->input_sizes, &choice.input_sizes, err);
    if (rc == 0)
        rc = embedding_parse_encoding(options->encoding, &choice.encoding, err);
    if (rc == 0)
        rc = embedding_parse_precision(options->precision, &choice.precision, err);
    if (rc == 0)
        rc = parse_stages(options->stages, &choice, err);
    if (rc == 0)
        rc = parse_statistics(options->statistics, &choice, err);
    if (rc == 0)
        *out = choice;
    return rc;
}

/* ---- the selected parts of an encoder's embeddings ---- */

/* Columns of an embedding that are kept. */
struct selection {
    uint32_t n_parts;
    struct {
        uint32_t first, n;
    } parts[PARTS_MAX];
    uint32_t dimension; /* columns kept */
};

static int check_selection(const struct embedding_choice *choice, const struct encoder_info *info,
                           struct error *err)
{
    for (uint32_t i = 0; i < ENCODER_POOLED; i++) {
        if (choice->some_stages && choice->stages[i] && !info->pool_stages[i])
            return error_set(err, ERROR_INVALID, "--stages: the encoder does not pool stage %u", i);
    }
    if (choice->some_statistics &&
        ((choice->mean && !info->pool_mean) || (choice->std && !info->pool_std)))
        return error_set(err, ERROR_INVALID, "--statistics: the encoder does not pool the %s",
                         choice->mean && !info->pool_mean ? "mean" : "standard deviation");
    return 0;
}

/* An embedding is: size by size, stage by stage, the mean before the standard deviation. */
static void select_columns(const struct embedding_choice *choice, const struct encoder_info *info,
                           uint32_t n_sizes, struct selection *out)
{
    uint32_t column = 0;
    *out = (struct selection){0};
    for (uint32_t i = 0; i < n_sizes * ENCODER_POOLED * 2; i++) {
        const uint32_t stage = i / 2 % ENCODER_POOLED;
        const bool is_std = i % 2 == 1;
        if (!info->pool_stages[stage] || !(is_std ? info->pool_std : info->pool_mean))
            continue;
        const enum encoder_statistic statistic = is_std ? ENCODER_STD : ENCODER_MEAN;
        const uint32_t first = column, width = encoder_stage_width(info, stage, statistic);
        column += width;
        if (choice->some_stages && !choice->stages[stage])
            continue;
        if (choice->some_statistics && !(is_std ? choice->std : choice->mean))
            continue;
        out->parts[out->n_parts].first = first;
        out->parts[out->n_parts++].n = width;
        out->dimension += width;
    }
}

/* Moves the selected columns of all rows together, in place. */
static void keep_columns(const struct selection *selection, float *embeddings, size_t n_rows,
                         uint32_t dimension)
{
    float *out = embeddings;
    for (size_t row = 0; row < n_rows; row++) {
        for (uint32_t i = 0; i < selection->n_parts; i++) {
            const uint32_t n = selection->parts[i].n;
            memmove(out, embeddings + row * dimension + selection->parts[i].first,
                    n * sizeof(float));
            out += n;
        }
    }
}

/* ---- embeddings ---- */

static int encode(void *context, const struct image *image, const struct chip_rect *rects,
                  uint32_t n, float *out, struct error *err)
{
    struct session *session = context;
    return embed_rects(session->embedder, session->lane, image->pixels, image->info.width,
                       image->info.height, rects, n, ENCODER_BATCH, NULL, out, err);
}

/* The mean and the standard deviation of each window's own pixels. */
static int mean_and_std(void *context, const struct image *image, const struct chip_rect *rects,
                        uint32_t n, float *out, struct error *err)
{
    (void)context;
    (void)err;
    for (uint32_t i = 0; i < n; i++) {
        const struct chip_rect *rect = &rects[i];
        const double n_pixels = (double)rect->width * rect->height;
        double sum = 0.0, squares = 0.0;
        for (uint32_t y = rect->y; y < rect->y + rect->height; y++) {
            const float *row = image->pixels + (size_t)y * image->info.width + rect->x;
            for (uint32_t x = 0; x < rect->width; x++) {
                sum += (double)row[x];
                squares += (double)row[x] * (double)row[x];
            }
        }
        const double mean = sum / n_pixels;
        out[(size_t)i * MEAN_STD_DIMENSION] = (float)mean;
        out[(size_t)i * MEAN_STD_DIMENSION + 1] =
            (float)sqrt(fmax(squares / n_pixels - mean * mean, 0.0));
    }
    return 0;
}

struct embedding_maker {
    enum embedding_kind kind;
    /* Of an encoder: */
    struct session session;
    struct selection selection;
    uint32_t whole; /* dimension of what is not cut down */
};

int embedding_maker_create(struct embedding_maker **out, const struct embedding_choice *choice,
                           const char *encoder_path, uint64_t n_threads, struct error *err)
{
    struct embedding_maker *maker = calloc(1, sizeof(*maker));
    if (maker == NULL)
        return error_set_nomem(err, "embeddings");
    struct session *session = &maker->session;
    int rc = 0;
    maker->kind = choice->kind;
    maker->whole = maker->selection.dimension = MEAN_STD_DIMENSION;
    if (choice->kind == EMBEDDING_ENCODER)
        rc = session_create(session, encoder_path, n_threads, &choice->input_sizes,
                            choice->encoding, choice->precision, err);
    if (rc == 0 && choice->kind == EMBEDDING_ENCODER) {
        const struct encoder_info *info = encoder_info(session->encoder);
        maker->whole = embedder_dimension(session->embedder);
        select_columns(choice, info, embedder_input_sizes(session->embedder)->n, &maker->selection);
        rc = check_selection(choice, info, err);
    }
    if (rc < 0)
        embedding_maker_destroy(maker);
    else
        *out = maker;
    return rc;
}

void embedding_maker_destroy(struct embedding_maker *maker)
{
    if (maker != NULL)
        session_clear(&maker->session);
    free(maker);
}

uint32_t embedding_maker_dimension(const struct embedding_maker *maker)
{
    return maker->selection.dimension;
}

int embedding_maker_embed(struct embedding_maker *maker, const struct manifest *manifest,
                          const char *root, const struct normalise_params *normalise, float **out,
                          struct error *err)
{
    if (maker->kind == EMBEDDING_MEAN_STD)
        return manifest_embed(manifest, root, normalise, mean_and_std, NULL, MEAN_STD_DIMENSION,
                              out, err);
    int rc =
        manifest_embed(manifest, root, normalise, encode, &maker->session, maker->whole, out, err);
    if (rc == 0)
        keep_columns(&maker->selection, *out, manifest->n_rows, maker->whole);
    return rc;
}

int embedding_choice_compute(const struct embedding_choice *choice, const struct manifest *manifest,
                             const char *root, const char *encoder_path, uint64_t n_threads,
                             float **out, uint32_t *dimension, struct error *err)
{
    struct embedding_maker *maker = NULL;
    int rc = embedding_maker_create(&maker, choice, encoder_path, n_threads, err);
    if (rc == 0)
        rc = embedding_maker_embed(maker, manifest, root, &normalise_params_default, out, err);
    if (rc == 0)
        *dimension = embedding_maker_dimension(maker);
    embedding_maker_destroy(maker);
    return rc;
}
