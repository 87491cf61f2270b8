/* First the neighbourhoods are looked at, which says of most chips that nothing is to be asked, and
 * then the vectors of those that are left. What comes out is written when all have been asked: no
 * chip depends on what became of another.
 *
 * Means are kept of vectors of length 1 (heads/prototypes.h). Each is brought to the length that
 * the image's chips of its class had on average, m_k = l_k p_k, which is what their mean would be
 * if these were equally long.
 */
#include "engine/fewshot/borders.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/fewshot/heads/prototypes.h"
#include "engine/fewshot/space.h"
#include "engine/give_way.h"

enum { AXES = 4, PART_CHIPS = 64 };

/* At 0.7 no task of docs/accuracy.md loses, and above it chips of a thin class between two others
 * begin to go. */
static const double MIXTURE_SHARE = 0.7;

static const char *const names[] = {[BORDERS_OFF] = "off", [BORDERS_ASSIGN] = "assign"};

const char *borders_name(enum borders borders)
{
    return names[borders];
}

int borders_parse(const char *name, enum borders *out, struct error *err)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum borders)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "borders must be off or assign, but is '%.40s'", name);
}

struct pair {
    uint16_t a, b; /* classes, a < b */
};

/* The classes on two sides of a chip. */
struct sides {
    struct pair pairs[AXES];
    uint32_t n_pairs;
};

/* A chip between two others, and what became of it. */
struct candidate {
    uint64_t chip;
    bool is_mixture;
    struct pair third; /* what a chip of a third class is a mixture of; a = b: it is none */
    float share;       /* of a */
};

struct search {
    const struct space *space;
    const struct grid *grid;
    const struct classification *chips;
    bool of_two; /* chips of one of the two classes are candidates, too */
    struct pool_lane *lane;
    struct prototypes prototypes;
    double lengths[CLASSIFIER_CLASSES_MAX]; /* l_k */
    double *products;                       /* n_classes x n_classes: m_i m_j; owned */
    double *buffers;                        /* slots x dimension; owned */
    struct candidate *candidates;           /* in the order of the chips; owned */
    size_t n_candidates, n_allocated;
    const float *band; /* what is asked now: */
    uint64_t band_first;
    struct candidate *asked;
    size_t n_asked;
};

/* ---- the neighbourhoods ---- */

/* In chips; such windows do not overlap. */
static int64_t reach(uint32_t chip, uint32_t stride)
{
    return (chip - 1) / stride + 1;
}

/* The class of the chip at a place; n_classes: there is none. */
static uint32_t class_at(const struct search *search, int64_t row, int64_t column)
{
    const struct grid *grid = search->grid;
    const uint32_t n_classes = search->chips->n_classes;
    if (row < 0 || row >= grid->rows || column < 0 || column >= grid->columns)
        return n_classes;
    const uint16_t label = search->chips->labels[row * grid->columns + column];
    return label < n_classes ? label : n_classes;
}

static void add_pair(struct sides *sides, uint32_t one, uint32_t other)
{
    const struct pair pair = {(uint16_t)(one < other ? one : other),
                              (uint16_t)(one < other ? other : one)};
    for (uint32_t i = 0; i < sides->n_pairs; i++) {
        if (sides->pairs[i].a == pair.a && sides->pairs[i].b == pair.b)
            return;
    }
    sides->pairs[sides->n_pairs++] = pair;
}

static struct sides look_around(const struct search *search, uint64_t chip)
{
    static const int axes[AXES][2] = {{0, 1}, {1, 0}, {1, 1}, {1, -1}}; /* rows, columns */
    const struct grid_params *params = &search->grid->params;
    const int64_t row = (int64_t)(chip / search->grid->columns);
    const int64_t column = (int64_t)(chip % search->grid->columns);
    const int64_t down = reach(params->chip_height, params->stride_y);
    const int64_t right = reach(params->chip_width, params->stride_x);
    const uint32_t none = search->chips->n_classes, own = class_at(search, row, column);
    struct sides sides = {.n_pairs = 0};
    for (int i = 0; i < AXES && own != none; i++) {
        const int64_t by_rows = axes[i][0] * down, by_columns = axes[i][1] * right;
        const uint32_t one = class_at(search, row - by_rows, column - by_columns);
        const uint32_t other = class_at(search, row + by_rows, column + by_columns);
        if (one != none && other != none && one != other &&
            (search->of_two || (one != own && other != own)))
            add_pair(&sides, one, other);
    }
    return sides;
}

static int find_candidates(struct search *search, struct error *err)
{
    for (uint64_t chip = 0; chip < search->chips->n_chips; chip++) {
        if (chip % GIVE_WAY_CHIPS == 0)
            give_way();
        if (look_around(search, chip).n_pairs == 0)
            continue;
        if (search->n_candidates == search->n_allocated) {
            const size_t n = search->n_allocated > 0 ? 2 * search->n_allocated : 64;
            struct candidate *grown = realloc(search->candidates, n * sizeof(*grown));
            if (grown == NULL)
                return error_set_nomem(err, "the chips at borders");
            search->candidates = grown;
            search->n_allocated = n;
        }
        search->candidates[search->n_candidates++] = (struct candidate){.chip = chip};
    }
    return 0;
}

/* ---- the vectors ---- */

VECTOR_CLONES static double product(const double *a, const double *b, size_t n)
{
    enum { PARTS = 32 };
    double sums[PARTS] = {0.0};
    for (; n >= PARTS; n -= PARTS, a += PARTS, b += PARTS) {
        for (size_t k = 0; k < PARTS; k++)
            sums[k] += a[k] * b[k];
    }
    for (size_t i = 0; i < n; i++)
        sums[i] += a[i] * b[i];
    for (size_t k = 1; k < PARTS; k++)
        sums[0] += sums[k];
    return sums[0];
}

static void measure_lengths(struct search *search)
{
    uint64_t counts[CLASSIFIER_CLASSES_MAX] = {0};
    const struct classification *chips = search->chips;
    for (uint64_t i = 0; i < chips->n_chips; i++) {
        if (chips->labels[i] >= chips->n_classes)
            continue;
        search->lengths[chips->labels[i]] += (double)chips->lengths[i];
        counts[chips->labels[i]]++;
    }
    for (uint32_t k = 0; k < chips->n_classes; k++)
        search->lengths[k] /= counts[k] > 0 ? (double)counts[k] : 1.0;
}

static int learn(struct search *search, struct error *err)
{
    const uint32_t n_classes = search->chips->n_classes;
    const size_t dimension = search->space->transform.dimension;
    int rc = prototypes_init(&search->prototypes, &search->space->examples, err);
    if (rc < 0)
        return rc;
    search->products = calloc((size_t)n_classes * n_classes, sizeof(*search->products));
    search->buffers = calloc(pool_n_slots(search->lane) * dimension, sizeof(*search->buffers));
    if (search->products == NULL || search->buffers == NULL)
        return error_set_nomem(err, "the chips at borders");
    measure_lengths(search);
    const double *means = search->prototypes.means;
    for (uint32_t i = 0; i < n_classes; i++) {
        for (uint32_t j = 0; j < n_classes; j++)
            search->products[i * n_classes + j] =
                search->lengths[i] * search->lengths[j] *
                product(means + i * dimension, means + j * dimension, dimension);
    }
    return 0;
}

/* A chip's vector as the costs need it. */
struct view {
    const struct search *search;
    const double *vector; /* of length 1 */
    double length;        /* what it was before */
    double square;        /* of the vector as it was */
};

static double with_mean(const struct view *view, uint32_t k)
{
    const struct search *search = view->search;
    const size_t dimension = search->space->transform.dimension;
    return view->length * search->lengths[k] *
           product(view->vector, search->prototypes.means + k * dimension, dimension);
}

/* Squared distance to the nearest t m_a + (1 - t) m_b; *share is its t. */
static double mixture_cost(const struct view *view, struct pair pair, double *share)
{
    const uint32_t n_classes = view->search->chips->n_classes;
    const double *of_a = view->search->products + (size_t)pair.a * n_classes;
    const double *of_b = view->search->products + (size_t)pair.b * n_classes;
    const double to_b = with_mean(view, pair.b);
    const double apart = of_a[pair.a] - 2.0 * of_a[pair.b] + of_b[pair.b];
    const double along = with_mean(view, pair.a) - to_b - of_a[pair.b] + of_b[pair.b];
    *share = apart > 0.0 ? fmin(fmax(along / apart, 0.0), 1.0) : 0.5;
    return view->square - 2.0 * to_b + of_b[pair.b] - *share * (2.0 * along - *share * apart);
}

static void ask(const struct search *search, struct candidate *candidate, double *buffer)
{
    const size_t dimension = search->space->transform.dimension;
    const uint32_t n_classes = search->chips->n_classes;
    const uint32_t own = search->chips->labels[candidate->chip];
    const double length =
        transform_apply(&search->space->transform,
                        search->band + (candidate->chip - search->band_first) * dimension, buffer);
    const struct view view = {search, buffer, length,
                              length * length * product(buffer, buffer, dimension)};
    const double of_own =
        view.square - 2.0 * with_mean(&view, own) + search->products[(size_t)own * n_classes + own];
    const struct sides sides = look_around(search, candidate->chip);
    double least = MIXTURE_SHARE * of_own;
    for (uint32_t i = 0; i < sides.n_pairs; i++) {
        const struct pair pair = sides.pairs[i];
        double share;
        const double cost = mixture_cost(&view, pair, &share);
        candidate->is_mixture |= cost < MIXTURE_SHARE * of_own;
        if (!(cost < least) || pair.a == own || pair.b == own)
            continue;
        least = cost;
        candidate->third = pair;
        candidate->share = (float)share;
    }
}

static void ask_part(void *context, uint32_t part, uint32_t slot)
{
    const struct search *search = context;
    const size_t first = (size_t)part * PART_CHIPS, left = search->n_asked - first;
    double *buffer = search->buffers + (size_t)slot * search->space->transform.dimension;
    for (size_t i = 0; i < left && i < PART_CHIPS; i++) {
        ask(search, &search->asked[first + i], buffer);
        if (i % GIVE_WAY_CHIPS == 0)
            give_way();
    }
}

static int ask_band(void *context, const float *band, uint64_t first, uint64_t n, struct error *err)
{
    (void)err;
    struct search *search = context;
    const struct candidate *end = search->candidates + search->n_candidates;
    search->band = band;
    search->band_first = first;
    search->asked += search->n_asked;
    search->n_asked = 0;
    while (search->asked + search->n_asked < end && search->asked[search->n_asked].chip < first + n)
        search->n_asked++;
    if (search->n_asked > 0)
        pool_share(search->lane, ask_part, search,
                   (uint32_t)((search->n_asked - 1) / PART_CHIPS + 1));
    return 0;
}

/* ---- both ---- */

static uint64_t assign(const struct search *search, struct classification *chips, bool *is_mixture)
{
    uint64_t n_assigned = 0;
    for (size_t i = 0; i < search->n_candidates; i++) {
        const struct candidate *candidate = &search->candidates[i];
        const struct pair pair = candidate->third;
        if (is_mixture != NULL)
            is_mixture[candidate->chip] = candidate->is_mixture;
        if (pair.a == pair.b)
            continue;
        float *row = chips->probabilities + candidate->chip * chips->n_classes;
        memset(row, 0, chips->n_classes * sizeof(*row));
        row[pair.a] = candidate->share;
        row[pair.b] = 1.0f - candidate->share;
        chips->labels[candidate->chip] = row[pair.a] >= row[pair.b] ? pair.a : pair.b;
        n_assigned++;
    }
    return n_assigned;
}

int borders_assign(const struct space *space, const struct grid *grid,
                   const struct embeddings *chips, struct pool_lane *lane,
                   struct classification *classification, bool *is_mixture, uint64_t *n_assigned,
                   struct error *err)
{
    struct search search = {.space = space,
                            .grid = grid,
                            .chips = classification,
                            .of_two = is_mixture != NULL,
                            .lane = lane};
    int rc = find_candidates(&search, err);
    if (rc == 0 && search.n_candidates > 0)
        rc = learn(&search, err);
    search.asked = search.candidates;
    if (rc == 0 && search.n_candidates > 0)
        rc = embeddings_visit(chips, lane, ask_band, &search, err);
    if (rc == 0)
        *n_assigned = assign(&search, classification, is_mixture);
    prototypes_clear(&search.prototypes);
    free(search.products);
    free(search.buffers);
    free(search.candidates);
    return rc;
}
