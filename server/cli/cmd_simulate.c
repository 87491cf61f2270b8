/* chipshot simulate: draws a synthetic scene: image.png (16-bit), truth.csv, truth.png,
 * support.json.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "engine/image/png_write.h"
#include "engine/simulate/scene.h"
#include "server/cli/command.h"
#include "server/cli/files.h"

static int write_image(const struct scene *scene, const char *directory, struct error *err)
{
    struct png_bytes png = {0};
    int rc = png_write_grey16(scene->pixels, scene->width, scene->height, scene->pixel_size_nm,
                              &png, err);
    if (rc == 0)
        rc = file_write(directory, "image.png", png.data, png.size, err);
    png_bytes_clear(&png);
    return rc;
}

static int write_truth(const struct scene *scene, const char *directory, struct error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return error_set_nomem(err, "truth.csv");
    fputs("row,column,x,y,label\n", stream);
    for (uint32_t row = 0; row < scene->rows; row++) {
        for (uint32_t column = 0; column < scene->columns; column++) {
            uint16_t label = scene->truth[(size_t)row * scene->columns + column];
            fprintf(stream, "%u,%u,%u,%u,%s\n", row, column, column * scene->chip,
                    row * scene->chip, label == SCENE_MIXED ? "" : scene->class_names[label]);
        }
    }
    int rc = fclose(stream) == 0 ? 0 : error_set_nomem(err, "truth.csv");
    if (rc == 0)
        rc = file_write(directory, "truth.csv", text, size, err);
    free(text);
    return rc;
}

/* Of each pixel: grey value k is class k, in the order of support.json. */
static int write_pixel_truth(const struct scene *scene, const char *directory, struct error *err)
{
    struct png_bytes png = {0};
    int rc = png_write_grey8(scene->pixel_truth, scene->width, scene->height, &png, err);
    if (rc == 0)
        rc = file_write(directory, "truth.png", png.data, png.size, err);
    png_bytes_clear(&png);
    return rc;
}

static json_t *class_to_json(const struct scene *scene, uint32_t class_index)
{
    json_t *examples = json_array();
    for (uint32_t i = 0; i < scene->n_examples; i++) {
        const struct scene_example *example = &scene->examples[i];
        if (example->class_index == class_index)
            json_array_append_new(
                examples, json_pack("{s:i, s:i}", "x", (int)example->x, "y", (int)example->y));
    }
    return json_pack("{s:s, s:o}", "name", scene->class_names[class_index], "examples", examples);
}

static int write_support(const struct scene *scene, const char *directory, struct error *err)
{
    json_t *classes = json_array();
    for (uint32_t i = 0; i < scene->n_classes; i++)
        json_array_append_new(classes, class_to_json(scene, i));
    json_t *root = json_pack("{s:s, s:{s:i, s:i}, s:o}", "name", scene->name, "chip", "width",
                             (int)scene->chip, "height", (int)scene->chip, "classes", classes);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(1)) : NULL;
    int rc = text != NULL ? file_write(directory, "support.json", text, strlen(text), err)
                          : error_set_nomem(err, "support.json");
    free(text);
    json_decref(root);
    return rc;
}

/* `text` is the option's argument or NULL. */
static int read_dose(const char *text, double *out, struct error *err)
{
    if (text == NULL)
        return 0;
    char *end = NULL;
    double dose = strtod(text, &end);
    if (end == text || *end != '\0' || !(dose > 0.0))
        return error_set(err, ERROR_INVALID, "--dose: '%.100s' is not a positive number", text);
    *out = dose;
    return 0;
}

static int simulate(const char *name, uint64_t seed, const char *dose, const char *directory,
                    struct error *err)
{
    struct scene scene = {0};
    struct scene_params params = {.seed = seed};
    int rc = read_dose(dose, &params.dose, err);
    if (rc == 0)
        rc = scene_draw(name, &params, &scene, err);
    if (rc == 0)
        rc = file_make_directory(directory, err);
    if (rc == 0)
        rc = write_image(&scene, directory, err);
    if (rc == 0)
        rc = write_truth(&scene, directory, err);
    if (rc == 0)
        rc = write_pixel_truth(&scene, directory, err);
    if (rc == 0)
        rc = write_support(&scene, directory, err);
    scene_clear(&scene);
    return rc;
}

int cmd_simulate(int argc, char **argv)
{
    const char *scene = NULL;
    const char *directory = NULL;
    const char *dose = NULL;
    uint64_t seed = 0;
    const struct command_option options[] = {
        {.name = "scene",
         .argument = "NAME",
         .value.text = &scene,
         .required = true,
         .help = "which scene (an unknown name lists them)"},
        {.name = "out",
         .argument = "DIR",
         .value.text = &directory,
         .required = true,
         .help = "where to write; created when absent"},
        {.name = "seed",
         .argument = "N",
         .type = COMMAND_INTEGER,
         .value.integer = &seed,
         .max = UINT64_MAX,
         .help = "of the noise and defects (default 0)"},
        {.name = "dose",
         .argument = "ELECTRONS",
         .value.text = &dose,
         .help = "detected a pixel of crystal, 0.001 to 100000 (default: the scene's, 20)"},
    };
    const struct command command = {
        .usage = "simulate --scene NAME --out DIR [--seed N] [--dose ELECTRONS]",
        .summary =
            "Draws a synthetic STEM image with known truth: image.png, truth.csv (an empty "
            "label\nmarks a chip that holds a boundary), truth.png (each pixel's class by its "
            "index) and\nsupport.json with five examples a class.",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
    };
    enum command_action action = command_parse(&command, argc, argv, NULL);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    struct error err = {0};
    return simulate(scene, seed, dose, directory, &err) == 0 ? 0 : command_fail(&err);
}
