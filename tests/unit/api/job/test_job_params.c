#include "tests/test.h"

#include "api/job/job_params.h"
#include "engine/fewshot/heads/head.h"

static const struct job_params some = {
    .grid = {95, 34, 47, 35, 1, 2, GRID_EDGE_COVER},
    .normalise = {NORMALISE_PERCENTILE,
                  0.1,
                  99.9,
                  NORMALISE_REPLACE,
                  {FLATTEN_POLYNOMIAL, 3, 256},
                  {true, 4.0 / 3, 5}},
    .classifier = {CLASSIFIER_COSINE, CLASSIFIER_TRANSFORM_CL2N, 0.1, &head_auto},
    .input_sizes = {2, {48, 96}},
    .encoding = ENCODING_DENSE,
    .precision = PRECISION_BFLOAT16,
    .borders = BORDERS_ASSIGN,
    .unknown = true,
    .smoothing = SMOOTHING_AUTO,
};

static void the_text_brings_every_value_back(void **state)
{
    (void)state;
    struct job_params back;
    struct error err;
    char *text = job_params_to_text(&some);
    assert_int_equal(job_params_from_text(text, &back, &err), 0);
    assert_memory_equal(&back.grid, &some.grid, sizeof(back.grid));
    assert_true(back.normalise.low == some.normalise.low);
    assert_true(back.normalise.high == some.normalise.high);
    assert_int_equal(back.normalise.method, some.normalise.method);
    assert_true(back.normalise.clahe.enabled);
    assert_true(back.normalise.clahe.clip_limit == some.normalise.clahe.clip_limit);
    assert_int_equal(back.normalise.clahe.tiles, 5);
    assert_int_equal(back.normalise.flatten.method, FLATTEN_POLYNOMIAL);
    assert_int_equal(back.normalise.flatten.order, 3);
    assert_int_equal(back.classifier.distance, CLASSIFIER_COSINE);
    assert_int_equal(back.classifier.transform, CLASSIFIER_TRANSFORM_CL2N);
    assert_true(back.classifier.temperature == 0.1);
    assert_ptr_equal(back.classifier.head, &head_auto);
    assert_int_equal(back.input_sizes.n, 2);
    assert_int_equal(back.input_sizes.sides[0], 48);
    assert_int_equal(back.input_sizes.sides[1], 96);
    assert_int_equal(back.encoding, ENCODING_DENSE);
    assert_int_equal(back.precision, PRECISION_BFLOAT16);
    assert_int_equal(back.borders, BORDERS_ASSIGN);
    assert_true(back.unknown);
    assert_int_equal(back.smoothing, SMOOTHING_AUTO);
    char *again = job_params_to_text(&back);
    assert_string_equal(text, again);
    free(again);
    free(text);
}

static void the_text_is_canonical(void **state)
{
    (void)state;
    struct job_params params = {.grid = {8, 8, 8, 8, 0, 0, GRID_EDGE_DROP},
                                .normalise = normalise_params_default,
                                .classifier = classifier_params_default};
    char *text = job_params_to_text(&params);
    assert_string_equal(
        text,
        "{\"borders\":\"off\",\"chip\":{\"height\":8,\"width\":8},\"clahe\":null,\"classifier\":{"
        "\"distance\":\"euclidean\",\"temperature\":\"auto\",\"transform\":"
        "\"standardise\"},\"edge\":\"drop\",\"encoding\":\"chips\",\"flatten\":null,"
        "\"head\":\"prototypes\","
        "\"mask\":{\"proposed\":true},"
        "\"normalise\":{\"high\":99.5,\"low\":0.5,\"method\":\"percentile\","
        "\"outliers\":\"replace\"},"
        "\"offset\":{\"x\":0,\"y\":0},"
        "\"precision\":\"float32\",\"reference\":\"auto\",\"smoothing\":\"off\",\"stride\":{\"x\":"
        "8,\"y\":8},"
        "\"unknown\":false}");
    struct job_params back;
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_false(back.normalise.clahe.enabled);
    assert_int_equal(back.normalise.flatten.method, FLATTEN_NONE);
    assert_true(back.classifier.temperature == 0);
    assert_int_equal(back.input_sizes.n, 0); /* a text of the time before there were several */
    free(text);
    params.input_sizes = (struct input_sizes){3, {16, 17, 512}};
    text = job_params_to_text(&params);
    assert_non_null(strstr(text, "\"head\":\"prototypes\",\"input_sizes\":[16,17,512],\"mask\""));
    free(text);
}

static void a_background_is_taken_out_only_where_it_is_said(void **state)
{
    (void)state;
    struct job_params params = some, back;
    params.normalise.flatten =
        (struct flatten_params){.method = FLATTEN_LARGE_SCALE, .order = 2, .scale = 100};
    char *text = job_params_to_text(&params);
    static const char member[] = "\"flatten\":{\"method\":\"large_scale\",\"scale\":100},";
    char *at = strstr(text, member);
    assert_non_null(at);
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.normalise.flatten.method, FLATTEN_LARGE_SCALE);
    assert_int_equal(back.normalise.flatten.scale, 100);
    /* As texts were before there was a choice. */
    memmove(at, at + sizeof(member) - 1, strlen(at + sizeof(member) - 1) + 1);
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.normalise.flatten.method, FLATTEN_NONE);
    json_t *shown = job_params_stored_json(text);
    assert_true(json_is_null(json_object_get(shown, "flatten")));
    json_decref(shown);
    free(text);
}

/* Labels stay as they are in a job of the time before there were later steps. */
static void a_text_without_later_steps_has_none(void **state)
{
    (void)state;
    static const char *const members[] = {"\"borders\":\"assign\",", ",\"unknown\":true"};
    struct job_params back;
    struct error err;
    char *text = job_params_to_text(&some);
    for (int i = 0; i < 2; i++) {
        char *found = strstr(text, members[i]);
        assert_non_null(found);
        memmove(found, found + strlen(members[i]), strlen(found + strlen(members[i])) + 1);
    }
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.borders, BORDERS_OFF);
    assert_false(back.unknown);
    json_t *shown = job_params_stored_json(text);
    assert_string_equal(json_string_value(json_object_get(shown, "borders")), "off");
    assert_true(json_is_false(json_object_get(shown, "unknown")));
    json_decref(shown);
    free(text);
    text = job_params_to_text(&some);
    memcpy(strstr(text, "assign"), "design", 6);
    assert_int_equal(job_params_from_text(text, &back, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "borders must be off or assign, but is 'design'"));
    free(text);
}

/* A job of the time before there was a choice keeps them. */
static void a_text_without_outliers_keeps_them(void **state)
{
    (void)state;
    static const char member[] = ",\"outliers\":\"replace\"";
    struct job_params back;
    char *text = job_params_to_text(&some);
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.normalise.outliers, NORMALISE_REPLACE);
    char *found = strstr(text, member);
    assert_non_null(found);
    memmove(found, found + strlen(member), strlen(found + strlen(member)) + 1);
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.normalise.outliers, NORMALISE_KEEP);
    json_t *shown = job_params_stored_json(text);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(shown, "normalise"), "outliers")),
        "keep");
    json_decref(shown);
    free(text);
}

/* A job of the time before there were masks analyses all that only might be left out. */
static void a_text_without_a_mask_has_no_proposals(void **state)
{
    (void)state;
    static const char member[] = "\"mask\":{\"proposed\":true},";
    struct job_params back;
    struct error err = {0};
    char *text = job_params_to_text(&some);
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.proposals, MASK_WITH_PROPOSED);
    char *found = strstr(text, member);
    assert_non_null(found);
    memcpy(strstr(found, "true"), "3333", 4);
    assert_int_equal(job_params_from_text(text, &back, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "/mask/proposed must be true or false, is a number"));
    memset(found, ' ', strlen(member));
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.proposals, MASK_WITHOUT_PROPOSED);
    json_t *shown = job_params_stored_json(text);
    assert_true(json_is_false(json_object_get(json_object_get(shown, "mask"), "proposed")));
    json_decref(shown);
    free(text);
}

/* A job of the time before there was another has prototypes. */
static void a_text_without_a_head_has_prototypes(void **state)
{
    (void)state;
    static const char member[] = "\"head\":\"auto\",";
    struct job_params back;
    char *text = job_params_to_text(&some);
    char *place = strstr(text, member);
    assert_non_null(place);
    memset(place, ' ', strlen(member));
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_ptr_equal(back.classifier.head, &head_prototypes);
    json_t *shown = job_params_stored_json(text);
    assert_string_equal(json_string_value(json_object_get(shown, "head")), "prototypes");
    json_decref(shown);
    free(text);
}

/* A job of the time before there was any has no smoothing. */
static void a_text_without_smoothing_has_none(void **state)
{
    (void)state;
    static const char member[] = "\"smoothing\":\"auto\",";
    struct job_params back;
    char *text = job_params_to_text(&some);
    char *place = strstr(text, member);
    assert_non_null(place);
    memset(place, ' ', strlen(member));
    assert_int_equal(job_params_from_text(text, &back, NULL), 0);
    assert_int_equal(back.smoothing, SMOOTHING_OFF);
    json_t *shown = job_params_stored_json(text);
    assert_string_equal(json_string_value(json_object_get(shown, "smoothing")), "off");
    json_decref(shown);
    free(text);
}

/* The text of a job of the time before there was a choice means chips, whatever its encoder's own
 * encoding has become, and is shown so. */
static void a_text_without_an_encoding_means_chips(void **state)
{
    (void)state;
    static const char member[] = "\"encoding\":\"dense\",";
    struct job_params back;
    struct error err = {0};
    char *text = job_params_to_text(&some);
    char *place = strstr(text, member);
    assert_non_null(place);
    json_t *shown = job_params_stored_json(text);
    assert_string_equal(json_string_value(json_object_get(shown, "encoding")), "dense");
    json_decref(shown);
    memcpy(strstr(place, "dense"), "tense", 5);
    assert_int_equal(job_params_from_text(text, &back, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "'tense' is not chips or dense"));
    memset(place, ' ', strlen(member)); /* JSON allows blanks there: as good as gone */
    assert_int_equal(job_params_from_text(text, &back, &err), 0);
    assert_int_equal(back.encoding, ENCODING_CHIPS);
    shown = job_params_stored_json(text);
    assert_string_equal(json_string_value(json_object_get(shown, "encoding")), "chips");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(shown, "input_sizes"), 1)),
                     96);
    json_decref(shown);
    free(text);
    assert_null(job_params_stored_json("{"));
}

/* Texts of the time before there were others say nothing; those that name none that is known are
 * corrupt. Whether the processor has it is not asked here. */
static void stored_precisions_are_read(void **state)
{
    (void)state;
    static const char member[] = "\"precision\":\"bfloat16\",";
    struct job_params back;
    struct error err = {0};
    char *text = job_params_to_text(&some);
    char *place = strstr(text, member);
    assert_non_null(place);
    memcpy(strstr(place, "bfloat16"), "bfloat61", 8);
    assert_int_equal(job_params_from_text(text, &back, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "bfloat61"));
    free(text);
    text = job_params_to_text(&some);
    place = strstr(text, member);
    memmove(place, place + strlen(member), strlen(place + strlen(member)) + 1);
    assert_int_equal(job_params_from_text(text, &back, &err), 0);
    assert_int_equal(back.precision, PRECISION_FLOAT32);
    free(text);
}

static void stored_input_sizes_are_checked(void **state)
{
    (void)state;
    char *whole = job_params_to_text(&some);
    char *sizes = strstr(whole, "[48,96]");
    static const char *const wrong[] = {"[96,48]", "[48,48]", "[15,96]", "[48,\"\"]", "       "};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct job_params back;
        memcpy(sizes, wrong[i], 7);
        assert_int_equal(job_params_from_text(whole, &back, NULL), ERROR_CORRUPT);
    }
    free(whole);
}

static void damaged_texts_are_corrupt(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "[]", "{}",
                                        "{\"chip\":{\"width\":8,\"height\":8}}"};
    char *whole = job_params_to_text(&some);
    for (int i = 0; i < 5; i++) {
        struct job_params back;
        struct error err = {0};
        assert_int_equal(job_params_from_text(texts[i], &back, &err), ERROR_CORRUPT);
        assert_non_null(strstr(err.message, "stored parameters"));
    }
    whole[strlen(whole) - 1] = ']';
    struct job_params back;
    assert_int_equal(job_params_from_text(whole, &back, NULL), ERROR_CORRUPT);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_brings_every_value_back),
        cmocka_unit_test(the_text_is_canonical),
        cmocka_unit_test(a_background_is_taken_out_only_where_it_is_said),
        cmocka_unit_test(a_text_without_later_steps_has_none),
        cmocka_unit_test(a_text_without_outliers_keeps_them),
        cmocka_unit_test(a_text_without_a_mask_has_no_proposals),
        cmocka_unit_test(a_text_without_a_head_has_prototypes),
        cmocka_unit_test(a_text_without_smoothing_has_none),
        cmocka_unit_test(a_text_without_an_encoding_means_chips),
        cmocka_unit_test(stored_precisions_are_read),
        cmocka_unit_test(stored_input_sizes_are_checked),
        cmocka_unit_test(damaged_texts_are_corrupt),
    };
    return test_run(tests);
}
