/* Order: the recipe lays out the specimen; truth and examples are read off its geometry, before and
 * without any image; then the image is taken. Each step draws from a sequence of its own, so that a
 * change of one moves nothing in the others.
 */
#include "engine/simulate/scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/random.h"
#include "engine/simulate/scene_specimens.h"

enum { EXAMPLES_PER_CLASS = 5 };
static const double PURE_SHARE = 0.95; /* of a chip's area in one region, for a truth */

static const struct scene_recipe *const recipes[] = {&scene_perovskite_on_diamond,
                                                     &scene_ordered_oxide};
enum { N_RECIPES = sizeof(recipes) / sizeof(*recipes) };
static const char *const names[N_RECIPES + 1] = {"perovskite-on-diamond", "ordered-oxide", NULL};

/* Independent sequences of one seed: changing the detector does not move the domains. */
enum stream { STREAM_SPECIMEN, STREAM_IMAGE, STREAM_EXAMPLES };

const char *const *scene_names(void)
{
    return names;
}

static const struct scene_recipe *find_recipe(const char *name)
{
    for (int i = 0; i < N_RECIPES; i++) {
        if (strcmp(recipes[i]->name, name) == 0)
            return recipes[i];
    }
    return NULL;
}

const char *scene_description(const char *name)
{
    const struct scene_recipe *recipe = find_recipe(name);
    return recipe == NULL ? NULL : recipe->description;
}

/* Area in pixels of each material in one chip. */
static void measure_chip(const struct specimen *specimen, uint32_t chip, uint32_t row,
                         uint32_t column, uint32_t areas[SPECIMEN_MATERIALS_MAX])
{
    for (uint32_t m = 0; m < SPECIMEN_MATERIALS_MAX; m++)
        areas[m] = 0;
    for (uint32_t y = row * chip; y < (row + 1) * chip; y++) {
        for (uint32_t x = column * chip; x < (column + 1) * chip; x++)
            areas[specimen->regions[(size_t)y * specimen->width + x]]++;
    }
}

/* Fills in the truth; `whole` (rows x columns) gets 1 for chips that lie in one region only. Two
 * domains of one class are two regions: a person would not call the boundary between them either.
 */
static void find_truth(struct scene *scene, const struct specimen *specimen, uint8_t *whole)
{
    uint32_t areas[SPECIMEN_MATERIALS_MAX];
    uint32_t chip_area = scene->chip * scene->chip;
    for (uint32_t i = 0; i < scene->rows * scene->columns; i++) {
        measure_chip(specimen, scene->chip, i / scene->columns, i % scene->columns, areas);
        scene->truth[i] = SCENE_MIXED;
        for (uint32_t m = 0; m < specimen->n_materials; m++) {
            if (areas[m] >= PURE_SHARE * chip_area)
                scene->truth[i] = (uint16_t)specimen->materials[m].class_index;
            if (areas[m] == chip_area)
                whole[i] = 1;
        }
    }
}

/* Five of a class's whole chips, one from each fifth of them in reading order, as a user who wants
 * to cover the region would click. */
static int draw_examples(struct scene *scene, const uint8_t *whole, uint32_t class_index,
                         uint32_t *chips, struct random *random, struct error *err)
{
    uint32_t n_chips = 0;
    for (uint32_t i = 0; i < scene->rows * scene->columns; i++) {
        if (whole[i] && scene->truth[i] == class_index)
            chips[n_chips++] = i;
    }
    if (n_chips < EXAMPLES_PER_CLASS)
        return error_set(err, ERROR_INVALID, "scene %s: class %s has %u whole chips, %d are needed",
                         scene->name, scene->class_names[class_index], n_chips, EXAMPLES_PER_CLASS);
    for (uint32_t e = 0; e < EXAMPLES_PER_CLASS; e++) {
        uint32_t begin = n_chips * e / EXAMPLES_PER_CLASS;
        uint32_t end = n_chips * (e + 1) / EXAMPLES_PER_CLASS;
        uint32_t chosen = chips[begin + random_below(random, end - begin)];
        scene->examples[scene->n_examples++] =
            (struct scene_example){.class_index = class_index,
                                   .x = chosen % scene->columns * scene->chip,
                                   .y = chosen / scene->columns * scene->chip};
    }
    return 0;
}

/* Truth and examples, from the geometry alone. */
static int label_scene(struct scene *scene, const struct specimen *specimen, uint64_t seed,
                       struct error *err)
{
    uint32_t n_chips = scene->rows * scene->columns;
    uint8_t *whole = calloc(n_chips, sizeof(*whole));
    uint32_t *chips = calloc(n_chips, sizeof(*chips));
    int rc = 0;
    if (whole == NULL || chips == NULL) {
        rc = error_set_nomem(err, "a scene's truth");
        goto out;
    }
    for (size_t i = 0; i < (size_t)scene->width * scene->height; i++)
        scene->pixel_truth[i] = (uint8_t)specimen->materials[specimen->regions[i]].class_index;
    find_truth(scene, specimen, whole);
    struct random random;
    random_seed(&random, seed, STREAM_EXAMPLES);
    for (uint32_t c = 0; c < scene->n_classes && rc == 0; c++)
        rc = draw_examples(scene, whole, c, chips, &random, err);
out:
    free(whole);
    free(chips);
    return rc;
}

static int scene_allocate(struct scene *scene, const struct scene_recipe *recipe, struct error *err)
{
    *scene = (struct scene){
        .name = recipe->name,
        .width = recipe->width,
        .height = recipe->height,
        .pixel_size_nm = recipe->pixel_size,
        .chip = recipe->chip,
        .rows = recipe->height / recipe->chip,
        .columns = recipe->width / recipe->chip,
        .n_classes = recipe->n_classes,
        .class_names = recipe->class_names,
    };
    scene->pixels = calloc((size_t)scene->width * scene->height, sizeof(*scene->pixels));
    scene->truth = calloc((size_t)scene->rows * scene->columns, sizeof(*scene->truth));
    scene->pixel_truth = calloc((size_t)scene->width * scene->height, sizeof(*scene->pixel_truth));
    scene->examples =
        calloc((size_t)scene->n_classes * EXAMPLES_PER_CLASS, sizeof(*scene->examples));
    if (scene->pixels == NULL || scene->truth == NULL || scene->pixel_truth == NULL ||
        scene->examples == NULL)
        return error_set_nomem(err, "a scene");
    return 0;
}

/* The recipe's microscope at a dose of the caller's. */
static int set_dose(struct imaging_params *imaging, double dose, struct error *err)
{
    if (dose == 0.0)
        return 0;
    /* Written so that NaN fails too. */
    if (!(dose >= SCENE_DOSE_MIN && dose <= SCENE_DOSE_MAX))
        return error_set(err, ERROR_INVALID,
                         "dose: %g electrons a pixel, from %g to %g are allowed", dose,
                         SCENE_DOSE_MIN, SCENE_DOSE_MAX);
    imaging->gain *= fmin(1.0, imaging->electrons / dose);
    imaging->electrons = dose;
    return 0;
}

int scene_draw(const char *name, const struct scene_params *params, struct scene *out,
               struct error *err)
{
    const struct scene_recipe *recipe = find_recipe(name);
    if (recipe == NULL)
        return error_set(err, ERROR_NOT_FOUND,
                         "scene: no \"%.40s\"; there are \"perovskite-on-diamond\" and "
                         "\"ordered-oxide\"",
                         name);
    struct imaging_params imaging = recipe->imaging;
    int rc = set_dose(&imaging, params->dose, err);
    if (rc < 0)
        return rc;
    struct specimen specimen = {
        .width = recipe->width, .height = recipe->height, .pixel_size = recipe->pixel_size};
    struct scene scene;
    struct random random;
    rc = scene_allocate(&scene, recipe, err);
    if (rc < 0)
        goto out;
    random_seed(&random, params->seed, STREAM_SPECIMEN);
    rc = recipe->build(&specimen, &random, err);
    if (rc < 0)
        goto out;
    rc = label_scene(&scene, &specimen, params->seed, err);
    if (rc < 0)
        goto out;
    random_seed(&random, params->seed, STREAM_IMAGE);
    rc = imaging_record(&specimen, &imaging, &random, scene.pixels, err);
    if (rc < 0)
        goto out;
    *out = scene;
    scene = (struct scene){0};
out:
    specimen_clear(&specimen);
    scene_clear(&scene);
    return rc;
}

void scene_clear(struct scene *scene)
{
    free(scene->pixels);
    free(scene->truth);
    free(scene->pixel_truth);
    free(scene->examples);
    memset(scene, 0, sizeof(*scene));
}
