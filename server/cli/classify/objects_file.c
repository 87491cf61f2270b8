#include "server/cli/classify/objects_file.h"

#include "api/results/objects_text.h"
#include "engine/fewshot/map/objects.h"
#include "engine/image/pyramid.h"
#include "server/cli/files.h"

/* As the service's pictures have them. */
static int read_grey(void *context, const struct chip_rect *window, uint8_t *out, struct error *err)
{
    const struct image *image = context;
    (void)err;
    for (uint32_t y = 0; y < window->height; y++)
        pyramid_quantise(image->pixels + (size_t)(window->y + y) * image->info.width + window->x,
                         window->width, out + (size_t)y * window->width);
    return 0;
}

static int write_class(struct body_writer *writer, const struct objects_source *source,
                       uint32_t class_index, const char *name, json_t *class, struct error *err)
{
    const struct objects_filter all = {0};
    struct objects objects = {0};
    int rc = objects_find(source, class_index, &all, &objects, err);
    if (rc < 0)
        return rc;
    objects_csv_write(writer, name, &objects, 0, objects.n);
    rc = json_object_set_new(class, "objects", objects_json_summary(&objects));
    objects_clear(&objects);
    return rc < 0 ? error_set_nomem(err, "the objects") : 0;
}

int objects_file_write(const char *directory, const struct fine_source *map,
                       const struct image *image, const char *const *names, json_t *classes,
                       struct error *err)
{
    const struct image_calibration *calibration = &image->info.calibration;
    struct objects_source source = {
        .map = map, .read_grey = read_grey, .context = (void *)(uintptr_t)image};
    if (calibration->unit == CALIBRATION_NM) {
        source.pixel_width_nm = calibration->x;
        source.pixel_height_nm = calibration->y;
    }
    struct body_writer writer = {0};
    int rc = 0;
    objects_csv_write_header(&writer);
    for (uint32_t i = 0; i < map->n_classes && rc == 0; i++)
        rc = write_class(&writer, &source, i, names[i], json_array_get(classes, i), err);
    if (rc == 0)
        rc = body_writer_check(&writer, err);
    if (rc == 0)
        rc = file_write(directory, "objects.csv", writer.buffer, writer.size, err);
    body_writer_clear(&writer);
    return rc;
}
