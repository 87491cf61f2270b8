#include "tests/api/rig.h"

/* A body with %s for the image. */
static int post(struct rig *rig, const char *format, ...)
{
    char *body = NULL;
    va_list arguments;
    va_start(arguments, format);
    assert_true(vasprintf(&body, format, arguments) >= 0);
    va_end(arguments);
    int status = rig_send(rig, "POST", body, "/v1/projects/%s/support-sets", rig->project);
    free(body);
    return status;
}

#define EXAMPLE        "{\"image_id\":\"%s\",\"x\":0,\"y\":0}"
#define EXAMPLE_AT(xy) "{\"image_id\":\"%s\",\"x\":" #xy ",\"y\":" #xy "}"

static void a_set_is_read_back_as_it_was_sent(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/support-sets/%s", rig->set), 200);
    assert_string_equal(rig_got(rig, "ETag"), "\"1\"");
    assert_string_equal(rig_text(rig, "/name"), "s");
    assert_int_equal((int)rig_number(rig, "/version"), 1);
    assert_int_equal((int)rig_number(rig, "/chip/width"), 8);
    assert_string_equal(rig_text(rig, "/classes/0/color"), "#0a0b0c");
    assert_string_equal(rig_text(rig, "/classes/1/name"), "a/b, \"c\"");
    assert_int_equal(strlen(rig_text(rig, "/classes/1/color")), 7);
    assert_string_equal(rig_text(rig, "/classes/1/examples/0/image_id"), rig->image);
    assert_int_equal((int)rig_number(rig, "/classes/1/examples/0/x"), 32);
    assert_int_equal((int)rig_number(rig, "/classes/1/examples/0/y"), 22);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects/%s/support-sets", rig->project), 200);
    assert_int_equal((int)rig_number(rig, "/items/0/classes/1/n_examples"), 1);
    assert_null(json_object_get(rig_at(rig, "/items/0/classes/1"), "examples"));
}

static void classes_need_not_be_counted(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/support-sets/%s", rig->set), 200);
    assert_true(json_is_true(rig_at(rig, "/classes/0/counted")));
    assert_int_equal(post(rig,
                          "{\"name\":\"t\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
                          "{\"name\":\"a\",\"examples\":[" EXAMPLE "]},{\"name\":\"bar\","
                          "\"counted\":false,\"examples\":[" EXAMPLE_AT(2) "]}]}",
                          rig->image, rig->image),
                     201);
    assert_true(json_is_true(rig_at(rig, "/classes/0/counted")));
    assert_true(json_is_false(rig_at(rig, "/classes/1/counted")));
    char id[DB_ID_SIZE];
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/support-sets/%s", id), 200);
    assert_true(json_is_false(rig_at(rig, "/classes/1/counted")));
    rig_send(rig, "GET", NULL, "/v1/projects/%s/support-sets", rig->project);
    assert_true(json_is_false(rig_at(rig, "/items/1/classes/1/counted")));
    assert_int_equal(post(rig,
                          "{\"name\":\"t\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
                          "{\"name\":\"a\",\"examples\":[" EXAMPLE "]},{\"name\":\"bar\","
                          "\"counted\":null,\"examples\":[" EXAMPLE_AT(2) "]}]}",
                          rig->image, rig->image),
                     422);
    rig_assert_fault(rig, 1, "/classes/1/counted", "true or false, is null");
}

static void put_makes_the_next_version(void **state)
{
    struct rig *rig = *state;
    char body[500];
    rig_fill(rig);
    snprintf(body, sizeof(body),
             "{\"name\":\"t\",\"chip\":{\"width\":9,\"height\":7},\"classes\":["
             "{\"name\":\"a\",\"examples\":[" EXAMPLE "]},{\"name\":\"b\",\"color\":null,"
             "\"examples\":[" EXAMPLE_AT(1) "," EXAMPLE_AT(2) "]}]}",
             rig->image, rig->image, rig->image);
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "PUT", body, "/v1/support-sets/%s", rig->set), 200);
    assert_int_equal((int)rig_number(rig, "/version"), 2);
    assert_string_equal(rig_got(rig, "ETag"), "\"2\"");
    rig_header(rig, "If-Match", "\"1\"");
    rig_send(rig, "PUT", body, "/v1/support-sets/%s", rig->set);
    rig_assert_problem(rig, 412, "precondition-failed");
    rig_send(rig, "GET", NULL, "/v1/support-sets/%s", rig->set);
    assert_string_equal(rig_text(rig, "/name"), "t");
    rig_send(rig, "GET", NULL, "/v1/support-sets/%s?version=1", rig->set);
    assert_string_equal(rig_text(rig, "/name"), "s");
    assert_int_equal((int)rig_number(rig, "/chip/width"), 8);
    assert_non_null(strstr(rig_got(rig, "Cache-Control"), "immutable"));
    rig_header(rig, "If-None-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/support-sets/%s?version=1", rig->set), 304);
    rig_send(rig, "GET", NULL, "/v1/support-sets/%s?version=3", rig->set);
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "GET", NULL, "/v1/support-sets/%s?version=0", rig->set);
    rig_assert_fault(rig, 1, "version", "1 to");
    rig_send(rig, "PUT", "{}", "/v1/support-sets/sup_01JABCDEFGHJKMNPQRSTVWXYZ0");
    rig_assert_problem(rig, 404, "not-found");
}

/* A class keeps its colour in the next version and beside other classes, wherever it stands. */
static void colors_belong_to_names(void **state)
{
    struct rig *rig = *state;
    char first[8], second[8], body[700];
    rig_fill(rig);
    const char *format = "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
                         "{\"name\":\"%s\",%s\"examples\":[" EXAMPLE "]},"
                         "{\"name\":\"%s\",\"examples\":[" EXAMPLE_AT(
                             1) "]},"
                                "{\"name\":\"%s\",\"examples\":[" EXAMPLE_AT(2) "]}]}";
    snprintf(body, sizeof(body), format, "a", "\"color\":\"#010203\",", rig->image, "b", rig->image,
             "c", rig->image);
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects/%s/support-sets", rig->project),
                     201);
    char id[DB_ID_SIZE];
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    snprintf(first, sizeof(first), "%s", rig_text(rig, "/classes/1/color"));
    snprintf(second, sizeof(second), "%s", rig_text(rig, "/classes/2/color"));
    assert_string_not_equal(first, second);
    snprintf(body, sizeof(body), format, "c", "", rig->image, "a", rig->image, "z", rig->image);
    assert_int_equal(rig_send(rig, "PUT", body, "/v1/support-sets/%s", id), 200);
    assert_string_equal(rig_text(rig, "/classes/0/color"), second);
    assert_string_equal(rig_text(rig, "/classes/1/color"), "#010203");
    snprintf(body, sizeof(body), format, "b", "", rig->image, "d", rig->image, "c", rig->image);
    assert_int_equal(rig_send(rig, "PUT", body, "/v1/support-sets/%s", id), 200);
    assert_string_equal(rig_text(rig, "/classes/2/color"), second);
}

static void every_fault_of_a_body_is_named(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    rig_send(rig, "POST", "{\"name\":\"q\"}", "/v1/projects");
    char other[DB_ID_SIZE];
    size_t size;
    snprintf(other, sizeof(other), "%s", rig_text(rig, "/id"));
    void *png = rig_png(40, 40, 9, &size);
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", other);
    free(png);
    char foreign[DB_ID_SIZE];
    snprintf(foreign, sizeof(foreign), "%s", rig_text(rig, "/id"));
    post(rig,
         "{\"chip\":{\"width\":8,\"height\":8,\"depth\":1},\"classes\":["
         "{\"name\":\"a\",\"color\":\"red\",\"examples\":[{\"image_id\":\"%s\",\"x\":33,\"y\":23},"
         "{\"image_id\":\"%s\",\"x\":0,\"y\":-1},{\"image_id\":\"%s\",\"x\":0,\"y\":0}]},"
         "{\"name\":\"a\",\"examples\":[]},"
         "{\"name\":\"\",\"examples\":[{\"image_id\":\"img_x\",\"x\":0}, 5]}]}",
         rig->image, rig->image, foreign);
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 13, "/name", "is required");
    rig_assert_fault(rig, 13, "/chip/depth", "is not a known key");
    rig_assert_fault(rig, 13, "/classes/0/color", "#rrggbb");
    rig_assert_fault(rig, 13, "/classes/0/examples/0/x", "must be at most 32");
    rig_assert_fault(rig, 13, "/classes/0/examples/0/y", "must be at most 22");
    rig_assert_fault(rig, 13, "/classes/0/examples/1/y", "0 to 32768, is -1");
    rig_assert_fault(rig, 13, "/classes/0/examples/2/image_id", "is no image of project");
    rig_assert_fault(rig, 13, "/classes/1/name", "is already the name of class 0");
    rig_assert_fault(rig, 13, "/classes/1/examples", "must have 1 to 10000 examples, has 0");
    rig_assert_fault(rig, 13, "/classes/2/name", "has 0");
    rig_assert_fault(rig, 13, "/classes/2/examples/0/image_id", "is no image");
    rig_assert_fault(rig, 13, "/classes/2/examples/0/y", "is required");
    rig_assert_fault(rig, 13, "/classes/2/examples/1", "must be an object");
}

static void chips_must_fit(void **state)
{
    struct rig *rig = *state;
    char other[DB_ID_SIZE];
    size_t size;
    rig_fill(rig);
    void *png = rig_png(40, 30, 9, &size);
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project);
    free(png);
    snprintf(other, sizeof(other), "%s", rig_text(rig, "/id"));
    const char *format = "{\"name\":\"s\",\"chip\":{\"width\":%d,\"height\":%d},\"classes\":["
                         "{\"name\":\"a\",\"examples\":[" EXAMPLE "]},"
                         "{\"name\":\"b\",\"examples\":[" EXAMPLE "]}]}";
    assert_int_equal(post(rig, format, 40, 30, rig->image, other), 201);
    post(rig, format, 41, 30, rig->image, other);
    rig_assert_fault(rig, 2, "/classes/1/examples/0/x", "the chip is 41 pixels, the image 40");
    post(rig, format, 3, 4097, rig->image, other);
    rig_assert_fault(rig, 2, "/chip/width", "from 4 to 4096, is 3");
    rig_assert_fault(rig, 2, "/chip/height", "from 4 to 4096, is 4097");
}

/* No chip can be of two classes, or count as two examples; one that only overlaps another may. */
static void a_chip_is_an_example_once(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    const char *format =
        "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
        "{\"name\":\"a\",\"examples\":[" EXAMPLE_AT(4) "," EXAMPLE "]},"
                                                       "{\"name\":\"b\",\"examples\":[" EXAMPLE_AT(
                                                           % u) "," EXAMPLE_AT(% u) "]}]}";
    post(rig, format, rig->image, rig->image, rig->image, 1, 1, rig->image, 4, 4);
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 1, "/classes/1/examples/1",
                     "an example of two classes: it is the chip of /classes/0/examples/0");
    post(rig, format, rig->image, rig->image, rig->image, 9, 9, rig->image, 9, 9);
    rig_assert_fault(rig, 1, "/classes/1/examples/1",
                     "listed twice: it is the chip of /classes/1/examples/0");
    post(rig, format, rig->image, rig->image, rig->image, 0, 0, rig->image, 0, 0);
    rig_assert_fault(rig, 2, "/classes/1/examples/0", "it is the chip of /classes/0/examples/1");
    rig_assert_fault(rig, 2, "/classes/1/examples/1", "it is the chip of /classes/0/examples/1");
    /* The places are numbered as the client has them, also behind one that is faulty. */
    post(rig, format, rig->image, "img_x", rig->image, 1, 1, rig->image, 4, 4);
    rig_assert_fault(rig, 2, "/classes/1/examples/1", "it is the chip of /classes/0/examples/0");
    assert_int_equal(post(rig, format, rig->image, rig->image, rig->image, 1, 1, rig->image, 3, 3),
                     201);
}

static void one_class_alone_is_refused_and_so_are_sixty_five(void **state)
{
    struct rig *rig = *state;
    char classes[8000] = "";
    size_t length = 0;
    rig_fill(rig);
    for (int i = 0; i < 65; i++)
        length += (size_t)snprintf(classes + length, sizeof(classes) - length,
                                   "%s{\"name\":\"%d\",\"examples\":[" EXAMPLE "]}",
                                   i == 0 ? "" : ",", i, rig->image);
    const char *format = "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":[%s]}";
    post(rig, format, classes);
    rig_assert_fault(rig, 1, "/classes", "must have 2 to 64 classes, has 65");
    post(rig, format, "");
    rig_assert_fault(rig, 1, "/classes", "has 0");
    snprintf(classes, sizeof(classes), "{\"name\":\"0\",\"examples\":[" EXAMPLE "]}", rig->image);
    post(rig, format, classes);
    rig_assert_fault(rig, 1, "/classes", "must have 2 to 64 classes, has 1");
}

static void the_number_of_examples_is_limited_in_all(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    const char *one = "{\"image_id\":\"%s\",\"x\":0,\"y\":0},";
    size_t room = 5001 * 80;
    char *list = malloc(room);
    size_t length = 0;
    for (int i = 0; i < 5000; i++)
        length += (size_t)snprintf(list + length, room - length, one, rig->image);
    list[length - 1] = '\0';
    const char *format =
        "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
        "{\"name\":\"a\",\"examples\":[%s]},{\"name\":\"b\",\"examples\":[%s%s" EXAMPLE "]}]}";
    post(rig, format, list, list, ",", rig->image);
    rig_assert_fault(rig, 1, "/classes", "may have 10000 examples in all, has 10001");
    free(list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_set_is_read_back_as_it_was_sent),
        TEST(classes_need_not_be_counted),
        TEST(put_makes_the_next_version),
        TEST(colors_belong_to_names),
        TEST(every_fault_of_a_body_is_named),
        TEST(chips_must_fit),
        TEST(a_chip_is_an_example_once),
        TEST(one_class_alone_is_refused_and_so_are_sixty_five),
        TEST(the_number_of_examples_is_limited_in_all),
    };
    return test_run(tests);
}
