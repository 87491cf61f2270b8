/* chipshot classify: one image and one support set, no server: labels.csv, labels.png,
 * labels-image.png, overlay.png, objects.csv and statistics.json, with the same engine and the same
 * rules as a job: an example that is a chip of the grid takes its embedding from there, any other
 * is embedded in a batch of its own. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/analysis_text.h"
#include "api/results/labels_csv.h"
#include "api/results/map_json.h"
#include "api/results/statistics_json.h"
#include "engine/fewshot/analysis.h"
#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/unknown.h"
#include "server/cli/classify/micrograph.h"
#include "server/cli/classify/normalise_options.h"
#include "server/cli/classify/objects_file.h"
#include "server/cli/classify/pictures.h"
#include "server/cli/command.h"
#include "server/cli/common_options.h"
#include "server/cli/embedding_choice.h"
#include "server/cli/files.h"
#include "server/cli/session.h"
#include "server/cli/support_file.h"

enum { MAX_CHIPS = 4000000 };

struct request {
    const char *image_path;
    const char *support_path;
    const char *directory;
    const char *encoder_path;
    const char *mask_path;
    bool no_proposed_mask;
    const char *edge;
    const char *input_size;
    struct input_sizes input_sizes; /* read from it */
    const char *encoding_name;
    enum encoding encoding; /* read from it */
    const char *precision_name;
    enum precision precision; /* read from it */
    const char *pixel_size;
    struct image_calibration calibration; /* read from it; CALIBRATION_NONE: the file's */
    struct normalise_options normalising;
    struct normalise_params normalise; /* read from it */
    const char *borders_name;
    enum borders borders; /* read from it */
    const char *head;
    struct classifier_params classifier; /* read from it */
    uint64_t stride;
    uint64_t n_threads;
    struct pictures_choice pictures;
    bool unknown;
    const char *smoothing_name;
    enum smoothing smoothing; /* read from it */
};

struct run {
    struct session session;
    struct support_file support;
    struct micrograph micrograph;
    struct grid grid;
    uint8_t *skip; /* grid_n_chips: not 0 for those that are not analysed; NULL: all are */
    enum borders borders;
    bool unknown;
    float *chips;    /* grid_n_chips x dimension */
    float *examples; /* n_examples x dimension */
    uint32_t *class_of;
    struct example_chip *example_chips; /* examples that are chips of the grid */
    uint32_t n_example_chips;
    struct analysis result;
};

static int check_stride(const struct run *run, struct error *err)
{
    const struct embedder *embedder = run->session.embedder;
    const struct input_sizes *sizes = embedder_input_sizes(embedder);
    struct error inner = {0};
    if (encoding_check_stride(embedder_encoding(embedder), &run->grid.params,
                              sizes->sides[sizes->n - 1], &inner) < 0)
        return error_set(err, ERROR_INVALID, "--stride: %.300s", inner.message);
    return 0;
}

static int leave_out_chips(struct run *run, struct error *err)
{
    uint64_t n_left_out;
    micrograph_report(&run->micrograph);
    if (run->micrograph.parts.n == 0)
        return 0;
    run->skip = malloc(grid_n_chips(&run->grid));
    return run->skip == NULL
               ? error_set_nomem(err, "the chips")
               : mask_chips(&run->micrograph.mask, &run->grid, run->skip, &n_left_out, err);
}

static int check_examples(const struct support_file *support, struct error *err)
{
    uint32_t counts[CLASSIFIER_CLASSES_MAX] = {0};
    for (uint32_t i = 0; i < support->n_examples; i++)
        counts[support->examples[i].class_index]++;
    for (uint32_t k = 0; k < support->n_classes; k++) {
        if (counts[k] < UNKNOWN_EXAMPLES_MIN)
            return error_set(err, ERROR_INVALID,
                             "--unknown: class '%s' has %u examples, at least %d are needed",
                             support->names[k], counts[k], UNKNOWN_EXAMPLES_MIN);
    }
    return 0;
}

static int check_head(const struct request *request, const struct support_file *support,
                      struct error *err)
{
    uint32_t counts[CLASSIFIER_CLASSES_MAX] = {0};
    for (uint32_t i = 0; i < support->n_examples; i++)
        counts[support->examples[i].class_index]++;
    return head_check_examples(&request->classifier, counts, support->n_classes, support->names,
                               err);
}

static int load(const struct request *request, struct run *run, struct error *err)
{
    struct grid_params params = {.stride_x = (uint32_t)request->stride,
                                 .stride_y = (uint32_t)request->stride};
    const struct micrograph_request micrograph = {
        .image_path = request->image_path,
        .mask_path = request->mask_path,
        .proposals = request->no_proposed_mask ? MASK_WITHOUT_PROPOSED : MASK_WITH_PROPOSED,
    };
    int rc = grid_edge_parse(request->edge, &params.edge, err);
    if (rc == 0)
        rc = support_file_read(request->support_path, &run->support, err);
    if (rc == 0)
        rc = check_head(request, &run->support, err);
    if (rc == 0)
        rc = micrograph_load(&micrograph, &request->normalise, &run->micrograph, err);
    if (rc < 0)
        return rc;
    if (request->calibration.unit != CALIBRATION_NONE)
        run->micrograph.image.info.calibration = request->calibration;
    run->borders = request->borders;
    run->unknown = request->unknown;
    if (run->unknown && (rc = check_examples(&run->support, err)) < 0)
        return rc;
    params.chip_width = run->support.chip_width;
    params.chip_height = run->support.chip_height;
    rc = grid_plan(&params, run->micrograph.image.info.width, run->micrograph.image.info.height,
                   MAX_CHIPS, &run->grid, err);
    if (rc == 0)
        rc = leave_out_chips(run, err);
    if (rc == 0)
        rc = session_create(&run->session, request->encoder_path, request->n_threads,
                            &request->input_sizes, request->encoding, request->precision, err);
    return rc == 0 ? check_stride(run, err) : rc;
}

static int check_example(const struct run *run, uint32_t index, const struct chip_rect *rect,
                         struct error *err)
{
    const struct support_example *example = &run->support.examples[index];
    const char *class = run->support.names[example->class_index];
    const struct image_info *info = &run->micrograph.image.info;
    struct error inner = {0};
    if (chip_rect_check(rect, info->width, info->height, &inner) < 0)
        return error_set(err, ERROR_INVALID, "example %u of class '%s': %.300s", index, class,
                         inner.message);
    if (run->micrograph.parts.n > 0 && mask_leaves_out(&run->micrograph.mask, rect))
        return error_set(err, ERROR_INVALID,
                         "example %u of class '%s', at %u, %u: more than half of it is not "
                         "analysed, so that it cannot stand for the class",
                         index, class, rect->x, rect->y);
    return 0;
}

/* The examples' embeddings: from the grid where an example is one of its chips, else embedded
 * alone.
 */
static int embed_examples(struct run *run, uint32_t dimension, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < run->support.n_examples && rc == 0; i++) {
        const struct support_example *example = &run->support.examples[i];
        struct chip_rect rect = {example->x, example->y, run->support.chip_width,
                                 run->support.chip_height};
        rc = check_example(run, i, &rect, err);
        if (rc < 0)
            return rc;
        float *out = run->examples + (size_t)i * dimension;
        int64_t chip = grid_find(&run->grid, &rect);
        if (chip >= 0)
            run->example_chips[run->n_example_chips++] =
                (struct example_chip){(uint64_t)chip, example->class_index};
        if (chip >= 0)
            memcpy(out, run->chips + (size_t)chip * dimension, dimension * sizeof(float));
        else
            rc = embed_rects(run->session.embedder, run->session.lane, run->micrograph.image.pixels,
                             run->micrograph.image.info.width, run->micrograph.image.info.height,
                             &rect, 1, 1, NULL, out, err);
        run->class_of[i] = example->class_index;
    }
    return rc;
}

static int classify(const struct request *request, struct run *run, struct error *err)
{
    uint32_t dimension = embedder_dimension(run->session.embedder);
    uint64_t n = grid_n_chips(&run->grid);
    run->chips = malloc(n * dimension * sizeof(float));
    run->examples = calloc((size_t)run->support.n_examples * dimension, sizeof(float));
    run->class_of = calloc(run->support.n_examples, sizeof(uint32_t));
    run->example_chips = calloc(run->support.n_examples, sizeof(*run->example_chips));
    if (run->chips == NULL || run->examples == NULL || run->class_of == NULL ||
        run->example_chips == NULL)
        return error_set_nomem(err, "the embeddings");
    int rc = embed_grid(run->session.embedder, run->session.lane, run->micrograph.image.pixels,
                        &run->grid, NULL, NULL, run->chips, err);
    if (rc == 0)
        rc = embed_examples(run, dimension, err);
    const struct support support = {
        .embeddings = run->examples,
        .class_of = run->class_of,
        .n_examples = run->support.n_examples,
        .n_classes = run->support.n_classes,
        .dimension = dimension,
    };
    const struct embeddings chips = {
        .n_chips = n, .skip = run->skip, .dimension = dimension, .values = run->chips};
    const struct analysis_input input = {
        .classifier = &request->classifier,
        .support = &support,
        .grid = &run->grid,
        .chips = &chips,
        .mask = &run->micrograph.parts,
        .uncounted = run->support.uncounted,
        .borders = run->borders,
        .unknown = run->unknown,
        .smoothing = request->smoothing,
        .example_chips = run->example_chips,
        .n_example_chips = run->n_example_chips,
        .ask_examples = true,
    };
    return rc == 0 ? analysis_run(&input, run->session.lane, &run->result, err) : rc;
}

/* Names the examples that another class would take, or nearly. */
static void warn_of_examples(const struct run *run)
{
    const struct health *health = &run->result.health;
    for (uint32_t i = 0; i < health->n_examples; i++) {
        const struct support_example *example = &run->support.examples[i];
        const double own = health_own(health, i);
        if (health_is_flagged(own))
            fprintf(stderr,
                    "the example of '%s' at %u, %u looks like '%s': without it, its own class has "
                    "the probability %.2f\n",
                    run->support.names[example->class_index], example->x, example->y,
                    run->support.names[health_likely(health, i)], own);
    }
}

static int write_labels(const struct run *run, const char *directory, struct error *err)
{
    struct body_writer writer = {0};
    labels_csv_write_header(
        &writer, run->result.chips.raw_labels != NULL ? LABELS_CSV_WITH_RAW : LABELS_CSV_PLAIN,
        run->support.n_classes, run->support.names);
    labels_csv_write_chips(&writer, &run->grid, 0, &run->result.chips, run->support.names);
    int rc = body_writer_check(&writer, err);
    if (rc == 0)
        rc = file_write(directory, "labels.csv", writer.buffer, writer.size, err);
    body_writer_clear(&writer);
    return rc;
}

static struct fine_source source_of(const struct run *run)
{
    return (struct fine_source){.grid = &run->grid,
                                .labels = run->result.chips.labels,
                                .probabilities = run->result.chips.probabilities,
                                .n_classes = run->support.n_classes};
}

static int write_pictures(const struct request *request, const struct run *run, struct error *err)
{
    const struct fine_source source = source_of(run);
    return pictures_write(&request->pictures, &source, &run->micrograph.image, &run->support,
                          request->directory, err);
}

/* The names are those of the service's results; areas are null when the file has no pixel size. */
static int add_classes(const struct run *run, json_t *root, struct error *err)
{
    const struct statistics_scale scale = {
        .pixel_area_nm2 = image_calibration_area_nm2(&run->micrograph.image.info.calibration)};
    json_t *classes = json_array();
    int rc = json_object_set_new(root, "classes", classes) == 0
                 ? 0
                 : error_set_nomem(err, "statistics.json");
    for (uint32_t i = 0; i < run->support.n_classes && rc == 0; i++) {
        const bool is_uncounted = (run->support.uncounted >> i & 1) != 0;
        json_t *class =
            json_pack("{s:s, s:b}", "name", run->support.names[i], "counted", !is_uncounted);
        rc = json_array_append_new(classes, class) == 0
                 ? statistics_json_add(class, &run->result.statistics, i, &scale, err)
                 : error_set_nomem(err, "statistics.json");
        if (rc == 0 && is_uncounted)
            rc = statistics_json_uncount(class, err);
    }
    return rc == 0 ? statistics_json_add_no_classes(root, &run->result.statistics,
                                                    scale.pixel_area_nm2, err)
                   : rc;
}

static int write_statistics(const struct run *run, const char *directory, struct error *err)
{
    json_t *covered = map_json_covered(
        &run->grid, image_calibration_area_nm2(&run->micrograph.image.info.calibration));
    json_t *root = json_pack(
        "{s:{s:i, s:i}, s:o, s:o, s:s, s:f, s:I, s:o}", "grid", "rows", (int)run->grid.rows,
        "columns", (int)run->grid.columns, "map", map_json_create(&run->grid), "covered", covered,
        "encoding", encoding_name(embedder_encoding(run->session.embedder)), "temperature",
        run->result.chips.temperature, "n_outliers", (json_int_t)run->micrograph.n_outliers,
        "analysis", analysis_text_json(&run->result));
    const struct fine_source map = source_of(run);
    int rc = root == NULL ? error_set_nomem(err, "statistics.json") : add_classes(run, root, err);
    if (rc == 0)
        rc = objects_file_write(directory, &map, &run->micrograph.image, run->support.names,
                                json_object_get(root, "classes"), err);
    char *text = rc == 0 ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    if (rc == 0)
        rc = text == NULL ? error_set_nomem(err, "statistics.json")
                          : file_write(directory, "statistics.json", text, strlen(text), err);
    free(text);
    json_decref(root);
    return rc;
}

static int run_request(const struct request *request, struct error *err)
{
    struct run run = {0};
    int rc = load(request, &run, err);
    if (rc == 0)
        rc = classify(request, &run, err);
    if (rc == 0)
        warn_of_examples(&run);
    if (rc == 0)
        rc = file_make_directory(request->directory, err);
    if (rc == 0)
        rc = write_labels(&run, request->directory, err);
    if (rc == 0)
        rc = write_pictures(request, &run, err);
    if (rc == 0)
        rc = write_statistics(&run, request->directory, err);
    analysis_clear(&run.result);
    free(run.chips);
    free(run.examples);
    free(run.class_of);
    free(run.example_chips);
    micrograph_clear(&run.micrograph);
    free(run.skip);
    support_file_clear(&run.support);
    session_clear(&run.session);
    return rc;
}

/* What the command line says; one a process. */
static struct request given = {.edge = "drop", .borders = BORDERS_ASSIGN};

static const struct command_option known_options[] = {
    {.name = "image",
     .argument = "FILE",
     .value.text = &given.image_path,
     .required = true,
     .help = "micrograph (PNG)"},
    {.name = "support",
     .argument = "FILE",
     .value.text = &given.support_path,
     .required = true,
     .help = "support set (JSON): chip size, classes, examples' corners"},
    {.name = "out",
     .argument = "DIR",
     .value.text = &given.directory,
     .required = true,
     .help = "where to write; created when absent"},
    {.name = "mask",
     .argument = "FILE",
     .value.text = &given.mask_path,
     .help = "picture (PNG) of the image's size: what is black is not analysed"},
    {.name = "no-proposed-mask",
     .type = COMMAND_FLAG,
     .value.flag = &given.no_proposed_mask,
     .help = "analyse borders and data bars, too, which are otherwise found and left out"},
    OPTION_STRIDE(&given.stride),
    {.name = "edge",
     .argument = "POLICY",
     .value.text = &given.edge,
     .help = "drop (default): whole chips only; cover: shift the last row and column inwards"},
    {.name = "pixel-size",
     .argument = "NM[,NM]",
     .value.text = &given.pixel_size,
     .help = "edge of a pixel in nm, or its width and height; default: what the file says"},
    OPTIONS_NORMALISE(given.normalising),
    PICTURES_OPTIONS(given.pictures),
    OPTION_ENCODER(&given.encoder_path),
    OPTION_INPUT_SIZES(&given.input_size),
    OPTION_ENCODING(&given.encoding_name),
    OPTION_PRECISION(&given.precision_name),
    OPTION_HEAD(&given.head),
    OPTION_SMOOTHING(&given.smoothing_name),
    {.name = "borders",
     .argument = "HOW",
     .value.text = &given.borders_name,
     .help = "assign (default): chips that are a mixture of two classes beside them, and not the "
             "third\n"
             "                           that they resemble, go to the one that they have more of; "
             "off"},
    {.name = "unknown",
     .type = COMMAND_FLAG,
     .value.flag = &given.unknown,
     .help =
         "chips that are like none of the classes are called unknown: needs 5 examples a class"},
    OPTION_WORKERS(&given.n_threads),
};

static const struct command description = {
    .usage = "classify --image FILE --support FILE.json --out DIR [OPTION]...",
    .summary = "Classifies every chip of an image by its nearest prototype; writes labels.csv, "
               "labels.png,\nlabels-image.png, overlay.png, objects.csv and statistics.json.",
    .options = known_options,
    .n_options = sizeof(known_options) / sizeof(known_options[0]),
};

static int parse_pixel_size(struct error *err)
{
    struct error inner = {0};
    if (given.pixel_size == NULL ||
        image_calibration_parse(given.pixel_size, &given.calibration, &inner) == 0)
        return 0;
    return error_set(err, ERROR_INVALID, "--pixel-size %s", inner.message);
}

static int parse_choices(struct error *err)
{
    struct error inner = {0};
    if ((given.borders_name == NULL ||
         borders_parse(given.borders_name, &given.borders, &inner) == 0) &&
        (given.head == NULL || head_parse(given.head, &given.classifier.head, &inner) == 0) &&
        (given.smoothing_name == NULL ||
         smoothing_parse(given.smoothing_name, &given.smoothing, &inner) == 0))
        return 0;
    return error_set(err, ERROR_INVALID, "--%.300s", inner.message);
}

int cmd_classify(int argc, char **argv)
{
    enum command_action action = command_parse(&description, argc, argv, NULL);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    struct error err = {0};
    given.classifier = classifier_params_default;
    if (parse_pixel_size(&err) < 0 ||
        normalise_options_parse(&given.normalising, &given.normalise, &err) < 0 ||
        pictures_parse(&given.pictures, &err) < 0 || parse_choices(&err) < 0 ||
        embedding_parse_input_sizes(given.input_size, &given.input_sizes, &err) < 0 ||
        embedding_parse_encoding(given.encoding_name, &given.encoding, &err) < 0 ||
        embedding_parse_precision(given.precision_name, &given.precision, &err) < 0)
        return command_fail_usage(&err);
    return run_request(&given, &err) == 0 ? 0 : command_fail(&err);
}
