/* Each group is embedded with the grey levels of its own images, and, where both groups are to
 * share a range, once more with that. */
#include "server/cli/evaluate_across.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/normalise_pool.h"
#include "server/cli/session.h"

int across_reference_parse(const char *text, enum reference_choice *out, struct error *err)
{
    struct error inner = {0};
    if (strcmp(text, reference_choice_name(REFERENCE_TARGET)) == 0)
        *out = REFERENCE_TARGET;
    else if (reference_choice_parse(text, out, &inner) < 0)
        return error_set(err, ERROR_INVALID, "--reference: %.300s", inner.message);
    return 0;
}

struct group {
    const char *name;
    struct manifest manifest; /* rows of its own, strings of the whole one */
    uint32_t *classes;        /* of each row */
    float *own;               /* embeddings */
    struct reference reference;
    bool is_one_image;
};

struct groups {
    struct embedding_maker *maker;
    const char *root;
    uint32_t dimension, n, n_classes;
    struct group *items;
};

static void groups_clear(struct groups *groups)
{
    for (uint32_t i = 0; groups->items != NULL && i < groups->n; i++) {
        struct group *group = &groups->items[i];
        free(group->manifest.rows);
        free(group->classes);
        free(group->own);
        reference_clear(&group->reference);
    }
    free(groups->items);
}

static int take_reference(const struct groups *groups, const struct group *group,
                          const float *embeddings, struct reference *out, struct error *err)
{
    const struct embeddings chips = {
        .n_chips = group->manifest.n_rows, .dimension = groups->dimension, .values = embeddings};
    return reference_take(out, &chips, NULL, err);
}

static int embed(const struct groups *groups, const struct group *group,
                 const struct normalise_params *normalise, float **out, struct error *err)
{
    return embedding_maker_embed(groups->maker, &group->manifest, groups->root, normalise, out,
                                 err);
}

/* The rows of group `index`. */
static int group_init(struct group *group, const struct manifest *all, const uint32_t *classes,
                      const uint32_t *of_row, uint32_t index, struct error *err)
{
    struct manifest *manifest = &group->manifest;
    manifest->rows = calloc(all->n_rows, sizeof(manifest->rows[0]));
    group->classes = calloc(all->n_rows, sizeof(group->classes[0]));
    if (manifest->rows == NULL || group->classes == NULL)
        return error_set_nomem(err, "an evaluation");
    group->is_one_image = true;
    for (size_t i = 0; i < all->n_rows; i++) {
        if (of_row[i] != index)
            continue;
        group->name = all->rows[i].group;
        group->classes[manifest->n_rows] = classes[i];
        manifest->rows[manifest->n_rows++] = all->rows[i];
        if (strcmp(manifest->rows[0].image, all->rows[i].image) != 0)
            group->is_one_image = false;
    }
    return 0;
}

static int groups_init(struct groups *groups, const struct manifest *all, struct error *err)
{
    uint32_t *classes = calloc(all->n_rows, sizeof(classes[0]));
    uint32_t *of_row = calloc(all->n_rows, sizeof(of_row[0]));
    int rc = classes == NULL || of_row == NULL ? error_set_nomem(err, "an evaluation") : 0;
    if (rc == 0)
        rc = manifest_number(all, offsetof(struct manifest_row, label), classes, &groups->n_classes,
                             err);
    if (rc == 0)
        rc = manifest_number(all, offsetof(struct manifest_row, group), of_row, &groups->n, err);
    if (rc == 0) {
        groups->items = calloc(groups->n, sizeof(groups->items[0]));
        rc = groups->items == NULL ? error_set_nomem(err, "an evaluation") : 0;
    }
    for (uint32_t i = 0; i < groups->n && rc == 0; i++) {
        struct group *group = &groups->items[i];
        rc = group_init(group, all, classes, of_row, i, err);
        if (rc == 0)
            rc = embed(groups, group, &normalise_params_default, &group->own, err);
        if (rc == 0)
            rc = take_reference(groups, group, group->own, &group->reference, err);
    }
    free(classes);
    free(of_row);
    return rc;
}

/* ---- grey levels that groups share ---- */

/* Shows the pixels of a group's images, each once. */
static int show_group(const struct groups *groups, const struct group *group,
                      struct normalise_pool *pool, struct error *err)
{
    const struct manifest_row *rows = group->manifest.rows;
    int rc = 0;
    for (size_t i = 0; i < group->manifest.n_rows && rc == 0; i++) {
        char path[PATH_MAX];
        struct image image = {0};
        size_t first = 0;
        while (strcmp(rows[first].image, rows[i].image) != 0)
            first++;
        if (first < i)
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", groups->root, rows[i].image) >= PATH_MAX)
            return error_set(err, ERROR_INVALID, "%.100s: the path is too long", rows[i].image);
        struct normalise_range own;
        rc = session_decode_image(path, &image, err);
        if (rc == 0)
            rc = normalise_find_range(&normalise_params_default, image.pixels, image.info.width,
                                      image.info.height, &image.info.full_scale, NULL, &own, err);
        if (rc == 0)
            normalise_pool_add(pool, &own, image.pixels,
                               (size_t)image.info.width * image.info.height);
        image_clear(&image);
    }
    return rc;
}

/* The range of one group's images, or of two groups'. */
static int find_range(const struct groups *groups, const struct group *a, const struct group *b,
                      struct normalise_params *out, struct error *err)
{
    struct normalise_pool *pool = NULL;
    struct sample_range range;
    int rc = normalise_pool_create(&pool, &normalise_params_default, err);
    if (rc < 0)
        return rc;
    do {
        rc = show_group(groups, a, pool, err);
        if (rc == 0 && b != NULL)
            rc = show_group(groups, b, pool, err);
    } while (rc == 0 && normalise_pool_again(pool));
    if (rc == 0) {
        *out = normalise_params_default;
        normalise_pool_range(pool, &range);
        out->given = (struct normalise_given){true, range.low, range.high};
    }
    normalise_pool_destroy(pool);
    return rc;
}

/* Both groups in one range, and what both are measured by. */
struct shared {
    float *from, *to;
    struct reference reference;
};

static void shared_clear(struct shared *shared)
{
    free(shared->from);
    free(shared->to);
    reference_clear(&shared->reference);
}

static int share(const struct groups *groups, const struct group *from, const struct group *to,
                 bool is_series, struct shared *out, struct error *err)
{
    struct normalise_params normalise;
    struct reference other = {0};
    int rc = find_range(groups, from, is_series ? to : NULL, &normalise, err);
    if (rc == 0 && (is_series || !from->is_one_image))
        rc = embed(groups, from, &normalise, &out->from, err);
    if (rc == 0)
        rc = embed(groups, to, &normalise, &out->to, err);
    if (rc == 0)
        rc = take_reference(groups, from, out->from != NULL ? out->from : from->own,
                            &out->reference, err);
    if (rc == 0 && is_series)
        rc = take_reference(groups, to, out->to, &other, err);
    if (rc == 0 && is_series)
        reference_add(&out->reference, &other);
    reference_clear(&other);
    return rc;
}

/* ---- pairs ---- */

static bool are_comparable(const struct groups *groups, const struct group *a,
                           const struct group *b)
{
    uint32_t n = 0;
    for (uint32_t c = 0; c < groups->n_classes; c++) {
        uint32_t in_a = 0, in_b = 0;
        for (size_t i = 0; i < a->manifest.n_rows; i++)
            in_a += a->classes[i] == c;
        for (size_t i = 0; i < b->manifest.n_rows; i++)
            in_b += b->classes[i] == c;
        n += in_a >= EVALUATE_MIN_CLASS_SIZE && in_b >= EVALUATE_MIN_CLASS_SIZE;
    }
    return n >= 2;
}

static void look(const struct group *from, const struct group *to, const struct shared *shared,
                 enum reference_choice reference, struct evaluate_pair *pair)
{
    const struct evaluate_view own = {from->own, to->own, &from->reference, &to->reference};
    const struct evaluate_view target = {from->own, to->own, NULL, NULL};
    const struct evaluate_view together = {shared->from != NULL ? shared->from : from->own,
                                           shared->to, &shared->reference, &shared->reference};
    switch (reference) {
    case REFERENCE_AUTO:
        pair->views[pair->n_views++] = own;
        pair->views[pair->n_views++] = together;
        return;
    case REFERENCE_IMAGE:
        pair->views[pair->n_views++] = own;
        return;
    case REFERENCE_SUPPORT:
    case REFERENCE_SERIES:
        pair->views[pair->n_views++] = together;
        return;
    case REFERENCE_TARGET:
        pair->views[pair->n_views++] = target;
        return;
    }
}

static int score_pair(const struct groups *groups, const struct group *from, const struct group *to,
                      enum reference_choice reference, const struct evaluate_params *params,
                      struct evaluate_group *out, struct evaluate_calibration *calibration,
                      struct error *err)
{
    struct evaluate_pair pair = {.from_classes = from->classes,
                                 .to_classes = to->classes,
                                 .n_from = (uint32_t)from->manifest.n_rows,
                                 .n_to = (uint32_t)to->manifest.n_rows,
                                 .n_classes = groups->n_classes,
                                 .dimension = groups->dimension};
    struct shared shared = {0};
    int rc = 0;
    if (reference != REFERENCE_IMAGE && reference != REFERENCE_TARGET)
        rc = share(groups, from, to, reference == REFERENCE_SERIES, &shared, err);
    if (rc == 0) {
        look(from, to, &shared, reference, &pair);
        rc = evaluate_across(params, &pair, out, calibration, err);
    }
    shared_clear(&shared);
    return rc;
}

struct sums {
    double score, worst, second;
    uint32_t n;
};

static void add_score(struct sums *sums, double score, double worst, double second, uint32_t n)
{
    sums->score += score;
    sums->second += second;
    sums->worst = sums->n == 0 ? worst : fmin(sums->worst, worst);
    sums->n += n;
}

static int score_from(const struct groups *groups, const struct group *from,
                      enum reference_choice reference, const struct evaluate_params *params,
                      struct sums *sums, struct evaluate_calibration *calibration,
                      struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < groups->n && rc == 0; i++) {
        const struct group *to = &groups->items[i];
        struct evaluate_group result;
        if (to == from || !are_comparable(groups, from, to))
            continue;
        rc = score_pair(groups, from, to, reference, params, &result, calibration, err);
        if (rc == 0)
            add_score(sums, result.score, result.score, result.second, 1);
    }
    return rc;
}

/* The last line is for programs. */
static void print_totals(const struct sums *sums, const struct evaluate_calibration *calibration,
                         const struct evaluate_params *params)
{
    if (sums->n == 0) {
        printf("no two groups have two classes with at least %d chips each in common\n",
               EVALUATE_MIN_CLASS_SIZE);
        return;
    }
    printf("mean %.4f worst %.4f pairs %u support %.4f shots %u", sums->score / sums->n,
           sums->worst, sums->n, sums->second / sums->n, params->shots[0]);
    for (uint32_t i = 1; i < params->n_shots; i++)
        printf(",%u", params->shots[i]);
    printf(" episodes %u seed %llu ece %.4f\n", params->episodes, (unsigned long long)params->seed,
           evaluate_calibration_error(calibration));
}

int evaluate_across_groups(struct embedding_maker *maker, const struct manifest *manifest,
                           const char *root, enum reference_choice reference,
                           const struct evaluate_params *params, struct error *err)
{
    struct groups groups = {
        .maker = maker, .root = root, .dimension = embedding_maker_dimension(maker)};
    struct sums all = {0};
    struct evaluate_calibration calibration = {0};
    int rc = groups_init(&groups, manifest, err);
    if (rc == 0)
        printf("%-24s %8s %18s %8s %14s\n", "examples from", "pairs", "balanced accuracy", "worst",
               "by support's");
    for (uint32_t i = 0; i < groups.n && rc == 0; i++) {
        const struct group *from = &groups.items[i];
        struct sums sums = {0};
        rc = score_from(&groups, from, reference, params, &sums, &calibration, err);
        if (rc == 0 && sums.n > 0) {
            printf("%-24s %8u %18.4f %8.4f %14.4f\n", from->name, sums.n, sums.score / sums.n,
                   sums.worst, sums.second / sums.n);
            add_score(&all, sums.score, sums.worst, sums.second, sums.n);
        }
    }
    if (rc == 0)
        print_totals(&all, &calibration, params);
    groups_clear(&groups);
    return rc;
}
