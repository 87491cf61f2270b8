/* The examples are multiplied by the roots of what they weigh, and so are their targets: what is
 * left is an ordinary ridge regression. Its sums are in the order of OpenBLAS's core; the chips'
 * scores are taken elsewhere, chip by chip.
 */
#include "engine/fewshot/heads/ridge.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear.h"

/* What is solved: min |b - a w|^2 + lambda |w|^2. */
struct problem {
    uint32_t n, dimension, n_classes;
    double lambda;
    double *a;     /* n x dimension */
    double *b;     /* n x n_classes */
    double *roots; /* n: what the rows were multiplied by */
    double *inverse;
    double *products; /* dual: n x n_classes, primal: n x dimension */
};

static void problem_clear(struct problem *problem)
{
    free(problem->a);
    free(problem->b);
    free(problem->roots);
    free(problem->inverse);
    free(problem->products);
}

static bool is_dual(const struct problem *problem)
{
    return problem->n <= problem->dimension;
}

static int problem_init(struct problem *out, const struct examples *examples, struct error *err)
{
    struct problem problem = {
        .n = examples->n, .dimension = examples->dimension, .n_classes = examples->n_classes};
    const size_t n = problem.n, dimension = problem.dimension, n_classes = problem.n_classes;
    const size_t order = is_dual(&problem) ? n : dimension;
    problem.a = calloc(n * dimension, sizeof(double));
    problem.b = calloc(n * n_classes, sizeof(double));
    problem.roots = calloc(n, sizeof(double));
    problem.inverse = calloc(order * order, sizeof(double));
    problem.products = calloc(n * (is_dual(&problem) ? n_classes : dimension), sizeof(double));
    if (problem.a == NULL || problem.b == NULL || problem.roots == NULL ||
        problem.inverse == NULL || problem.products == NULL) {
        problem_clear(&problem);
        return error_set_nomem(err, "a ridge regression");
    }
    *out = problem;
    return 0;
}

/* 1 - 1 / K for the own class, -1 / K for others. */
static double target(const struct examples *examples, uint32_t example, uint32_t k)
{
    return (examples->class_of[example] == k ? 1.0 : 0.0) - 1.0 / examples->n_classes;
}

static void fill(struct problem *problem, const struct examples *examples, const double *centre,
                 double penalty)
{
    const uint32_t dimension = problem->dimension, n_classes = problem->n_classes;
    double sum = 0.0;
    for (uint32_t i = 0; i < problem->n; i++) {
        const double *example = examples_vector(examples, i);
        double *row = problem->a + (size_t)i * dimension;
        const double share = (double)n_classes * examples->counts[examples->class_of[i]];
        const double root = sqrt(problem->n / share);
        problem->roots[i] = root;
        for (uint32_t d = 0; d < dimension; d++) {
            row[d] = root * (example[d] - centre[d]);
            sum += row[d] * row[d];
        }
        for (uint32_t k = 0; k < n_classes; k++)
            problem->b[(size_t)i * n_classes + k] = root * target(examples, i, k);
    }
    problem->lambda = penalty * (sum / problem->n);
}

/* a a^T or a^T a, with lambda on its diagonal, inverted. */
static int invert(struct problem *problem, struct error *err)
{
    const uint32_t order = is_dual(problem) ? problem->n : problem->dimension;
    struct linear_matrix left = {problem->a, problem->n, problem->dimension, LINEAR_AS_IS};
    struct linear_matrix right = left;
    if (is_dual(problem))
        right.form = LINEAR_TRANSPOSED;
    else
        left.form = LINEAR_TRANSPOSED;
    int rc = linear_multiply(&left, &right, problem->inverse, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < order; i++)
        problem->inverse[i * order + i] += problem->lambda;
    return linear_invert(problem->inverse, order, err);
}

/* With G = a a^T + lambda: w = a^T G^-1 b, b - f = lambda G^-1 b, 1 - H_ii = lambda (G^-1)_ii. */
static int solve_dual(const struct problem *problem, struct ridge *out, struct error *err)
{
    const uint32_t n = problem->n, n_classes = problem->n_classes;
    const struct linear_matrix inverse = {problem->inverse, n, n, LINEAR_AS_IS};
    const struct linear_matrix b = {problem->b, n, n_classes, LINEAR_AS_IS};
    const struct linear_matrix a = {problem->a, n, problem->dimension, LINEAR_AS_IS};
    const struct linear_matrix solved = {problem->products, n, n_classes, LINEAR_TRANSPOSED};
    int rc = linear_multiply(&inverse, &b, problem->products, err);
    if (rc == 0)
        rc = linear_multiply(&solved, &a, out->weights, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        for (size_t k = 0; k < n_classes; k++)
            out->held_out[i * n_classes + k] =
                problem->products[i * n_classes + k] / problem->inverse[i * n + i];
    }
    return rc;
}

static double dot(const double *a, const double *b, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* With S = a^T a + lambda: w = S^-1 a^T b, f = a w, H_ii = a_i S^-1 a_i. */
static int solve_primal(const struct problem *problem, struct ridge *out, struct error *err)
{
    const uint32_t n = problem->n, dimension = problem->dimension, n_classes = problem->n_classes;
    const struct linear_matrix inverse = {problem->inverse, dimension, dimension, LINEAR_AS_IS};
    const struct linear_matrix a = {problem->a, n, dimension, LINEAR_AS_IS};
    const struct linear_matrix b = {problem->b, n, n_classes, LINEAR_TRANSPOSED};
    const struct linear_matrix solved = {problem->products, n, dimension, LINEAR_AS_IS};
    int rc = linear_multiply(&a, &inverse, problem->products, err);
    if (rc == 0)
        rc = linear_multiply(&b, &solved, out->weights, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const double *row = problem->a + i * dimension;
        const double rest = 1.0 - dot(problem->products + i * dimension, row, dimension);
        for (size_t k = 0; k < n_classes; k++)
            out->held_out[i * n_classes + k] = (problem->b[i * n_classes + k] -
                                                dot(row, out->weights + k * dimension, dimension)) /
                                               rest;
    }
    return rc;
}

/* From what is missing of the targets, as the rows were multiplied, to answers. */
static void answer(const struct problem *problem, const struct examples *examples,
                   struct ridge *ridge)
{
    for (uint32_t i = 0; i < problem->n; i++) {
        double *row = ridge->held_out + (size_t)i * problem->n_classes;
        for (uint32_t k = 0; k < problem->n_classes; k++)
            row[k] = target(examples, i, k) - row[k] / problem->roots[i];
    }
}

int ridge_fit(const struct examples *examples, const double *centre, double penalty,
              struct ridge *out, struct error *err)
{
    const size_t n_classes = examples->n_classes;
    struct ridge ridge = {.weights = calloc(n_classes * examples->dimension, sizeof(double)),
                          .held_out = calloc(n_classes * examples->n, sizeof(double))};
    struct problem problem = {0};
    int rc = ridge.weights == NULL || ridge.held_out == NULL
                 ? error_set_nomem(err, "a ridge regression")
                 : problem_init(&problem, examples, err);
    if (rc == 0)
        fill(&problem, examples, centre, penalty);
    if (rc == 0 && problem.lambda > 0.0) {
        rc = invert(&problem, err);
        if (rc == 0)
            rc = is_dual(&problem) ? solve_dual(&problem, &ridge, err)
                                   : solve_primal(&problem, &ridge, err);
        if (rc == 0)
            answer(&problem, examples, &ridge);
    }
    problem_clear(&problem);
    if (rc < 0)
        ridge_clear(&ridge);
    else
        *out = ridge;
    return rc;
}

void ridge_clear(struct ridge *ridge)
{
    free(ridge->weights);
    free(ridge->held_out);
    memset(ridge, 0, sizeof(*ridge));
}
