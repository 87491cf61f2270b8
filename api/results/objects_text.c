#include "api/results/objects_text.h"

#include <math.h>

enum { N_SIZES = 5, BINS_MAX = 20 };

static const char *const size_names[N_SIZES] = {"area", "equivalent_diameter", "perimeter",
                                                "feret_max", "feret_min"};

static void get_sizes(const struct shape_size *size, double out[N_SIZES])
{
    out[0] = size->area;
    out[1] = size->equivalent_diameter;
    out[2] = size->perimeter;
    out[3] = size->feret_max;
    out[4] = size->feret_min;
}

/* "_px", "_nm"; of an area "_px", "_nm2". */
static const char *unit_of(int index, bool is_nm)
{
    return !is_nm ? "_px" : index == 0 ? "_nm2" : "_nm";
}

/* ---- CSV ---- */

static void write_titles(struct body_writer *writer, bool is_nm)
{
    for (int i = 0; i < N_SIZES; i++) {
        body_write(writer, ",", 1);
        body_write_text(writer, size_names[i]);
        body_write_text(writer, unit_of(i, is_nm));
    }
}

void objects_csv_write_header(struct body_writer *writer)
{
    body_write_text(writer, "class,object,x,y,left,top,width,height,boundary,touches_border,"
                            "mean_probability,eccentricity");
    write_titles(writer, false);
    write_titles(writer, true);
    body_write(writer, "\n", 1);
}

static void write_fields(struct body_writer *writer, const struct shape_size *size)
{
    double values[N_SIZES];
    get_sizes(size, values);
    for (int i = 0; i < N_SIZES; i++) {
        body_write(writer, ",", 1);
        if (!isnan(values[i]))
            body_write_number(writer, values[i]);
    }
}

static void write_line(struct body_writer *writer, const char *class_name,
                       const struct object *object, uint32_t number)
{
    const struct shape *shape = &object->shape;
    const uint32_t box[] = {shape->left, shape->top, shape->right - shape->left,
                            shape->bottom - shape->top};
    body_write_csv(writer, class_name);
    body_write(writer, ",", 1);
    body_write_uint(writer, number);
    body_write(writer, ",", 1);
    body_write_number(writer, shape->centroid_x);
    body_write(writer, ",", 1);
    body_write_number(writer, shape->centroid_y);
    for (int i = 0; i < 4; i++) {
        body_write(writer, ",", 1);
        body_write_uint(writer, box[i]);
    }
    body_write(writer, ",", 1);
    body_write_text(writer, object_boundary_name(object->boundary));
    body_write_text(writer, object->touches_border ? ",true," : ",false,");
    body_write_fraction(writer, object->mean_probability);
    body_write(writer, ",", 1);
    body_write_fraction(writer, shape->eccentricity);
    write_fields(writer, &shape->px);
    write_fields(writer, &shape->nm);
    body_write(writer, "\n", 1);
}

void objects_csv_write(struct body_writer *writer, const char *class_name,
                       const struct objects *objects, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        write_line(writer, class_name, &objects->items[i], i + 1);
}

/* ---- JSON ---- */

static void write_members(struct body_writer *writer, const struct shape_size *size, bool is_nm)
{
    double values[N_SIZES];
    get_sizes(size, values);
    for (int i = 0; i < N_SIZES; i++) {
        body_write(writer, ",\"", 2);
        body_write_text(writer, size_names[i]);
        body_write_text(writer, unit_of(i, is_nm));
        body_write(writer, "\":", 2);
        if (isnan(values[i]))
            body_write_text(writer, "null");
        else
            body_write_number(writer, values[i]);
    }
}

static void write_object(struct body_writer *writer, const struct object *object, uint32_t number)
{
    static const char *const titles[] = {
        ",\"box\":{\"x\":", ",\"y\":", ",\"width\":", ",\"height\":"};
    const struct shape *shape = &object->shape;
    const uint32_t box[] = {shape->left, shape->top, shape->right - shape->left,
                            shape->bottom - shape->top};
    body_write_text(writer, number > 1 ? ",{\"object\":" : "{\"object\":");
    body_write_uint(writer, number);
    body_write_text(writer, ",\"centroid\":{\"x\":");
    body_write_number(writer, shape->centroid_x);
    body_write_text(writer, ",\"y\":");
    body_write_number(writer, shape->centroid_y);
    body_write(writer, "}", 1);
    for (int i = 0; i < 4; i++) {
        body_write_text(writer, titles[i]);
        body_write_uint(writer, box[i]);
    }
    body_write_text(writer, "},\"boundary\":\"");
    body_write_text(writer, object_boundary_name(object->boundary));
    body_write_text(writer, "\",\"touches_border\":");
    body_write_text(writer, object->touches_border ? "true" : "false");
    body_write_text(writer, ",\"mean_probability\":");
    body_write_fraction(writer, object->mean_probability);
    body_write_text(writer, ",\"eccentricity\":");
    body_write_fraction(writer, shape->eccentricity);
    write_members(writer, &shape->px, false);
    write_members(writer, &shape->nm, true);
    body_write(writer, "}", 1);
}

void objects_json_write(struct body_writer *writer, const struct objects *objects, uint32_t first,
                        uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        write_object(writer, &objects->items[i], i + 1);
}

/* ---- the summary ---- */

struct summary {
    uint32_t n_grey, n_border;
    bool is_nm;
    double area_px, area_nm2; /* means, as all that follow */
    double diameter_px, diameter_nm;
    double largest; /* diameter, in nm if it is_nm */
};

static struct summary summarise(const struct objects *objects)
{
    struct summary summary = {.is_nm = objects->n > 0};
    for (uint32_t i = 0; i < objects->n; i++) {
        const struct object *object = &objects->items[i];
        const struct shape_size *px = &object->shape.px, *nm = &object->shape.nm;
        summary.n_grey += object->boundary == OBJECT_GREY;
        summary.n_border += object->touches_border;
        summary.is_nm &= !isnan(nm->area);
        summary.area_px += px->area / objects->n;
        summary.area_nm2 += nm->area / objects->n;
        summary.diameter_px += px->equivalent_diameter / objects->n;
        summary.diameter_nm += nm->equivalent_diameter / objects->n;
    }
    for (uint32_t i = 0; i < objects->n; i++) {
        const struct shape *shape = &objects->items[i].shape;
        summary.largest = fmax(summary.largest, summary.is_nm ? shape->nm.equivalent_diameter
                                                              : shape->px.equivalent_diameter);
    }
    return summary;
}

/* The smallest of 1, 2, 5, 10, ... (and 0.5, 0.2, ...) with which BINS_MAX bins reach beyond
 * `largest`. Nothing is wider than 0; 1 then. */
static double find_width(double largest)
{
    static const double steps[] = {1.0, 2.0, 5.0, 10.0, 20.0};
    const double power = pow(10.0, floor(log10(largest / BINS_MAX)));
    /* Nor does what no stored pixel size should come to. */
    if (!isnormal(power))
        return 1.0;
    int i = 0;
    while (i < 4 && !(steps[i] * power * BINS_MAX > largest))
        i++;
    return steps[i] * power;
}

static json_t *histogram_json(const struct objects *objects, const struct summary *summary)
{
    uint32_t counts[BINS_MAX] = {0}, n_bins = 0;
    const double width = objects->n > 0 ? find_width(summary->largest) : 1.0;
    for (uint32_t i = 0; i < objects->n; i++) {
        const struct shape *shape = &objects->items[i].shape;
        const double bin =
            floor((summary->is_nm ? shape->nm.equivalent_diameter : shape->px.equivalent_diameter) /
                  width);
        const uint32_t index = bin < BINS_MAX ? (uint32_t)bin : BINS_MAX - 1;
        counts[index]++;
        n_bins = index + 1 > n_bins ? index + 1 : n_bins;
    }
    json_t *bins = json_array();
    for (uint32_t i = 0; i < n_bins; i++)
        json_array_append_new(bins, json_integer(counts[i]));
    return json_pack("{s:s, s:s, s:f, s:o}", "of", "equivalent_diameter", "unit",
                     summary->is_nm ? "nm" : "px", "bin_width", width, "counts", bins);
}

static json_t *mean_json(const struct objects *objects, double value)
{
    return objects->n == 0 || !isfinite(value) ? json_null() : json_real(value);
}

json_t *objects_json_summary(const struct objects *objects)
{
    const struct summary summary = summarise(objects);
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "n_objects", (json_int_t)objects->n,
        "n_grey", (json_int_t)summary.n_grey, "n_map", (json_int_t)(objects->n - summary.n_grey),
        "n_border", (json_int_t)summary.n_border, "mean_area_px",
        mean_json(objects, summary.area_px), "mean_area_nm2", mean_json(objects, summary.area_nm2),
        "mean_equivalent_diameter_px", mean_json(objects, summary.diameter_px),
        "mean_equivalent_diameter_nm", mean_json(objects, summary.diameter_nm), "histogram",
        histogram_json(objects, &summary));
}
