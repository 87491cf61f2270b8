/* The same readers take what clients send and what is stored: what was stored under wider limits
 * than today's, or edited, is no mask. */
#include "api/job/mask_document.h"

#include <stdlib.h>
#include <string.h>

enum { POINTS_MIN = 3, TEXT_FIELDS = 5 };

/* What the readers of one document share. */
struct reading {
    const struct mask_frame *frame;
    struct mask_document *document;
    bool is_out_of_memory;
};

/* Room for one more of `n` items of `size` bytes: doubled each time that n is a power of two. */
static bool grow(struct reading *reading, void **items, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return !reading->is_out_of_memory;
    void *larger = reallocarray(*items, n == 0 ? 1 : 2 * n, size);
    if (larger == NULL)
        reading->is_out_of_memory = true;
    else
        *items = larger;
    return larger != NULL;
}

/* ---- rectangles ---- */

static void check_end(const struct json_at *at, const char *key, uint32_t first, uint32_t length,
                      uint32_t side)
{
    const struct json_at member = json_at_key(at, key);
    if ((uint64_t)first + length > side)
        json_fault(&member, "must be at most %u (the image's %u pixels less %u), is %u",
                   side - first, side, first, length);
}

static bool read_rectangle(json_t *value, const struct json_at *at, const struct mask_frame *frame,
                           struct chip_rect *out)
{
    const size_t n_before = at->errors->n_items + at->errors->n_dropped;
    const struct json_field fields[] = {
        json_uint_field("x", JSON_REQUIRED, 0, frame->width - 1, &out->x),
        json_uint_field("y", JSON_REQUIRED, 0, frame->height - 1, &out->y),
        json_uint_field("width", JSON_REQUIRED, 1, frame->width, &out->width),
        json_uint_field("height", JSON_REQUIRED, 1, frame->height, &out->height),
    };
    json_read_object(value, at, fields, 4);
    if (at->errors->n_items + at->errors->n_dropped != n_before)
        return false;
    check_end(at, "width", out->x, out->width, frame->width);
    check_end(at, "height", out->y, out->height, frame->height);
    return at->errors->n_items + at->errors->n_dropped == n_before;
}

static void add_rectangle(json_t *value, const struct json_at *at, void *context)
{
    struct reading *reading = context;
    struct mask_document *document = reading->document;
    struct chip_rect rect = {0};
    void *items = document->rectangles;
    if (!read_rectangle(value, at, reading->frame, &rect) ||
        !grow(reading, &items, document->n_rectangles, sizeof(rect)))
        return;
    document->rectangles = items;
    document->rectangles[document->n_rectangles++] = rect;
}

/* ---- polygons ---- */

static void add_point(struct reading *reading, json_t *value, const struct json_at *at)
{
    struct mask_document *document = reading->document;
    const struct mask_frame *frame = reading->frame;
    struct mask_point point = {0};
    void *items = document->points;
    if (!json_is_array(value) || json_array_size(value) != 2) {
        json_fault(at, "must be a point [x, y] in pixels");
        return;
    }
    const struct json_at x = json_at_index(at, 0), y = json_at_index(at, 1);
    if (!json_read_number(json_array_get(value, 0), &x, 0, frame->width, &point.x) ||
        !json_read_number(json_array_get(value, 1), &y, 0, frame->height, &point.y) ||
        !grow(reading, &items, document->n_points, sizeof(point)))
        return;
    document->points = items;
    document->points[document->n_points++] = point;
}

static void add_polygon(json_t *value, const struct json_at *at, void *context)
{
    struct reading *reading = context;
    struct mask_document *document = reading->document;
    const size_t n = json_array_size(value), n_before = document->n_points;
    void *items = document->polygons;
    if (!json_is_array(value) || n < POINTS_MIN || n > MASK_VERTICES_MAX) {
        json_fault(at, "must be a list of %d to %d points, has %zu", POINTS_MIN, MASK_VERTICES_MAX,
                   n);
        return;
    }
    if (n_before + n > MASK_VERTICES_MAX) {
        json_fault(at, "has %zu points, after %zu of the polygons before it: over the limit of %d",
                   n, n_before, MASK_VERTICES_MAX);
        return;
    }
    for (size_t i = 0; i < n && !reading->is_out_of_memory; i++) {
        const struct json_at element = json_at_index(at, i);
        add_point(reading, json_array_get(value, i), &element);
    }
    if (!grow(reading, &items, document->n_polygons, sizeof(*document->polygons)))
        return;
    document->polygons = items;
    document->polygons[document->n_polygons++] = document->n_points - n_before;
}

/* ---- proposals ---- */

static void set_bit(const struct reading *reading, json_t *value, const struct json_at *at,
                    uint32_t *bits, uint32_t other_bits)
{
    const uint32_t n = reading->frame->n_proposals;
    uint32_t index = 0;
    if (n == 0)
        json_fault(at, "names a proposal, and there are none");
    else if (json_read_uint(value, at, 0, n - 1, &index)) {
        if ((other_bits >> index & 1) != 0)
            json_fault(at, "proposal %u is both accepted and refused", index);
        *bits |= UINT32_C(1) << index;
    }
}

static void accept(json_t *value, const struct json_at *at, void *context)
{
    const struct reading *reading = context;
    set_bit(reading, value, at, &reading->document->accepted, 0);
}

static void refuse(json_t *value, const struct json_at *at, void *context)
{
    const struct reading *reading = context;
    set_bit(reading, value, at, &reading->document->refused, reading->document->accepted);
}

/* ---- whole documents ---- */

static void read_pixels(json_t *value, const struct json_at *at, void *context)
{
    uint64_t *out = context;
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        *out = (uint64_t)json_integer_value(value);
    else
        json_fault(at, "must be a number of pixels");
}

/* The fields of the first four members. */
static int read_members(json_t *value, const struct json_at *at, const struct mask_frame *frame,
                        const struct json_field *more, struct mask_document *out, struct error *err)
{
    struct mask_document document = {0};
    struct reading reading = {.frame = frame, .document = &document};
    struct json_field fields[TEXT_FIELDS] = {
        json_array_field("rectangles", JSON_OPTIONAL, 0, MASK_SHAPES_MAX, add_rectangle, &reading),
        json_array_field("polygons", JSON_OPTIONAL, 0, MASK_SHAPES_MAX, add_polygon, &reading),
        json_array_field("accepted", JSON_OPTIONAL, 0, BARS_MAX, accept, &reading),
        json_array_field("refused", JSON_OPTIONAL, 0, BARS_MAX, refuse, &reading),
        *more,
    };
    json_read_object(value, at, fields, TEXT_FIELDS);
    if (document.n_rectangles + document.n_polygons > MASK_SHAPES_MAX)
        json_fault(at, "has %zu rectangles and polygons, over the limit of %d",
                   document.n_rectangles + document.n_polygons, MASK_SHAPES_MAX);
    if (reading.is_out_of_memory) {
        mask_document_clear(&document);
        return error_set_nomem(err, "a mask");
    }
    *out = document;
    return 0;
}

/* A picture is sent by itself; here it can only be taken away. */
static void read_picture(json_t *value, const struct json_at *at, void *context)
{
    bool *is_taken_away = context;
    if (json_is_null(value))
        *is_taken_away = true;
    else
        json_fault(at, "can only be null, which takes the picture away: PUT .../mask.png sets it");
}

int mask_document_read(json_t *value, const struct json_at *at, const struct mask_frame *frame,
                       struct mask_document *out, bool *no_picture, struct error *err)
{
    const struct json_field picture =
        json_value_field("picture", JSON_OPTIONAL, read_picture, no_picture);
    return read_members(value, at, frame, &picture, out, err);
}

void mask_document_clear(struct mask_document *document)
{
    free(document->rectangles);
    free(document->points);
    free(document->polygons);
    *document = (struct mask_document){0};
}

static json_t *indices_json(uint32_t bits)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < BARS_MAX; i++) {
        if ((bits >> i & 1) != 0)
            json_array_append_new(list, json_integer(i));
    }
    return list;
}

json_t *mask_document_json(const struct mask_document *document)
{
    json_t *rectangles = json_array(), *polygons = json_array();
    const struct mask_point *point = document->points;
    for (size_t i = 0; i < document->n_rectangles; i++) {
        const struct chip_rect *rect = &document->rectangles[i];
        json_array_append_new(rectangles,
                              json_pack("{s:I, s:I, s:I, s:I}", "x", (json_int_t)rect->x, "y",
                                        (json_int_t)rect->y, "width", (json_int_t)rect->width,
                                        "height", (json_int_t)rect->height));
    }
    for (size_t i = 0; i < document->n_polygons; i++) {
        json_t *points = json_array();
        for (size_t k = 0; k < document->polygons[i]; k++, point++)
            json_array_append_new(points, json_pack("[f, f]", point->x, point->y));
        json_array_append_new(polygons, points);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "rectangles", rectangles, "polygons", polygons,
                     "accepted", indices_json(document->accepted), "refused",
                     indices_json(document->refused));
}

/* Takes `json`; NULL when that is. */
static char *text_of(json_t *json)
{
    /* 17 digits bring every double back exactly. */
    char *text = json == NULL
                     ? NULL
                     : json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(json);
    return text;
}

char *mask_document_to_text(const struct mask_document *document)
{
    json_t *json = mask_document_json(document);
    if (json != NULL &&
        json_object_set_new(json, "picture_pixels",
                            json_integer((json_int_t)document->picture_pixels)) != 0) {
        json_decref(json);
        json = NULL;
    }
    return text_of(json);
}

/* The end of reading a stored text: what its faults come to. */
static int end_text(struct field_errors *errors, const char *what, int rc, struct error *err)
{
    if (rc == 0 && errors->n_items > 0)
        rc = error_set(err, ERROR_CORRUPT, "%s: %s %s", what, errors->items[0].name,
                       errors->items[0].detail);
    else if (rc == 0 && errors->n_dropped > 0)
        rc = error_set_nomem(err, what);
    field_errors_clear(errors);
    return rc;
}

static int parse_text(const char *text, const char *what, json_t **out, struct error *err)
{
    struct error cause = {0};
    int rc = json_parse(text, strlen(text), out, &cause);
    if (rc == ERROR_NOMEM)
        return error_set_nomem(err, what);
    return rc != 0 ? error_set(err, ERROR_CORRUPT, "%s: %s", what, cause.message) : 0;
}

int mask_document_from_text(const char *text, const struct mask_frame *frame,
                            struct mask_document *out, struct error *err)
{
    static const char what[] = "a stored mask";
    struct mask_document document = {0};
    struct field_errors errors = {0};
    const struct json_at at = {.errors = &errors};
    uint64_t n_pixels = 0;
    const struct json_field pixels =
        json_value_field("picture_pixels", JSON_OPTIONAL, read_pixels, &n_pixels);
    json_t *json = NULL;
    if (text == NULL) {
        *out = document;
        return 0;
    }
    int rc = parse_text(text, what, &json, err);
    if (rc == 0)
        rc = read_members(json, &at, frame, &pixels, &document, err);
    rc = end_text(&errors, what, rc, err);
    json_decref(json);
    document.picture_pixels = n_pixels;
    if (rc == 0)
        *out = document;
    else
        mask_document_clear(&document);
    return rc;
}

/* ---- looks ---- */

char *image_look_to_text(const struct image_look *look)
{
    json_t *bars = json_array();
    for (uint32_t i = 0; i < look->n_bars; i++) {
        const struct bar *bar = &look->bars[i];
        json_array_append_new(
            bars, json_pack("{s:s, s:I, s:I, s:I, s:I}", "kind", bar_kind_name(bar->kind), "x",
                            (json_int_t)bar->rect.x, "y", (json_int_t)bar->rect.y, "width",
                            (json_int_t)bar->rect.width, "height", (json_int_t)bar->rect.height));
    }
    return text_of(
        json_pack("{s:o, s:I}", "found", bars, "n_missing", (json_int_t)look->n_missing));
}

struct look_reading {
    struct mask_frame frame;
    struct image_look *look;
};

static void read_bar(json_t *value, const struct json_at *at, void *context)
{
    struct look_reading *reading = context;
    struct image_look *look = reading->look;
    struct bar *bar = &look->bars[look->n_bars];
    const char *kind = "";
    const struct json_field fields[] = {
        json_string_field("kind", JSON_REQUIRED, 1, 20, &kind),
        json_uint_field("x", JSON_REQUIRED, 0, reading->frame.width - 1, &bar->rect.x),
        json_uint_field("y", JSON_REQUIRED, 0, reading->frame.height - 1, &bar->rect.y),
        json_uint_field("width", JSON_REQUIRED, 1, reading->frame.width, &bar->rect.width),
        json_uint_field("height", JSON_REQUIRED, 1, reading->frame.height, &bar->rect.height),
    };
    json_read_object(value, at, fields, 5);
    bar->kind = strcmp(kind, bar_kind_name(BAR_DATA)) == 0 ? BAR_DATA : BAR_BORDER;
    look->n_bars++;
}

int image_look_from_text(const char *text, uint32_t width, uint32_t height, struct image_look *out,
                         struct error *err)
{
    static const char what[] = "what was found in an image";
    struct image_look look = {0};
    struct look_reading reading = {{.width = width, .height = height}, &look};
    struct field_errors errors = {0};
    const struct json_at at = {.errors = &errors};
    json_t *json = NULL;
    const struct json_field fields[] = {
        json_array_field("found", JSON_REQUIRED, 0, BARS_MAX, read_bar, &reading),
        json_value_field("n_missing", JSON_REQUIRED, read_pixels, &look.n_missing),
    };
    int rc = text != NULL ? parse_text(text, what, &json, err) : 0;
    if (rc == 0 && json != NULL)
        json_read_object(json, &at, fields, 2);
    rc = end_text(&errors, what, rc, err);
    json_decref(json);
    if (rc == 0)
        *out = look;
    return rc;
}
