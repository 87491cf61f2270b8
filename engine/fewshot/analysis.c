/* The steps of an analysis, in their order: classify the chips, then count what came out. */
#include "engine/fewshot/analysis.h"

static int check(const struct analysis_input *input, struct error *err)
{
    const uint64_t n_chips = grid_n_chips(input->grid);
    if (input->chips->n_chips != n_chips)
        return error_set(err, ERROR_INVALID, "chips: %llu, the grid has %llu",
                         (unsigned long long)input->chips->n_chips, (unsigned long long)n_chips);
    return 0;
}

static int describe(const struct analysis_input *input, const struct classification *chips,
                    struct statistics *out, struct error *err)
{
    const struct fine_source source = {.grid = input->grid,
                                       .labels = chips->labels,
                                       .probabilities = chips->probabilities,
                                       .n_classes = chips->n_classes,
                                       .cancel = input->chips->cancel};
    return statistics_compute(&source, out, err);
}

int analysis_run(const struct analysis_input *input, struct pool_lane *lane, struct analysis *out,
                 struct error *err)
{
    struct analysis analysis = {0};
    struct classification *chips = &analysis.chips;
    int rc = check(input, err);
    if (rc == 0)
        rc = classifier_run(input->classifier, input->support, input->chips, lane, chips, err);
    if (rc == 0)
        rc = describe(input, chips, &analysis.statistics, err);
    if (rc == 0)
        *out = analysis;
    else
        analysis_clear(&analysis);
    return rc;
}

void analysis_clear(struct analysis *analysis)
{
    classification_clear(&analysis->chips);
    statistics_clear(&analysis->statistics);
}
