/* What many images say together: ratios of sums over images (a fraction of an area, regions over an
 * area, a mean over regions), how they vary from image to image, and how sure they are.
 *
 * Chips, regions and columns of one image are alike, so that only images can be taken for
 * independent: the interval is a cluster bootstrap, in which whole images are drawn with
 * replacement (Cameron, Gelbach and Miller, Bootstrap-based improvements for inference with
 * clustered errors, Rev. Econ. Stat. 90, 2008). Its percentiles are the expanded ones of Hesterberg
 * (What teachers should know about the bootstrap, Am. Stat. 69, 2015), since with few images the
 * plain ones are too narrow. It says how far another set of such images might differ, and nothing
 * of the classifier's errors, which are the same in all of them. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_POPULATION_H
#define CHIPSHOT_ENGINE_FEWSHOT_POPULATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

enum {
    POPULATION_RESAMPLES = 2000,
    POPULATION_IMAGES_MIN = 5, /* with a value, for an interval */
    /* More images than that are drawn in so many groups, into which they are dealt at random. */
    POPULATION_GROUPS_MAX = 128,
};

#define POPULATION_CONFIDENCE 0.95

/* Of n_images; borrowed. Where a denominator is 0, the image says nothing. */
struct population_series {
    const double *numerators, *denominators;
};

/* NaN: there is none. */
struct population_summary {
    uint64_t n_images;       /* that say something */
    double total;            /* of the numerators */
    double value, low, high; /* sum over sum, with its interval */
    double mean, sd;         /* of the images' own ratios, each image as much as another */
    double least, median, greatest;
};

/* All series are drawn together. Deterministic by seed. ERROR_NOMEM, ERROR_CANCELLED. */
int population_summarise(const struct population_series *series, size_t n_series, size_t n_images,
                         uint64_t seed, const struct cancel *cancel, struct population_summary *out,
                         struct error *err);

/* The quantile of sizes that are counted in octaves, by interpolation between the logarithms of
 * their ends. counts[i]: of 2^i up to 2^(i + 1). NaN: there are none. */
double population_octave_quantile(const uint64_t *counts, size_t n_octaves, double share);

#endif
