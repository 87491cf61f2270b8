#include "tests/api/rig.h"

#include "engine/image/image.h"

static void finished(struct rig *rig, char id[DB_ID_SIZE])
{
    rig_fill(rig);
    rig_add_job(rig, id);
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
}

static void the_list_has_grid_and_statistics(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", id), 200);
    assert_string_equal(rig_text(rig, "/state"), "succeeded");
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
    assert_true(json_is_null(rig_at(rig, "/next")));
    assert_string_equal(rig_text(rig, "/items/0/image_id"), rig->image);
    assert_int_equal((int)rig_number(rig, "/items/0/grid/rows"), 3);
    assert_int_equal((int)rig_number(rig, "/items/0/grid/columns"), 5);
    assert_int_equal((int)rig_number(rig, "/items/0/grid/stride/x"), 8);
    assert_string_equal(rig_text(rig, "/items/0/grid/edge"), "drop");
    assert_string_equal(rig_text(rig, "/items/0/encoding"), "chips");
    assert_int_equal((int)rig_number(rig, "/items/0/map/rows"), 3);
    assert_int_equal((int)rig_number(rig, "/items/0/map/columns"), 5);
    assert_int_equal((int)rig_number(rig, "/items/0/map/cell/width"), 8);
    assert_int_equal((int)rig_number(rig, "/items/0/map/end/y"), 24);
    assert_string_equal(rig_text(rig, "/items/0/classes/0/name"), "film");
    assert_int_equal((int)rig_number(rig, "/items/0/classes/0/n_chips"), 8);
    /* 8 chips of 8 x 8 pixels of 0.5 nm. The rig stores no areas, as it was before there were
     * cells. */
    assert_true(rig_number(rig, "/items/0/classes/0/area_nm2") == 128);
    assert_true(rig_number(rig, "/items/0/classes/1/mean_region_area_nm2") == 112);
    assert_true(rig_number(rig, "/items/0/classes/0/area_pixels") == 8 * 64);
    assert_true(rig_number(rig, "/items/0/covered/n_pixels") == 15 * 64);
    assert_true(rig_number(rig, "/items/0/covered/fraction") == 0.8);
    assert_true(rig_number(rig, "/items/0/covered/area_nm2") == 240);
    char link[300];
    snprintf(link, sizeof(link), "/v1/jobs/%s/results/%s/probability/a%%2Fb%%2C%%20%%22c%%22.png",
             id, rig->image);
    assert_string_equal(rig_text(rig, "/items/0/classes/1/links/probability"), link);
    char *etag = strdup(rig_got(rig, "ETag"));
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", id), 304);
    /* A corrected pixel size makes other areas of it. */
    assert_int_equal(rig_send(rig, "PATCH", "{\"pixel_size\":{\"x\":1,\"y\":2,\"unit\":\"nm\"}}",
                              "/v1/images/%s", rig->image),
                     200);
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", id), 200);
    assert_true(rig_number(rig, "/items/0/classes/0/area_nm2") == 1024);
    assert_true(rig_number(rig, "/items/0/pixel_size/y") == 2);
    assert_string_equal(rig_text(rig, "/items/0/pixel_size/source"), "user");
    free(etag);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results?cursor=%s", id,
             "aW1nXzAxSkFCQ0RFRkdISktNTlBRUlNUVldYWVow");
    rig_assert_fault(rig, 1, "cursor", "names no result");
}

static void results_of_a_running_job_are_final_one_by_one(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    rig_add_job(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", id), 200);
    assert_string_equal(rig_text(rig, "/state"), "queued");
    assert_int_equal((int)rig_number(rig, "/n_results"), 0);
    assert_int_equal((int)rig_number(rig, "/n_images"), 1);
    assert_string_equal(rig_got(rig, "ETag"), "");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, rig->image);
    rig_assert_problem(rig, 404, "not-found");
    assert_non_null(strstr(rig_text(rig, "/detail"), "(queued) has no result"));
    rig_finish_job(rig, DB_JOB_RUNNING);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", id);
    assert_string_equal(rig_text(rig, "/state"), "running");
    assert_int_equal((int)rig_number(rig, "/n_results"), 1);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, rig->image), 200);
}

static void json_has_every_chip(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, rig->image), 200);
    assert_string_equal(rig_got(rig, "Vary"), "Accept");
    assert_int_equal(json_array_size(rig_at(rig, "/chips")), 15);
    assert_int_equal((int)rig_number(rig, "/chips/8/row"), 1);
    assert_int_equal((int)rig_number(rig, "/chips/8/column"), 3);
    assert_int_equal((int)rig_number(rig, "/chips/8/x"), 24);
    assert_int_equal((int)rig_number(rig, "/chips/8/y"), 8);
    assert_string_equal(rig_text(rig, "/chips/8/label"), "film");
    assert_string_equal(rig_text(rig, "/chips/9/label"), "a/b, \"c\"");
    assert_true(rig_number(rig, "/chips/9/probability") == 0.75);
    assert_true(rig_number(rig, "/chips/9/margin") == 0.5);
    assert_null(json_object_get(rig_at(rig, "/chips/9"), "raw_label"));
    assert_true(rig_number(rig, "/temperature") == 0.5);
}

static void csv_comes_by_suffix_and_by_accept(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    static const char head[] = "row,column,x,y,label,probability,margin,probability of film,"
                               "\"probability of a/b, \"\"c\"\"\"\n"
                               "0,0,0,0,film,0.750000,0.500000,0.750000,0.250000\n"
                               "0,1,8,0,\"a/b, \"\"c\"\"\",0.750000,0.500000,0.250000,0.750000\n";
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s.csv", id, rig->image), 200);
    assert_string_equal(rig->response.content_type, "text/csv; charset=utf-8; header=present");
    assert_memory_equal(rig->response.body, head, sizeof(head) - 1);
    assert_string_equal(rig_got(rig, "Content-Disposition"),
                        "attachment; filename=\"a.png.csv\"; filename*=UTF-8''a.png.csv");
    size_t n_lines = 0;
    for (size_t i = 0; i < rig->response.body_size; i++)
        n_lines += rig->response.body[i] == '\n';
    assert_int_equal(n_lines, 16);
    char *etag = strdup(rig_got(rig, "ETag"));
    rig_header(rig, "Accept", "text/csv");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, rig->image), 200);
    assert_memory_equal(rig->response.body, head, sizeof(head) - 1);
    /* The tag of one representation is not that of the other. */
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, rig->image), 200);
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s.csv", id, rig->image), 304);
    free(etag);
    rig_header(rig, "Accept", "application/json");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s.csv", id, rig->image);
    rig_assert_problem(rig, 406, "not-acceptable");
}

enum { LARGE_WIDTH = 407, LARGE_HEIGHT = 307, LARGE_COLUMNS = 400, LARGE_ROWS = 300 };

/* The next piece of the answer's stream; NULL at its end. */
static const char *next_piece(struct rig *rig, size_t *n)
{
    static char piece[50000];
    const struct api_stream *stream = &rig->response.stream;
    assert_int_equal(stream->next(stream->context, piece, sizeof(piece), n, &rig->err), 0);
    return *n > 0 ? piece : NULL;
}

/* The whole of a stream; the caller frees it. */
static char *read_stream(struct rig *rig, size_t *size)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, size);
    const char *piece;
    size_t n;
    assert_non_null(file);
    assert_non_null(rig->response.stream.next);
    while ((piece = next_piece(rig, &n)) != NULL)
        assert_int_equal(fwrite(piece, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void a_large_csv_is_a_stream_of_every_chip(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE], image[DB_ID_SIZE], *wanted = NULL;
    size_t size = 0, wanted_size = 0;
    rig_fill(rig);
    rig_add_large_result(rig, LARGE_WIDTH, LARGE_HEIGHT, id, image);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s.csv", id, image), 200);
    assert_string_equal(rig->response.content_type, "text/csv; charset=utf-8; header=present");
    assert_non_null(strstr(rig_got(rig, "Cache-Control"), "immutable"));
    assert_non_null(strstr(rig_got(rig, "Content-Disposition"), "large.png.csv"));
    char *etag = strdup(rig_got(rig, "ETag"));
    char *text = read_stream(rig, &size);
    FILE *file = open_memstream(&wanted, &wanted_size);
    fputs("row,column,x,y,label,probability,margin,probability of film,"
          "\"probability of a/b, \"\"c\"\"\"\n",
          file);
    for (int i = 0; i < LARGE_ROWS * LARGE_COLUMNS; i++) {
        int row = i / LARGE_COLUMNS, column = i % LARGE_COLUMNS;
        fprintf(file, "%d,%d,%d,%d,%s,0.750000,0.500000,%s\n", row, column, column, row,
                i % 2 == 0 ? "film" : "\"a/b, \"\"c\"\"\"",
                i % 2 == 0 ? "0.750000,0.250000" : "0.250000,0.750000");
    }
    assert_int_equal(fclose(file), 0);
    assert_true(size > 4 << 20);
    assert_int_equal(size, wanted_size);
    assert_memory_equal(text, wanted, size);
    free(text);
    free(wanted);
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s.csv", id, image), 304);
    assert_null(rig->response.stream.next);
    free(etag);
}

static void a_large_json_is_a_stream_of_every_chip(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE], image[DB_ID_SIZE];
    size_t size = 0;
    rig_fill(rig);
    rig_add_large_result(rig, LARGE_WIDTH, LARGE_HEIGHT, id, image);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, image), 200);
    assert_string_equal(rig->response.content_type, "application/json");
    char *text = read_stream(rig, &size);
    rig->json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    assert_non_null(rig->json);
    assert_int_equal((int)rig_number(rig, "/grid/rows"), LARGE_ROWS);
    json_t *chips = rig_at(rig, "/chips");
    assert_int_equal(json_array_size(chips), LARGE_ROWS * LARGE_COLUMNS);
    for (size_t i = 0; i < LARGE_ROWS * LARGE_COLUMNS; i++) {
        json_t *chip = json_array_get(chips, i);
        const char *label = json_string_value(json_object_get(chip, "label"));
        assert_int_equal(json_integer_value(json_object_get(chip, "row")), i / LARGE_COLUMNS);
        assert_int_equal(json_integer_value(json_object_get(chip, "x")), i % LARGE_COLUMNS);
        assert_string_equal(label, i % 2 == 0 ? "film" : "a/b, \"c\"");
        assert_true(json_number_value(json_object_get(chip, "probability")) == 0.75);
    }
}

/* Nothing that was read before is told as the whole. */
static void a_stream_of_a_deleted_job_fails(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE], image[DB_ID_SIZE], piece[5000];
    size_t n = 0;
    rig_fill(rig);
    rig_add_large_result(rig, LARGE_WIDTH, LARGE_HEIGHT, id, image);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, image), 200);
    assert_non_null(next_piece(rig, &n));
    assert_int_equal(db_project_delete(rig->db, rig->data->store, rig->project,
                                       &(struct principal){.id = "rig"}, &rig->err),
                     0);
    const struct api_stream *stream = &rig->response.stream;
    int rc = 0;
    do
        rc = stream->next(stream->context, piece, sizeof(piece), &n, &rig->err);
    while (rc == 0 && n > 0);
    assert_int_equal(rc, ERROR_NOT_FOUND);
}

static void decode_answer(struct rig *rig, struct image *out)
{
    struct error err;
    assert_int_equal(rig->response.status, 200);
    assert_string_equal(rig->response.content_type, "image/png");
    assert_non_null(strstr(rig_got(rig, "Cache-Control"), "immutable"));
    assert_int_equal(image_decode(&(struct image_request){.data = rig->response.body,
                                                          .size = rig->response.body_size,
                                                          .limits = &image_limits_default},
                                  out, &err),
                     0);
}

static void maps_are_drawn(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    struct image image;
    finished(rig, id);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/labels.png", id, rig->image);
    decode_answer(rig, &image);
    assert_int_equal(image.info.width, 5);
    assert_int_equal(image.info.height, 3);
    assert_true(image.pixels[0] != image.pixels[1] && image.pixels[0] == image.pixels[2]);
    image_clear(&image);
    static const char *const classes[] = {"film", "0", "a%2Fb%2C%20%22c%22", "1"};
    for (int i = 0; i < 4; i++) {
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/probability/%s.png", id, rig->image,
                 classes[i]);
        decode_answer(rig, &image);
        assert_int_equal(image.info.width, 5);
        assert_int_equal((int)image.pixels[0], i < 2 ? 191 : 64);
        image_clear(&image);
    }
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/overlay.png?max_side=20", id, rig->image);
    decode_answer(rig, &image);
    assert_int_equal(image.info.width, 20);
    assert_int_equal(image.info.height, 15);
    assert_int_equal(image.info.n_channels, 3);
    image_clear(&image);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/labels.png?max_side=20", id, rig->image);
    decode_answer(rig, &image);
    assert_int_equal(image.info.width, 20);
    assert_int_equal(image.info.height, 15);
    assert_true(image.pixels[0] == image.pixels[3] && image.pixels[3] != image.pixels[4]);
    assert_int_equal((int)image.pixels[20 * 14], 0); /* below the last row of chips */
    image_clear(&image);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/labels.png?max_side=0", id, rig->image);
    rig_assert_fault(rig, 1, "max_side", "1");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/labels.png?size=big", id, rig->image);
    rig_assert_fault(rig, 1, "size", "must be grid or image, is 'big'");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/labels.png?size=grid&max_side=9", id,
             rig->image);
    rig_assert_fault(rig, 1, "max_side", "is for size=image alone");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/overlay.png?max_side=20", id, rig->image);
    char *etag = strdup(rig_got(rig, "ETag"));
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/overlay.png?max_side=20",
                              id, rig->image),
                     304);
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/overlay.png", id, rig->image), 200);
    free(etag);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/probability/2.png", id, rig->image);
    rig_assert_problem(rig, 404, "not-found");
    assert_non_null(strstr(rig_text(rig, "/detail"), "0 to 1"));
}

/* 40 x 30 pixels, of which chips cover all but the last six rows. */
static void maps_have_the_image_s_size(void **state)
{
    struct rig *rig = *state;
    static const char *const targets[] = {"labels.png?size=image", "labels.png?size=grid",
                                          "probability/0.png?size=image",
                                          "probability/0.png?size=image&max_side=20"};
    static const uint32_t widths[] = {40, 5, 40, 20}, heights[] = {30, 3, 30, 15};
    char id[DB_ID_SIZE];
    finished(rig, id);
    for (int i = 0; i < 4; i++) {
        struct image image;
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/%s", id, rig->image, targets[i]);
        decode_answer(rig, &image);
        assert_int_equal(image.info.width, widths[i]);
        assert_int_equal(image.info.height, heights[i]);
        if (i != 1)
            assert_true(image.pixels[0] > 0 && image.pixels[widths[i] * heights[i] - 1] == 0);
        image_clear(&image);
    }
}

static void an_overlay_looks_as_it_is_asked_to(void **state)
{
    struct rig *rig = *state;
    static const char *const queries[] = {"", "?style=contour", "?opacity=90", "?legend=true"};
    char id[DB_ID_SIZE];
    struct image images[4];
    finished(rig, id);
    for (int i = 0; i < 4; i++) {
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/overlay.png%s", id, rig->image,
                 queries[i]);
        decode_answer(rig, &images[i]);
        assert_int_equal(images[i].info.width, 40);
        const size_t size = 40 * 30 * sizeof(float);
        const bool is_other = i == 1 || i == 2; /* for a legend the image is too small */
        assert_int_equal(memcmp(images[0].pixels, images[i].pixels, size) != 0, is_other);
    }
    for (int i = 0; i < 4; i++)
        image_clear(&images[i]);
    /* The pixel size that it follows may be corrected. */
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/overlay.png?scale_bar=true",
                              id, rig->image),
                     200);
    assert_string_equal(rig_got(rig, "Cache-Control"), "private, no-cache");
    rig_send(rig, "GET", NULL,
             "/v1/jobs/%s/results/%s/overlay.png?style=shade&opacity=0&legend=yes", id, rig->image);
    rig_assert_fault(rig, 3, "style", "must be tint or contour");
    rig_assert_fault(rig, 3, "opacity", "5 to 100");
    rig_assert_fault(rig, 3, "legend", "must be false or true");
}

/* Chips of 8 at a stride of 1, whose classes alternate along a row: cells are pixels, the first and
 * last of a row have one column of chips, the next ones two, of both classes. */
static void maps_are_finer_where_chips_overlap(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE], image_id[DB_ID_SIZE];
    struct image image;
    rig_fill(rig);
    rig_add_large_result(rig, LARGE_WIDTH, LARGE_HEIGHT, id, image_id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", id), 200);
    assert_int_equal((int)rig_number(rig, "/items/0/grid/columns"), LARGE_COLUMNS);
    assert_int_equal((int)rig_number(rig, "/items/0/map/columns"), LARGE_WIDTH);
    assert_int_equal((int)rig_number(rig, "/items/0/map/rows"), LARGE_HEIGHT);
    assert_int_equal((int)rig_number(rig, "/items/0/map/step/x"), 1);
    assert_int_equal((int)rig_number(rig, "/items/0/map/cell/height"), 1);
    assert_int_equal((int)rig_number(rig, "/items/0/map/end/x"), LARGE_WIDTH);
    static const char *const targets[] = {"labels.png", "labels.png?max_side=8192",
                                          "probability/0.png"};
    for (int i = 0; i < 3; i++) {
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/%s", id, image_id, targets[i]);
        decode_answer(rig, &image);
        assert_int_equal(image.info.width, LARGE_WIDTH);
        assert_int_equal(image.info.height, LARGE_HEIGHT);
        const float *row = image.pixels + (size_t)200 * LARGE_WIDTH;
        assert_true(row[0] != row[LARGE_WIDTH - 1]);
        if (i == 2) {
            assert_int_equal((int)row[0], 191);
            assert_int_equal((int)row[1], 128);
            assert_int_equal((int)row[LARGE_WIDTH - 1], 64);
        } else {
            assert_true(row[1] == row[0]); /* equal means: the lower class */
            assert_true(row[LARGE_WIDTH - 2] == row[0]);
        }
        image_clear(&image);
    }
}

static void chips_without_a_class_are_shown(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    struct image image;
    static const uint16_t labels[15] = {0, DB_LABEL_UNKNOWN, DB_LABEL_NOT_ANALYSED, 1};
    static const char lines[] = "0,0,0,0,film,0.750000,0.500000,0.750000,0.250000\n"
                                "0,1,8,0,unknown,0.000000,0.000000,0.250000,0.750000\n"
                                "0,2,16,0,not analysed,0.000000,0.000000,0.750000,0.250000\n";
    rig->labels = labels;
    finished(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, rig->image), 200);
    assert_string_equal(rig_text(rig, "/chips/0/label"), "film");
    assert_string_equal(rig_text(rig, "/chips/1/label"), "unknown");
    assert_true(rig_number(rig, "/chips/1/probability") == 0);
    assert_true(rig_number(rig, "/chips/1/margin") == 0);
    assert_string_equal(rig_text(rig, "/chips/2/label"), "not analysed");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s.csv", id, rig->image), 200);
    const char *body = strchr(rig->response.body, '\n');
    assert_non_null(body);
    assert_memory_equal(body + 1, lines, sizeof(lines) - 1);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/labels.png", id, rig->image);
    decode_answer(rig, &image);
    assert_int_equal((int)image.pixels[1], 128);
    assert_int_equal((int)image.pixels[2], 0);
    image_clear(&image);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/overlay.png", id, rig->image);
    decode_answer(rig, &image);
    image_clear(&image);
}

static void what_the_classifier_said_is_beside_what_became_of_it(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    static const uint16_t labels[15] = {0, DB_LABEL_UNKNOWN, 1}, raw[15] = {0, 1, 0};
    static const char head[] = "probability of film,\"probability of a/b, \"\"c\"\"\",raw_label\n"
                               "0,0,0,0,film,0.750000,0.500000,0.750000,0.250000,film\n"
                               "0,1,8,0,unknown,0.000000,0.000000,0.250000,0.750000,"
                               "\"a/b, \"\"c\"\"\"\n";
    rig->labels = labels;
    rig->raw_labels = raw;
    finished(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", id, rig->image), 200);
    assert_string_equal(rig_text(rig, "/chips/0/raw_label"), "film");
    assert_string_equal(rig_text(rig, "/chips/1/raw_label"), "a/b, \"c\"");
    assert_string_equal(rig_text(rig, "/chips/1/label"), "unknown");
    assert_string_equal(rig_text(rig, "/chips/2/raw_label"), "film");
    assert_string_equal(rig_text(rig, "/chips/2/label"), "a/b, \"c\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s.csv", id, rig->image), 200);
    const char *body = strstr(rig->response.body, "probability of film");
    assert_non_null(body);
    assert_memory_equal(body, head, sizeof(head) - 1);
}

static void unknown_results_are_not_found(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    static const char *const tails[] = {"", ".csv", "/labels.png", "/overlay.png",
                                        "/probability/film.png"};
    for (int i = 0; i < 5; i++) {
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/img_01JABCDEFGHJKMNPQRSTVWXYZ0%s", id,
                 tails[i]);
        rig_assert_problem(rig, 404, "not-found");
        rig_send(rig, "GET", NULL, "/v1/jobs/job_01JABCDEFGHJKMNPQRSTVWXYZ0/results/%s%s",
                 rig->image, tails[i]);
        rig_assert_problem(rig, 404, "not-found");
        rig_send(rig, "GET", NULL, "/v1/jobs/x/results/y%s", tails[i]);
        rig_assert_problem(rig, 404, "not-found");
    }
    rig_send(rig, "GET", NULL, "/v1/jobs/job_01JABCDEFGHJKMNPQRSTVWXYZ0/results");
    rig_assert_problem(rig, 404, "not-found");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_list_has_grid_and_statistics),
        TEST(results_of_a_running_job_are_final_one_by_one),
        TEST(json_has_every_chip),
        TEST(csv_comes_by_suffix_and_by_accept),
        TEST(a_large_csv_is_a_stream_of_every_chip),
        TEST(a_large_json_is_a_stream_of_every_chip),
        TEST(a_stream_of_a_deleted_job_fails),
        TEST(maps_are_drawn),
        TEST(maps_have_the_image_s_size),
        TEST(an_overlay_looks_as_it_is_asked_to),
        TEST(maps_are_finer_where_chips_overlap),
        TEST(chips_without_a_class_are_shown),
        TEST(what_the_classifier_said_is_beside_what_became_of_it),
        TEST(unknown_results_are_not_found),
    };
    return test_run(tests);
}
