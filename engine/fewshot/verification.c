/* Every Monte Carlo draw composes the whole population anew: true classes of each label's chips,
 * from which fractions, precision and recall follow together. Quantiles of the draws are the
 * intervals. */
#include "engine/fewshot/verification.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/random.h"

enum {
    DRAWS_MAX = 4000,
    DRAWS_MIN = 1000,
    GAMMAS_MAX = 500000, /* of an estimate, unless that leaves fewer draws than DRAWS_MIN */
    SIDE_MAX = VERIFICATION_SIDE_MAX,
};

void verification_share(const uint64_t *sizes, uint32_t n_strata, uint32_t n, uint32_t *out)
{
    uint32_t n_left = n, n_open = 0;
    for (uint32_t k = 0; k < n_strata; k++) {
        out[k] = 0;
        n_open += sizes[k] > 0;
    }
    while (n_left > 0 && n_open > 0) {
        const uint32_t each = n_left / n_open;
        uint32_t more = n_left % n_open;
        n_open = 0;
        for (uint32_t k = 0; k < n_strata; k++) {
            const uint64_t room = sizes[k] - out[k];
            if (room == 0)
                continue;
            const uint32_t wanted = each + (more > 0);
            const uint32_t taken = room < wanted ? (uint32_t)room : wanted;
            more -= more > 0;
            out[k] += taken;
            n_left -= taken;
            n_open += room > taken;
        }
    }
}

void verification_draw(struct random *random, uint64_t size, uint32_t n, uint64_t *out)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t last = size - n + i;
        uint64_t drawn = random_below_64(random, last + 1);
        for (uint32_t k = 0; k < i; k++) {
            if (out[k] == drawn) {
                drawn = last;
                break;
            }
        }
        out[i] = drawn;
    }
}

/* ---- the population ---- */

/* One stratum: what is certain and what is drawn. */
struct stratum {
    double certain[SIDE_MAX]; /* chips that were answered */
    double shape[SIDE_MAX];   /* of the Dirichlet distribution of the rest; 0: cannot be */
    double rest;              /* chips */
};

struct population {
    uint32_t n_classes, n_sides; /* n_sides: true classes, with "none" where it may be */
    struct stratum strata[SIDE_MAX];
    double n_chips; /* of all strata */
};

static int check(const struct verification_counts *counts, struct error *err)
{
    const uint32_t n_classes = counts->n_classes, side = n_classes + 1;
    if (n_classes == 0 || n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes: %u, from 1 to %d are allowed", n_classes,
                         CLASSIFIER_CLASSES_MAX);
    uint64_t n_chips = 0;
    for (uint32_t s = 0; s < side; s++) {
        uint64_t n_answers = 0;
        for (uint32_t c = 0; c < side; c++)
            n_answers += counts->answers[s * side + c];
        if (n_answers > counts->n_chips[s])
            return error_set(err, ERROR_INVALID, "answers about label %u: %llu, it has %llu chips",
                             s, (unsigned long long)n_answers,
                             (unsigned long long)counts->n_chips[s]);
        n_chips += counts->n_chips[s];
    }
    if (n_chips == 0)
        return error_set(err, ERROR_INVALID, "a verification of no chips");
    return 0;
}

static bool may_be_none(const struct verification_counts *counts)
{
    const uint32_t n_classes = counts->n_classes, side = n_classes + 1;
    bool any = counts->n_chips[n_classes] > 0;
    for (uint32_t s = 0; s < side; s++)
        any = any || counts->answers[s * side + n_classes] > 0;
    return any;
}

/* m chips with the composition of a Dirichlet distribution of concentration `a` are Dirichlet-
 * multinomial: the variance of their shares is (m + a) / m times the distribution's. A Dirichlet
 * distribution of a lower concentration has the same mean and variance. */
static double finite_concentration(double a, double m)
{
    const double concentration = (a + 1.0) * m / (m + a) - 1.0;
    return fmax(concentration, 1e-3); /* one chip is of one class: 0 */
}

static void stratum_init(const struct verification_counts *counts, uint32_t s, uint32_t n_sides,
                         struct stratum *out)
{
    const uint32_t n_classes = counts->n_classes;
    const uint32_t *answers = counts->answers + (size_t)s * (n_classes + 1);
    double n_answers = 0.0, total = 0.0;
    for (uint32_t c = 0; c < n_sides; c++) {
        out->certain[c] = answers[c];
        out->shape[c] = answers[c] + VERIFICATION_EVEN / n_classes +
                        (c == s && s < n_classes ? VERIFICATION_OWN : 0.0);
        n_answers += answers[c];
        total += out->shape[c];
    }
    out->rest = (double)counts->n_chips[s] - n_answers;
    if (out->rest > 0.0) {
        const double scale = finite_concentration(total, out->rest) / total;
        for (uint32_t c = 0; c < n_sides; c++)
            out->shape[c] *= scale;
    }
}

static void population_init(const struct verification_counts *counts, struct population *out)
{
    *out = (struct population){.n_classes = counts->n_classes,
                               .n_sides = counts->n_classes + may_be_none(counts)};
    for (uint32_t s = 0; s <= counts->n_classes; s++) {
        stratum_init(counts, s, out->n_sides, &out->strata[s]);
        out->n_chips += (double)counts->n_chips[s];
    }
}

/* Shares that sum to 1, worked out in logarithms: of small shapes most variates are next to 0. */
static void draw_dirichlet(struct random *random, const double *shape, uint32_t n, double *out)
{
    double largest = -INFINITY, total = 0.0;
    for (uint32_t c = 0; c < n; c++) {
        out[c] = random_log_gamma(random, shape[c]);
        largest = fmax(largest, out[c]);
    }
    for (uint32_t c = 0; c < n; c++)
        total += out[c] = exp(out[c] - largest);
    for (uint32_t c = 0; c < n; c++)
        out[c] /= total;
}

/* ---- draws ---- */

/* The quantities of an estimate, one after the other, so that one array holds the draws of all. */
enum {
    SHARES,
    FRACTIONS = SIDE_MAX,
    PRECISION = 2 * SIDE_MAX,
    RECALL = 3 * SIDE_MAX,
    ACCURACY = 4 * SIDE_MAX,
    QUANTITIES
};

/* Of chips by true class, the last of none. */
static void tell_fractions(const double *of_class, uint32_t n_classes, uint64_t uncounted,
                           double *out)
{
    double all = of_class[n_classes], counted = of_class[n_classes];
    for (uint32_t c = 0; c < n_classes; c++) {
        all += of_class[c];
        counted += (uncounted >> c & 1) == 0 ? of_class[c] : 0.0;
    }
    for (uint32_t c = 0; c <= n_classes; c++) {
        const bool is_counted = c == n_classes || (uncounted >> c & 1) == 0;
        out[SHARES + c] = of_class[c] / all;
        out[FRACTIONS + c] = is_counted && counted > 0.0 ? of_class[c] / counted : NAN;
    }
}

static void draw_population(const struct population *population,
                            const struct verification_counts *counts, struct random *random,
                            double *out)
{
    const uint32_t n_classes = population->n_classes, n_sides = population->n_sides;
    double of_class[SIDE_MAX] = {0}, right[SIDE_MAX] = {0}, share[SIDE_MAX];
    double n_right = 0.0;
    for (uint32_t s = 0; s <= n_classes; s++) {
        const struct stratum *stratum = &population->strata[s];
        double n_chips = stratum->rest;
        if (stratum->rest > 0.0)
            draw_dirichlet(random, stratum->shape, n_sides, share);
        for (uint32_t c = 0; c < n_sides; c++) {
            const double n =
                stratum->certain[c] + (stratum->rest > 0.0 ? stratum->rest * share[c] : 0.0);
            n_chips += stratum->certain[c];
            of_class[c] += n;
            if (c == s)
                right[c] = n;
        }
        if (s < n_classes) {
            n_right += right[s];
            out[PRECISION + s] = n_chips > 0.0 ? right[s] / n_chips : NAN;
        }
    }
    out[ACCURACY] = n_right / population->n_chips;
    for (uint32_t c = 0; c < n_classes; c++) {
        out[RECALL + c] = of_class[c] > 0.0 ? right[c] / of_class[c] : NAN;
        of_class[c] += (double)counts->n_known[c];
    }
    tell_fractions(of_class, n_classes, counts->uncounted, out);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, uint32_t n, double share)
{
    const double at = share * (n - 1);
    const uint32_t below = (uint32_t)at;
    const uint32_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/* `column` is room for the n_draws. */
static struct verification_interval summarise(const double *draws, uint32_t n_draws,
                                              uint32_t quantity, double *column)
{
    uint32_t n = 0;
    double total = 0.0;
    for (uint32_t i = 0; i < n_draws; i++) {
        const double value = draws[(size_t)i * QUANTITIES + quantity];
        if (isnan(value))
            continue;
        column[n++] = value;
        total += value;
    }
    if (n == 0)
        return (struct verification_interval){NAN, NAN, NAN};
    qsort(column, n, sizeof(*column), compare);
    const double tail = (1.0 - VERIFICATION_CONFIDENCE) / 2.0;
    const double low = quantile(column, n, tail), high = quantile(column, n, 1.0 - tail);
    /* The mean of equal draws is rounded. */
    const double mean = fmin(fmax(total / n, column[0]), column[n - 1]);
    return (struct verification_interval){mean, low, high};
}

static uint32_t choose_draws(const struct population *population)
{
    const uint32_t gammas = (population->n_classes + 1) * population->n_sides;
    const uint32_t n = GAMMAS_MAX / gammas;
    return n > DRAWS_MAX ? DRAWS_MAX : n < DRAWS_MIN ? DRAWS_MIN : n;
}

int verification_estimate(const struct verification_counts *counts, uint64_t seed,
                          struct verification_estimate *out, struct error *err)
{
    struct population population;
    struct random random;
    int rc = check(counts, err);
    if (rc < 0)
        return rc;
    population_init(counts, &population);
    const uint32_t n_draws = choose_draws(&population);
    double *draws = calloc(n_draws, QUANTITIES * sizeof(*draws));
    double *column = calloc(n_draws, sizeof(*column));
    if (draws == NULL || column == NULL) {
        rc = error_set_nomem(err, "an estimate");
        goto out;
    }
    random_seed(&random, seed, 0);
    for (uint32_t i = 0; i < n_draws; i++)
        draw_population(&population, counts, &random, draws + (size_t)i * QUANTITIES);
    struct verification_estimate estimate = {.n_draws = n_draws};
    for (uint32_t c = 0; c <= counts->n_classes; c++) {
        estimate.shares[c] = summarise(draws, n_draws, SHARES + c, column);
        estimate.fractions[c] = summarise(draws, n_draws, FRACTIONS + c, column);
    }
    for (uint32_t c = 0; c < counts->n_classes; c++) {
        estimate.precision[c] = summarise(draws, n_draws, PRECISION + c, column);
        estimate.recall[c] = summarise(draws, n_draws, RECALL + c, column);
    }
    estimate.accuracy = summarise(draws, n_draws, ACCURACY, column);
    *out = estimate;
out:
    free(draws);
    free(column);
    return rc;
}
