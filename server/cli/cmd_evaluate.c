/* chipshot evaluate: few-shot accuracy of an encoder on labelled chips. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/coverage.h"
#include "engine/fewshot/evaluate.h"
#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/help/evaluate_help.h"
#include "server/cli/command.h"
#include "server/cli/common_options.h"
#include "server/cli/embedding_choice.h"
#include "server/cli/evaluate_across.h"

enum report { REPORT_ACCURACY, REPORT_RELIABILITY, REPORT_UNKNOWN };

struct totals {
    double sum;
    double worst;
    uint32_t n_groups;
};

/* The rows of one group, gathered to be contiguous. */
struct group_rows {
    float *embeddings;
    uint32_t *class_of;
    uint32_t n;
    const char *name;
};

/* The rows of a manifest by group, those of one group in their order. */
struct numbering {
    uint32_t *classes; /* of each row */
    uint32_t *groups;
    size_t *rows;   /* all rows, group after group */
    size_t *starts; /* where a group's begin in `rows`; n_groups + 1 */
    uint32_t n_classes, n_groups;
};

static void numbering_clear(struct numbering *numbering)
{
    free(numbering->classes);
    free(numbering->groups);
    free(numbering->rows);
    free(numbering->starts);
}

/* A counting sort: one look at each row, however many groups there are. */
static int sort_rows(struct numbering *numbering, size_t n, struct error *err)
{
    size_t *starts = calloc((size_t)numbering->n_groups + 2, sizeof(starts[0]));
    numbering->starts = starts;
    if (starts == NULL)
        return error_set_nomem(err, "an evaluation");
    for (size_t i = 0; i < n; i++)
        starts[numbering->groups[i] + 2]++;
    for (uint32_t group = 0; group < numbering->n_groups; group++)
        starts[group + 2] += starts[group + 1];
    /* starts[group + 1] is where the next row of the group goes, and in the end where it ends. */
    for (size_t i = 0; i < n; i++)
        numbering->rows[starts[numbering->groups[i] + 1]++] = i;
    return 0;
}

static int number_rows(const struct manifest *manifest, struct numbering *out, struct error *err)
{
    const size_t n = manifest->n_rows;
    out->classes = calloc(n, sizeof(out->classes[0]));
    out->groups = calloc(n, sizeof(out->groups[0]));
    out->rows = calloc(n, sizeof(out->rows[0]));
    if (out->classes == NULL || out->groups == NULL || out->rows == NULL)
        return error_set_nomem(err, "an evaluation");
    int rc = manifest_number(manifest, offsetof(struct manifest_row, label), out->classes,
                             &out->n_classes, err);
    if (rc == 0)
        rc = manifest_number(manifest, offsetof(struct manifest_row, group), out->groups,
                             &out->n_groups, err);
    return rc != 0 ? rc : sort_rows(out, n, err);
}

static void gather(const struct manifest *manifest, const float *embeddings, uint32_t dimension,
                   const struct numbering *numbering, uint32_t group, struct group_rows *out)
{
    out->n = 0;
    for (size_t k = numbering->starts[group]; k < numbering->starts[group + 1]; k++) {
        const size_t i = numbering->rows[k];
        out->name = manifest->rows[i].group;
        memcpy(out->embeddings + (size_t)out->n * dimension, embeddings + i * dimension,
               dimension * sizeof(float));
        out->class_of[out->n++] = numbering->classes[i];
    }
}

/* A line a bin of probabilities that has chips: what they say, and how often they are right. */
static void print_reliability(const struct evaluate_calibration *calibration)
{
    printf("%-16s %8s %12s %8s\n", "probabilities", "chips", "mean", "right");
    for (int bin = 0; bin < EVALUATE_BINS; bin++) {
        const uint64_t n = calibration->n[bin];
        if (n > 0)
            printf("%.4f to %.4f %8llu %12.4f %8.4f\n", (double)bin / EVALUATE_BINS,
                   (bin + 1.0) / EVALUATE_BINS, (unsigned long long)n,
                   calibration->probability[bin] / (double)n,
                   (double)calibration->n_right[bin] / (double)n);
    }
}

static void print_coverage(const struct coverage *coverage)
{
    printf("%-10s %9s %8s %8s %13s %13s %13s\n", "fractions", "covered", "width", "error",
           "rare covered", "rare width", "rare bias");
    for (int m = 0; m < COVERAGE_METHODS; m++) {
        const struct coverage_sums *all = &coverage->all[m], *rare = &coverage->rare[m];
        const double n = (double)all->n, n_rare = (double)rare->n;
        printf("%-10s %9.3f %8.3f %8.3f %13.3f %13.3f %+13.3f\n", coverage_method_name(m),
               (double)all->n_covered / n, all->width / n, all->absolute_error / n,
               (double)rare->n_covered / n_rare, rare->width / n_rare, rare->error / n_rare);
    }
}

/* The last line, which programs read. */
static void print_totals(const struct totals *totals,
                         const struct evaluate_calibration *calibration, uint32_t dimension,
                         const struct evaluate_params *params)
{
    printf("mean %.4f worst %.4f groups %u dimension %u shots %u", totals->sum / totals->n_groups,
           totals->worst, totals->n_groups, dimension, params->shots[0]);
    for (uint32_t i = 1; i < params->n_shots; i++)
        printf(",%u", params->shots[i]);
    printf(" episodes %u seed %llu ece %.4f\n", params->episodes, (unsigned long long)params->seed,
           evaluate_calibration_error(calibration));
}

/* Takes one group. */
typedef int (*take_group)(void *context, const struct group_rows *rows, uint32_t n_classes,
                          uint32_t dimension, struct error *err);

static int visit_groups(const struct manifest *manifest, const float *embeddings,
                        uint32_t dimension, take_group take, void *context, struct error *err)
{
    const size_t n = manifest->n_rows;
    struct numbering numbering = {0};
    struct group_rows rows = {.embeddings = calloc(n * dimension, sizeof(float)),
                              .class_of = calloc(n, sizeof(uint32_t))};
    int rc = 0;
    if (rows.embeddings == NULL || rows.class_of == NULL)
        rc = error_set_nomem(err, "an evaluation");
    else
        rc = number_rows(manifest, &numbering, err);
    for (uint32_t group = 0; rc == 0 && group < numbering.n_groups; group++) {
        gather(manifest, embeddings, dimension, &numbering, group, &rows);
        rc = take(context, &rows, numbering.n_classes, dimension, err);
    }
    numbering_clear(&numbering);
    free(rows.embeddings);
    free(rows.class_of);
    return rc;
}

static int check_groups(uint32_t n_groups, struct error *err)
{
    return n_groups > 0 ? 0
                        : error_set(err, ERROR_INVALID,
                                    "no group has two classes with at least %d chips each",
                                    EVALUATE_MIN_CLASS_SIZE);
}

/* ---- help with examples ---- */

/* What is asked of each group beside its score. */
struct help {
    bool with_swapped, with_suggestions;
    struct evaluate_swapped swapped;
    struct evaluate_suggested sum; /* over groups */
    uint32_t n_groups;
};

static int ask_help(const struct evaluate_params *params, const struct evaluate_chips *chips,
                    struct help *help, struct error *err)
{
    struct evaluate_suggested one = {0};
    int rc = help->with_swapped ? evaluate_swapped(params, chips, &help->swapped, err) : 0;
    if (rc == 0 && help->with_suggestions)
        rc = evaluate_suggestions(params, chips, &one, err);
    if (rc < 0 || one.n_episodes == 0)
        return rc;
    help->sum.before += one.before;
    help->sum.random += one.random;
    help->sum.suggested += one.suggested;
    help->n_groups++;
    return 0;
}

static void print_help(const struct help *help)
{
    const struct evaluate_swapped *swapped = &help->swapped;
    if (help->with_swapped)
        printf("swapped found %.4f named %.4f false %.4f\n",
               (double)swapped->n_found / (double)swapped->n_swapped,
               (double)swapped->n_named / (double)swapped->n_found,
               (double)swapped->n_false / (double)swapped->n_right);
    if (help->with_suggestions)
        printf("suggestions before %.4f random %.4f suggested %.4f\n",
               help->sum.before / help->n_groups, help->sum.random / help->n_groups,
               help->sum.suggested / help->n_groups);
}

/* ---- accuracy ---- */

struct scoring {
    const struct evaluate_params *params;
    struct totals totals;
    struct evaluate_calibration calibration;
    struct help *help;
};

static int score_group(void *context, const struct group_rows *rows, uint32_t n_classes,
                       uint32_t dimension, struct error *err)
{
    struct scoring *scoring = context;
    struct totals *totals = &scoring->totals;
    struct evaluate_group result;
    int rc = evaluate_group(scoring->params, rows->embeddings, rows->class_of, rows->n, n_classes,
                            dimension, &result, &scoring->calibration, err);
    if (rc < 0)
        return rc;
    if (isnan(result.score)) {
        printf("%-24s %8u %8u %18s\n", rows->name, result.n_classes, rows->n, "skipped");
        return 0;
    }
    printf("%-24s %8u %8u %18.4f %8.4f\n", rows->name, result.n_classes, result.n_chips,
           result.score, result.spread);
    totals->sum += result.score;
    totals->n_groups++;
    totals->worst = fmin(totals->worst, result.score);
    const struct evaluate_chips chips = {rows->embeddings, rows->class_of, rows->n, n_classes,
                                         dimension};
    return ask_help(scoring->params, &chips, scoring->help, err);
}

static int score_groups(const struct manifest *manifest, const float *embeddings,
                        uint32_t dimension, const struct evaluate_params *params,
                        enum report report, struct help *help, struct error *err)
{
    struct scoring scoring = {.params = params, .totals = {.worst = INFINITY}, .help = help};
    printf("%-24s %8s %8s %18s %8s\n", "group", "classes", "chips", "balanced accuracy", "spread");
    int rc = visit_groups(manifest, embeddings, dimension, score_group, &scoring, err);
    if (rc == 0)
        rc = check_groups(scoring.totals.n_groups, err);
    if (rc == 0 && report == REPORT_RELIABILITY)
        print_reliability(&scoring.calibration);
    if (rc == 0 && params->watch != NULL)
        print_coverage(params->watch_context);
    if (rc == 0)
        print_help(help);
    if (rc == 0)
        print_totals(&scoring.totals, &scoring.calibration, dimension, params);
    return rc;
}

/* ---- unknown classes ---- */

struct unknown_scoring {
    const struct evaluate_params *params;
    struct evaluate_unknown sums;
    uint32_t n_groups, n_probability;
};

static int score_unknown_group(void *context, const struct group_rows *rows, uint32_t n_classes,
                               uint32_t dimension, struct error *err)
{
    struct unknown_scoring *scoring = context;
    struct evaluate_unknown result, *sums = &scoring->sums;
    char probability[16] = "-";
    int rc = evaluate_unknown(scoring->params, rows->embeddings, rows->class_of, rows->n, n_classes,
                              dimension, &result, err);
    if (rc < 0)
        return rc;
    if (isnan(result.novelty)) {
        printf("%-24s %8u %8s\n", rows->name, result.n_classes, "skipped");
        return 0;
    }
    if (!isnan(result.probability)) {
        snprintf(probability, sizeof(probability), "%.4f", result.probability);
        sums->probability += result.probability;
        scoring->n_probability++;
    }
    printf("%-24s %8u %8.4f %12s %15.4f %14.4f\n", rows->name, result.n_classes, result.novelty,
           probability, result.known_unknown, result.unknown_unknown);
    sums->novelty += result.novelty;
    sums->known_unknown += result.known_unknown;
    sums->unknown_unknown += result.unknown_unknown;
    scoring->n_groups++;
    return 0;
}

static int score_unknown_groups(const struct manifest *manifest, const float *embeddings,
                                uint32_t dimension, const struct evaluate_params *params,
                                struct error *err)
{
    struct unknown_scoring scoring = {.params = params};
    const struct evaluate_unknown *sums = &scoring.sums;
    printf("%-24s %8s %8s %12s %15s %14s\n", "group", "classes", "novelty", "probability",
           "known, unknown", "unknown, found");
    int rc = visit_groups(manifest, embeddings, dimension, score_unknown_group, &scoring, err);
    if (rc == 0)
        rc = check_groups(scoring.n_groups, err);
    if (rc < 0)
        return rc;
    printf("novelty %.4f probability ", sums->novelty / scoring.n_groups);
    if (scoring.n_probability > 0)
        printf("%.4f", sums->probability / scoring.n_probability);
    else
        printf("-");
    printf(" known %.4f found %.4f groups %u shots %u", sums->known_unknown / scoring.n_groups,
           sums->unknown_unknown / scoring.n_groups, scoring.n_groups, params->shots[0]);
    for (uint32_t i = 1; i < params->n_shots; i++)
        printf(",%u", params->shots[i]);
    printf(" episodes %u seed %llu\n", params->episodes, (unsigned long long)params->seed);
    return 0;
}

static int parse_classifier(const char *distance, const char *transform, const char *head,
                            struct classifier_params *out, struct error *err)
{
    struct error inner = {0};
    if ((distance == NULL || classifier_distance_parse(distance, &out->distance, &inner) == 0) &&
        (transform == NULL ||
         classifier_transform_parse(transform, &out->transform, &inner) == 0) &&
        (head == NULL || head_parse(head, &out->head, &inner) == 0))
        return 0;
    return error_set(err, ERROR_INVALID, "--%.300s", inner.message);
}

/* What the command line says; one a process. */
static struct {
    const char *manifest, *root, *encoder;
    const char *distance, *transform, *head, *shots, *reference;
    bool is_across;
    uint64_t n_threads, episodes, seed;
    bool reliability, coverage;
    bool unknown;
    struct help help;
    struct embedding_options choice;
} given = {.shots = "5", .episodes = 20, .reference = "auto"};

static const struct command_numbers shot_numbers = {
    .name = "shots", .min = 1, .max = EVALUATE_MIN_CLASS_SIZE - 1, .n_max = EVALUATE_SHOTS_MAX};

static int parse_shots(const char *text, struct evaluate_params *out, struct error *err)
{
    uint64_t shots[EVALUATE_SHOTS_MAX];
    size_t n = 0;
    int rc = command_parse_numbers(&shot_numbers, text, shots, &n, err);
    for (size_t i = 0; i < n; i++)
        out->shots[i] = (uint32_t)shots[i];
    out->n_shots = (uint32_t)n;
    return rc;
}

static int parse_report(enum report *out, struct error *err)
{
    const bool with_help = given.help.with_swapped || given.help.with_suggestions;
    if (given.unknown && (given.reliability || given.coverage || given.is_across || with_help))
        return error_set(err, ERROR_INVALID,
                         "--unknown: not together with --reliability, --coverage, --swapped, "
                         "--suggestions or --across");
    if (given.is_across && with_help)
        return error_set(err, ERROR_INVALID,
                         "--across: not together with --swapped or --suggestions");
    *out = given.unknown       ? REPORT_UNKNOWN
           : given.reliability ? REPORT_RELIABILITY
                               : REPORT_ACCURACY;
    return 0;
}

static const struct command_option known_options[] = {
    OPTION_MANIFEST(&given.manifest),
    OPTION_ROOT(&given.root),
    OPTION_ENCODER(&given.encoder),
    {.name = "shots",
     .argument = "N[,N...]",
     .value.text = &given.shots,
     .help = "examples a class (default 5); of several numbers each class gets one, in turn"},
    {.name = "episodes",
     .argument = "N",
     .type = COMMAND_INTEGER,
     .value.integer = &given.episodes,
     .min = 1,
     .max = 100000,
     .help = "random draws of the examples (default 20)"},
    {.name = "seed",
     .argument = "N",
     .type = COMMAND_INTEGER,
     .value.integer = &given.seed,
     .max = UINT64_MAX,
     .help = "of the draws (default 0)"},
    {.name = "reliability",
     .type = COMMAND_FLAG,
     .value.flag = &given.reliability,
     .help = "print, bin by bin, how often chips are right and what their probabilities say"},
    {.name = "coverage",
     .type = COMMAND_FLAG,
     .value.flag = &given.coverage,
     .help = "print how often intervals of class fractions cover the truth, as counted and as "
             "verified"},
    OPTION_FLAG("unknown", &given.unknown,
                "leave each class out in turn, give no examples of it, and ask which chips are "
                "like no other"),
    OPTION_FLAG(
        "swapped", &given.help.with_swapped,
        "print how often an example with a wrong label is flagged, and how often others are"),
    OPTION_FLAG("suggestions", &given.help.with_suggestions,
                "print the accuracy from --shots examples a class to 5, labelled at random and as "
                "suggested"),
    OPTION_FLAG("across", &given.is_across,
                "draw the examples in one group and ask in another, for all pairs"),
    OPTION_TEXT(
        "reference", "NAME", &given.reference,
        "of --across, what both are measured by, as a job's: auto (default), image, "
        "support or series;\n                           or target, the group that is asked"),
    OPTION_INPUT_SIZES(&given.choice.input_sizes),
    OPTION_ENCODING(&given.choice.encoding),
    OPTION_PRECISION(&given.choice.precision),
    OPTION_STAGES(&given.choice.stages),
    OPTION_STATISTICS(&given.choice.statistics),
    OPTION_FEATURES(&given.choice.kind),
    {.name = "distance",
     .argument = "NAME",
     .value.text = &given.distance,
     .help = "euclidean (default) or cosine"},
    {.name = "transform",
     .argument = "NAME",
     .value.text = &given.transform,
     .help = "none, l2, cl2n or standardise (default)"},
    OPTION_HEAD(&given.head),
    OPTION_WORKERS(&given.n_threads),
};

static const struct command description = {
    .usage = "evaluate --manifest FILE --root DIR [OPTION]...",
    .summary =
        "In each group, takes the classes with at least 12 chips; an episode draws the "
        "shots of each\nclass and classifies the rest by nearest prototype; its score is "
        "the mean recall over classes.\nPrints a line a group, then the mean over groups, "
        "the worst group, and the expected calibration error\nof the probabilities (15 bins, "
        "over all chips that were asked). With --across a "
        "line a group that examples come from, and the means\nover all pairs. With --unknown the "
        "area under the ROC curve of the novelty and of the probability,\nthe share of known "
        "chips called unknown, and of the unknown that are found.",
    .options = known_options,
    .n_options = sizeof(known_options) / sizeof(known_options[0]),
};

static int run(const struct embedding_choice *choice, enum reference_choice reference,
               enum report report, const struct evaluate_params *params, struct error *err)
{
    struct manifest manifest = {0};
    struct embedding_maker *maker = NULL;
    float *embeddings = NULL;
    int rc = manifest_read(given.manifest, &manifest, err);
    if (rc == 0)
        rc = embedding_maker_create(&maker, choice, given.encoder, given.n_threads, err);
    if (rc == 0 && given.is_across) {
        rc = evaluate_across_groups(maker, &manifest, given.root, reference, params, err);
    } else if (rc == 0) {
        rc = embedding_maker_embed(maker, &manifest, given.root, &normalise_params_default,
                                   &embeddings, err);
        const uint32_t dimension = embedding_maker_dimension(maker);
        if (rc == 0)
            rc = report == REPORT_UNKNOWN
                     ? score_unknown_groups(&manifest, embeddings, dimension, params, err)
                     : score_groups(&manifest, embeddings, dimension, params, report, &given.help,
                                    err);
    }
    free(embeddings);
    embedding_maker_destroy(maker);
    manifest_clear(&manifest);
    return rc;
}

int cmd_evaluate(int argc, char **argv)
{
    enum command_action action = command_parse(&description, argc, argv, NULL);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    struct evaluate_params params = {.episodes = (uint32_t)given.episodes,
                                     .seed = given.seed,
                                     .classifier = classifier_params_default};
    struct coverage coverage = {0};
    struct error err = {0};
    struct embedding_choice choice;
    enum reference_choice reference;
    enum report report = REPORT_ACCURACY;
    if (given.coverage) {
        params.watch = coverage_watch;
        params.watch_context = &coverage;
    }
    int rc = embedding_choice_parse(&given.choice, &choice, &err);
    if (rc == 0)
        rc = parse_report(&report, &err);
    if (rc == 0)
        rc = parse_shots(given.shots, &params, &err);
    if (rc == 0)
        rc =
            parse_classifier(given.distance, given.transform, given.head, &params.classifier, &err);
    if (rc == 0)
        rc = across_reference_parse(given.reference, &reference, &err);
    if (rc < 0)
        return command_fail_usage(&err);
    return run(&choice, reference, report, &params, &err) == 0 ? command_end_output()
                                                               : command_fail(&err);
}
