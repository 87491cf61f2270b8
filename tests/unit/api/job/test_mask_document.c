#include "tests/test.h"

#include "api/job/mask_document.h"

static const struct mask_frame frame = {.width = 640, .height = 480, .n_proposals = 3};

/* Reads a client's body; the number of faults, the first of them in `fault`. */
static size_t read(const char *text, struct mask_document *out, bool *no_picture, char *fault,
                   size_t size)
{
    struct field_errors errors = {0};
    const struct json_at at = {.errors = &errors};
    json_t *json = NULL;
    assert_int_equal(json_parse(text, strlen(text), &json, NULL), 0);
    assert_int_equal(mask_document_read(json, &at, &frame, out, no_picture, NULL), 0);
    const size_t n = errors.n_items;
    if (n > 0)
        snprintf(fault, size, "%s %s", errors.items[0].name, errors.items[0].detail);
    field_errors_clear(&errors);
    json_decref(json);
    return n;
}

static void a_document_comes_back(void **state)
{
    (void)state;
    static const char text[] =
        "{\"rectangles\":[{\"x\":0,\"y\":470,\"width\":640,\"height\":10},"
        "{\"x\":1,\"y\":2,\"width\":3,\"height\":4},{\"x\":639,\"y\":479,\"width\":1,\"height\":1}]"
        ","
        "\"polygons\":[[[0,0],[640,0.25],[10,480]],[[1,1],[2,2],[3,1],[2,0.1]]],"
        "\"accepted\":[2],\"refused\":[0]}";
    struct mask_document document, back;
    bool no_picture = false;
    char fault[300];
    assert_int_equal(read(text, &document, &no_picture, fault, sizeof(fault)), 0);
    assert_false(no_picture);
    document.picture_pixels = 12345;
    char *stored = mask_document_to_text(&document);
    assert_int_equal(mask_document_from_text(stored, &frame, &back, NULL), 0);
    assert_int_equal(back.n_rectangles, 3);
    assert_int_equal(back.rectangles[1].height, 4);
    assert_int_equal(back.n_polygons, 2);
    assert_int_equal(back.polygons[0], 3);
    assert_int_equal(back.polygons[1], 4);
    assert_int_equal(back.n_points, 7);
    assert_true(back.points[1].y == 0.25 && back.points[6].y == 0.1);
    assert_int_equal(back.accepted, 4);
    assert_int_equal(back.refused, 1);
    assert_int_equal(back.picture_pixels, 12345);
    char *again = mask_document_to_text(&back);
    assert_string_equal(stored, again);
    free(again);
    free(stored);
    mask_document_clear(&document);
    mask_document_clear(&back);
    assert_int_equal(mask_document_from_text(NULL, &frame, &back, NULL), 0);
    assert_int_equal(back.n_rectangles + back.n_polygons + back.accepted + back.refused, 0);
}

static void a_picture_can_be_taken_away(void **state)
{
    (void)state;
    struct mask_document document;
    bool no_picture = false;
    char fault[300];
    assert_int_equal(read("{\"picture\":null}", &document, &no_picture, fault, sizeof(fault)), 0);
    assert_true(no_picture);
    mask_document_clear(&document);
}

static void faults_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"{\"rectangle\":[]}", "/rectangle "},
        {"{\"rectangles\":[{\"x\":640,\"y\":0,\"width\":1,\"height\":1}]}",
         "/rectangles/0/x must be an integer from 0 to 639, is 640"},
        {"{\"rectangles\":[{\"x\":600,\"y\":0,\"width\":41,\"height\":1}]}",
         "/rectangles/0/width must be at most 40 (the image's 640 pixels less 600), is 41"},
        {"{\"rectangles\":[{\"x\":0,\"y\":1,\"width\":1,\"height\":480}]}",
         "/rectangles/0/height must be at most 479"},
        {"{\"rectangles\":[{\"x\":0,\"y\":0,\"width\":0,\"height\":1}]}",
         "/rectangles/0/width must be an integer from 1 to 640, is 0"},
        {"{\"polygons\":[[[0,0],[1,1]]]}",
         "/polygons/0 must be a list of 3 to 10000 points, has 2"},
        {"{\"polygons\":[[[0,0],[1,1],[2]]]}", "/polygons/0/2 must be a point [x, y]"},
        {"{\"polygons\":[[[0,0],[641,1],[2,5]]]}",
         "/polygons/0/1/0 must be a number from 0 to 640"},
        {"{\"polygons\":[[[0,0],[1,-1],[2,5]]]}", "/polygons/0/1/1 must be a number from 0 to 480"},
        {"{\"accepted\":[3]}", "/accepted/0 must be an integer from 0 to 2, is 3"},
        {"{\"accepted\":[1],\"refused\":[0,1]}", "/refused/1 proposal 1 is both"},
        {"{\"picture\":\"x\"}", "/picture can only be null"},
        {"{\"picture_pixels\":5}", "/picture_pixels "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mask_document document;
        struct error err = {0};
        bool no_picture = false;
        char fault[300] = "";
        assert_int_equal(read(cases[i].text, &document, &no_picture, fault, sizeof(fault)), 1);
        if (strstr(fault, cases[i].fault) != fault)
            fail_msg("'%s' is not '%s'", fault, cases[i].fault);
        mask_document_clear(&document);
        /* What is stored is held to the same. */
        if (strstr(cases[i].text, "picture") != NULL)
            continue;
        assert_int_equal(mask_document_from_text(cases[i].text, &frame, &document, &err),
                         ERROR_CORRUPT);
        assert_non_null(strstr(err.message, "a stored mask: "));
    }
}

/* A list of n copies of an element. */
static char *repeat(const char *before, const char *element, size_t n, const char *after)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    fputs(before, file);
    for (size_t i = 0; i < n; i++)
        fprintf(file, "%s%s", i > 0 ? "," : "", element);
    fputs(after, file);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void there_are_limits(void **state)
{
    (void)state;
    static const char rectangle[] = "{\"x\":0,\"y\":0,\"width\":1,\"height\":1}";
    static const struct {
        const char *before, *element, *after;
        size_t n_max;
    } cases[] = {
        {"{\"rectangles\":[", rectangle, "]}", 1000},
        {"{\"polygons\":[[[0,0],[1,1],[2,0]]],\"rectangles\":[", rectangle, "]}", 999},
        {"{\"polygons\":[[", "[7,7]", "]]}", 10000},
        {"{\"polygons\":[[[0,0],[1,1],[2,0]],[", "[7,7]", "]]}", 9997},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 2; k++) {
            struct mask_document document;
            bool no_picture = false;
            char fault[300];
            char *text =
                repeat(cases[i].before, cases[i].element, cases[i].n_max + k, cases[i].after);
            assert_int_equal(read(text, &document, &no_picture, fault, sizeof(fault)), k);
            mask_document_clear(&document);
            free(text);
        }
    }
}

static void looks_come_back(void **state)
{
    (void)state;
    const struct image_look look = {
        .bars = {{BAR_DATA, {0, 400, 640, 80}}, {BAR_BORDER, {0, 0, 12, 400}}},
        .n_bars = 2,
        .n_missing = UINT64_C(1) << 40};
    struct image_look back;
    struct error err = {0};
    char *text = image_look_to_text(&look);
    assert_int_equal(image_look_from_text(text, 640, 480, &back, NULL), 0);
    assert_int_equal(back.n_bars, 2);
    assert_int_equal(back.bars[0].kind, BAR_DATA);
    assert_int_equal(back.bars[0].rect.y, 400);
    assert_int_equal(back.bars[1].kind, BAR_BORDER);
    assert_int_equal(back.bars[1].rect.width, 12);
    assert_true(back.n_missing == look.n_missing);
    assert_int_equal(image_look_from_text(text, 640, 400, &back, &err), ERROR_CORRUPT);
    free(text);
    assert_int_equal(image_look_from_text(NULL, 640, 480, &back, NULL), 0);
    assert_int_equal(back.n_bars, 0);
    assert_int_equal(image_look_from_text("{}", 640, 480, &back, &err), ERROR_CORRUPT);
    assert_int_equal(image_look_from_text("what?", 640, 480, &back, &err), ERROR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_comes_back), cmocka_unit_test(a_picture_can_be_taken_away),
        cmocka_unit_test(faults_are_named),      cmocka_unit_test(there_are_limits),
        cmocka_unit_test(looks_come_back),
    };
    return test_run(tests);
}
