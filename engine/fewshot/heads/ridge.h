/* Ridge regression of the examples' classes on their vectors, and each example's answer when it is
 * left out. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HEADS_RIDGE_H
#define CHIPSHOT_ENGINE_FEWSHOT_HEADS_RIDGE_H

#include "base/error.h"
#include "engine/fewshot/heads/examples.h"

struct ridge {
    double *weights;  /* n_classes x dimension; owned */
    double *held_out; /* n x n_classes: what each example gets from a fit to all others; owned */
};

/* Fits weights w_k, so that w_k (x - centre) is near 1 - 1 / K for examples of class k and near
 * -1 / K for others:
 *
 *     sum_i s_i sum_k (y_ik - w_k (x_i - centre))^2 + penalty P sum_k |w_k|^2
 *
 * with s_i = N / (K n_c), so that classes weigh alike whatever the number of their examples, and P
 * the mean of s_i |x_i - centre|^2: the penalty has no unit. Of N examples in D dimensions the N x
 * N or the D x D system is solved, whichever is smaller. Leaving out takes no second fit: with the
 * matrix H from targets to answers, the answer without example i is y_i - (y_i - f_i) / (1 - H_ii)
 * (Allen 1974; Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 7.10).
 *
 * `centre`: dimension values. Examples that all lie at the centre give zeros. ERROR_NOMEM,
 * ERROR_IO (linear.h). */
int ridge_fit(const struct examples *examples, const double *centre, double penalty,
              struct ridge *out, struct error *err);
void ridge_clear(struct ridge *ridge);

#endif
