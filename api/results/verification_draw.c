/* Where chips of a label are follows from the stored counts of each image; so a place among all
 * chips of the label is drawn first, and only the maps of the images that it falls on are read,
 * their labels alone. Chips that are examples are known: they are left out of the counts and passed
 * over in the maps. */
#include "api/results/verification_draw.h"

#include <stdlib.h>
#include <string.h>

#include "api/results/population_read.h"
#include "api/results/result_view.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/verification.h"
#include "engine/random.h"

enum {
    PART_CHIPS = 1 << 18, /* labels read at once */
    STRATA_MAX = VERIFICATION_SIDE_MAX,
};

/* A chip of the results that is an example. */
struct known {
    size_t image;
    uint64_t chip;
    uint32_t class_index;
    uint32_t stratum; /* of its label */
};

/* A chip that was drawn: first its place among the label's chips of all images, then of its image.
 */
struct pick {
    uint64_t rank;
    size_t image;
    uint32_t stratum;
};

struct drawing {
    const struct verification_request *request;
    struct population_read population;
    uint32_t n_strata;
    struct known *known; /* by image and chip; owned */
    size_t n_known;
    struct pick *picks; /* by image, stratum and rank; owned */
    size_t n_picks;
    uint16_t *labels; /* PART_CHIPS; owned */
    struct random random;
};

/* n_strata: none, for a chip that was not analysed. */
static uint32_t stratum_of(const struct drawing *drawing, uint16_t label)
{
    if (label == LABEL_NOT_ANALYSED)
        return drawing->n_strata;
    return label < drawing->n_strata - 1 ? label : drawing->n_strata - 1;
}

static int corrupt(const struct drawing *drawing, size_t image, struct error *err)
{
    return error_set(err, ERROR_CORRUPT,
                     "the stored result of job %s, image %s: its labels are not those counted",
                     drawing->request->job->id, drawing->population.images[image].id);
}

/* ---- the geometry of an image ---- */

struct placed {
    struct db_result result;
    struct grid grid;
};

static int place(const struct drawing *drawing, size_t image, struct placed *out, struct error *err)
{
    struct db *db = drawing->request->db;
    const char *image_id = drawing->population.images[image].id;
    struct db_image row = {0};
    struct placed placed = {0};
    int rc = db_result_get(db, drawing->request->job->id, image_id, DB_RESULT_WITHOUT_MAPS,
                           &placed.result, err);
    if (rc == 0)
        rc = db_image_get(db, image_id, &row, err);
    if (rc == 0)
        rc = result_grid(&placed.result, &row, &placed.grid, err);
    db_image_clear(&row);
    if (rc == 0)
        *out = placed;
    else
        db_result_clear(&placed.result);
    return rc;
}

/* ---- examples ---- */

static int compare_known(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    if (x->image != y->image)
        return x->image < y->image ? -1 : 1;
    return (x->chip > y->chip) - (x->chip < y->chip);
}

/* Adds the examples of an image that are chips of its grid. */
static int add_examples_of(struct drawing *drawing, size_t image, struct error *err)
{
    const struct db_support_set *set = drawing->request->set;
    const char *image_id = drawing->population.images[image].id;
    struct placed placed;
    int rc = place(drawing, image, &placed, err);
    if (rc != 0)
        return rc;
    for (size_t k = 0; rc == 0 && k < set->n_classes; k++) {
        const struct db_class *class = &set->classes[k];
        for (size_t i = 0; rc == 0 && i < class->n_examples; i++) {
            const struct db_example *example = &class->examples[i];
            const struct chip_rect rect = {example->x, example->y, set->chip_width,
                                           set->chip_height};
            const int64_t chip =
                strcmp(example->image_id, image_id) == 0 ? grid_find(&placed.grid, &rect) : -1;
            if (chip < 0)
                continue;
            uint16_t label = 0;
            const struct db_result_part part = {
                .first = (uint64_t)chip, .n_chips = 1, .labels = &label};
            rc = db_result_read_part(drawing->request->db, &placed.result, &part, err);
            drawing->known[drawing->n_known++] =
                (struct known){image, (uint64_t)chip, (uint32_t)k, stratum_of(drawing, label)};
        }
    }
    db_result_clear(&placed.result);
    return rc;
}

static bool has_example(const struct db_support_set *set, const char *image_id)
{
    for (size_t k = 0; k < set->n_classes; k++) {
        for (size_t i = 0; i < set->classes[k].n_examples; i++) {
            if (strcmp(set->classes[k].examples[i].image_id, image_id) == 0)
                return true;
        }
    }
    return false;
}

/* Takes the examples out of the counts, each chip once. */
static int leave_out_known(struct drawing *drawing, struct db_stratum *strata, struct error *err)
{
    size_t n = 0;
    qsort(drawing->known, drawing->n_known, sizeof(*drawing->known), compare_known);
    for (size_t i = 0; i < drawing->n_known; i++) {
        const struct known *known = &drawing->known[i];
        if (n > 0 && compare_known(known, &drawing->known[n - 1]) == 0)
            continue;
        drawing->known[n++] = *known;
        if (known->stratum == drawing->n_strata)
            continue;
        uint64_t *counts = population_counts(&drawing->population, known->image);
        if (counts[known->stratum] == 0)
            return corrupt(drawing, known->image, err);
        counts[known->stratum]--;
        strata[known->class_index].n_known++;
    }
    drawing->n_known = n;
    return 0;
}

static int find_known(struct drawing *drawing, struct db_stratum *strata, struct error *err)
{
    const struct db_support_set *set = drawing->request->set;
    size_t n_examples = 0;
    int rc = 0;
    for (size_t k = 0; k < set->n_classes; k++)
        n_examples += set->classes[k].n_examples;
    drawing->known = calloc(n_examples + 1, sizeof(*drawing->known));
    if (drawing->known == NULL)
        return error_set_nomem(err, "a verification");
    for (size_t i = 0; rc == 0 && i < drawing->population.n_images; i++) {
        if (has_example(set, drawing->population.images[i].id))
            rc = add_examples_of(drawing, i, err);
    }
    return rc != 0 ? rc : leave_out_known(drawing, strata, err);
}

/* ---- drawing ---- */

static int compare_ranks(const void *a, const void *b)
{
    const struct pick *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int compare_picks(const void *a, const void *b)
{
    const struct pick *x = a, *y = b;
    if (x->image != y->image)
        return x->image < y->image ? -1 : 1;
    if (x->stratum != y->stratum)
        return x->stratum < y->stratum ? -1 : 1;
    return compare_ranks(a, b);
}

/* Turns places among all chips of a label, in order, into places within their images. */
static void split_by_image(const struct population_read *population, uint32_t stratum,
                           struct pick *picks, size_t n)
{
    uint64_t before = 0;
    size_t image = 0;
    for (size_t i = 0; i < n; i++) {
        while (picks[i].rank - before >= population_counts(population, image)[stratum])
            before += population_counts(population, image++)[stratum];
        picks[i].image = image;
        picks[i].rank -= before;
        picks[i].stratum = stratum;
    }
}

static int draw_picks(struct drawing *drawing, const struct db_stratum *strata, struct error *err)
{
    uint64_t sizes[STRATA_MAX], ranks[VERIFICATION_CHIPS_MAX];
    uint32_t shares[STRATA_MAX];
    for (uint32_t s = 0; s < drawing->n_strata; s++)
        sizes[s] = strata[s].n_chips;
    verification_share(sizes, drawing->n_strata, drawing->request->n, shares);
    drawing->picks = calloc(drawing->request->n, sizeof(*drawing->picks));
    if (drawing->picks == NULL)
        return error_set_nomem(err, "a verification");
    for (uint32_t s = 0; s < drawing->n_strata; s++) {
        struct pick *picks = drawing->picks + drawing->n_picks;
        verification_draw(&drawing->random, sizes[s], shares[s], ranks);
        for (uint32_t i = 0; i < shares[s]; i++)
            picks[i].rank = ranks[i];
        qsort(picks, shares[s], sizeof(*picks), compare_ranks);
        split_by_image(&drawing->population, s, picks, shares[s]);
        drawing->n_picks += shares[s];
    }
    qsort(drawing->picks, drawing->n_picks, sizeof(*drawing->picks), compare_picks);
    return 0;
}

/* ---- looking them up ---- */

/* A walk over the labels of one image. */
struct walk {
    struct placed placed;
    uint64_t seen[STRATA_MAX];             /* chips of each stratum so far, without known ones */
    const struct pick *next[STRATA_MAX];   /* the next pick of each stratum */
    const struct pick *behind[STRATA_MAX]; /* where they end */
    const struct known *known, *known_end; /* the next known chip */
    size_t n_open;                         /* picks not met yet */
};

static void walk_init(const struct drawing *drawing, const struct pick *picks, size_t n_picks,
                      struct walk *walk)
{
    const size_t image = picks[0].image;
    for (size_t i = 0; i < n_picks; i++) {
        const uint32_t s = picks[i].stratum;
        if (walk->next[s] == NULL)
            walk->next[s] = &picks[i];
        walk->behind[s] = &picks[i + 1];
    }
    walk->n_open = n_picks;
    walk->known = drawing->known;
    walk->known_end = drawing->known + drawing->n_known;
    while (walk->known < walk->known_end && walk->known->image < image)
        walk->known++;
}

/* Looks at one chip; true: it was drawn. */
static bool walk_over(const struct drawing *drawing, struct walk *walk, size_t image, uint64_t chip,
                      uint16_t label, uint32_t *stratum)
{
    const struct known *known = walk->known;
    if (known < walk->known_end && known->image == image && known->chip == chip) {
        walk->known++;
        return false;
    }
    const uint32_t s = stratum_of(drawing, label);
    if (s == drawing->n_strata)
        return false;
    const uint64_t rank = walk->seen[s]++;
    if (walk->next[s] == walk->behind[s] || walk->next[s]->rank != rank)
        return false;
    walk->next[s]++;
    walk->n_open--;
    *stratum = s;
    return true;
}

static void take_chip(const struct drawing *drawing, const struct walk *walk, size_t image,
                      uint64_t chip, uint32_t stratum, struct db_verification *out)
{
    const struct chip_rect rect = grid_chip(&walk->placed.grid, chip);
    struct db_verification_chip *taken = &out->chips[out->n_chips++];
    *taken = (struct db_verification_chip){
        .chip = chip, .x = rect.x, .y = rect.y, .stratum = stratum, .answer = DB_ANSWER_OPEN};
    memcpy(taken->image_id, drawing->population.images[image].id, DB_ID_SIZE);
}

static int walk_labels(const struct drawing *drawing, struct walk *walk, size_t image,
                       struct db_verification *out, struct error *err)
{
    const uint64_t n_chips = grid_n_chips(&walk->placed.grid);
    struct db_result_part part = {.labels = drawing->labels};
    int rc = 0;
    while (rc == 0 && walk->n_open > 0 && part.first < n_chips) {
        if (cancel_is_asked(drawing->request->cancel))
            return error_set(err, ERROR_CANCELLED, "the drawing of a verification was cancelled");
        const uint64_t left = n_chips - part.first;
        part.n_chips = left < PART_CHIPS ? left : PART_CHIPS;
        rc = db_result_read_part(drawing->request->db, &walk->placed.result, &part, err);
        for (uint64_t i = 0; rc == 0 && i < part.n_chips; i++) {
            uint32_t stratum;
            if (walk_over(drawing, walk, image, part.first + i, part.labels[i], &stratum))
                take_chip(drawing, walk, image, part.first + i, stratum, out);
        }
        part.first += part.n_chips;
    }
    return rc == 0 && walk->n_open > 0 ? corrupt(drawing, image, err) : rc;
}

/* The picks of one image, of which there is at least one. */
static int look_up_image(const struct drawing *drawing, const struct pick *picks, size_t n_picks,
                         struct db_verification *out, struct error *err)
{
    const size_t image = picks[0].image;
    struct walk walk = {0};
    int rc = place(drawing, image, &walk.placed, err);
    if (rc != 0)
        return rc;
    walk_init(drawing, picks, n_picks, &walk);
    rc = walk_labels(drawing, &walk, image, out, err);
    db_result_clear(&walk.placed.result);
    return rc;
}

static int look_up(struct drawing *drawing, struct db_verification *out, struct error *err)
{
    int rc = 0;
    drawing->labels = calloc(PART_CHIPS, sizeof(*drawing->labels));
    out->chips = calloc(drawing->n_picks, sizeof(*out->chips));
    if (drawing->labels == NULL || out->chips == NULL)
        return error_set_nomem(err, "a verification");
    for (size_t i = 0; rc == 0 && i < drawing->n_picks;) {
        size_t end = i + 1;
        while (end < drawing->n_picks && drawing->picks[end].image == drawing->picks[i].image)
            end++;
        rc = look_up_image(drawing, drawing->picks + i, end - i, out, err);
        i = end;
    }
    return rc;
}

/* So that the order says nothing about the labels. */
static void shuffle(struct random *random, struct db_verification_chip *chips, uint64_t n)
{
    for (uint64_t i = n; i > 1; i--) {
        const uint64_t k = random_below_64(random, i);
        const struct db_verification_chip chip = chips[i - 1];
        chips[i - 1] = chips[k];
        chips[k] = chip;
    }
}

static int draw(struct drawing *drawing, struct db_verification *out, struct error *err)
{
    const struct population_read *population = &drawing->population;
    uint64_t n_chips = 0;
    out->n_strata = drawing->n_strata;
    out->strata = calloc(out->n_strata, sizeof(*out->strata));
    if (out->strata == NULL)
        return error_set_nomem(err, "a verification");
    int rc = find_known(drawing, out->strata, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < population->n_images; i++) {
        for (uint32_t s = 0; s < drawing->n_strata; s++)
            out->strata[s].n_chips += population_counts(population, i)[s];
    }
    for (uint32_t s = 0; s < drawing->n_strata; s++)
        n_chips += out->strata[s].n_chips;
    if (n_chips == 0)
        return error_set(err, ERROR_NOT_FOUND, "job %s has no chips to be looked at",
                         drawing->request->job->id);
    random_seed(&drawing->random, drawing->request->seed, 0);
    rc = draw_picks(drawing, out->strata, err);
    if (rc == 0)
        rc = look_up(drawing, out, err);
    if (rc == 0)
        shuffle(&drawing->random, out->chips, out->n_chips);
    return rc;
}

int verification_draw_chips(const struct verification_request *request, const char **bad,
                            struct db_verification *out, struct error *err)
{
    struct drawing drawing = {.request = request,
                              .n_strata = (uint32_t)request->set->n_classes + 1};
    struct db_verification verification = {.seed = request->seed};
    *bad = NULL;
    int rc = population_read(request->db, request->job->id, (uint32_t)request->set->n_classes,
                             &drawing.population, err);
    if (rc == 0)
        rc = population_keep(&drawing.population, request->image_ids, request->n_image_ids, bad,
                             err);
    if (rc != 0 || *bad != NULL)
        goto out;
    memcpy(verification.job_id, request->job->id, DB_ID_SIZE);
    verification.n_images = drawing.population.n_images;
    verification.area_nm2 = population_area_nm2(&drawing.population);
    rc = draw(&drawing, &verification, err);
    if (rc == 0)
        *out = verification;
    else
        db_verification_clear(&verification);
out:
    population_read_clear(&drawing.population);
    free(drawing.known);
    free(drawing.picks);
    free(drawing.labels);
    return rc;
}
