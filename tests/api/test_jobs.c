#include "engine/encoder/precision.h"
#include "tests/api/rig.h"

/* A job's body with `more` behind the required members. */
static int post(struct rig *rig, const char *more)
{
    char body[2000];
    snprintf(body, sizeof(body), "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\"]%s}", rig->set,
             rig->image, more);
    return rig_send(rig, "POST", body, "/v1/projects/%s/jobs", rig->project);
}

static void a_job_is_stored_with_its_defaults(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(post(rig, ""), 202);
    assert_string_equal(rig_got(rig, "Location"), rig_text(rig, "/links/self"));
    assert_string_equal(rig_got(rig, "Retry-After"), "12");
    assert_string_equal(rig_text(rig, "/state"), "queued");
    assert_int_equal((int)rig_number(rig, "/progress/done"), 0);
    assert_int_equal((int)rig_number(rig, "/progress/total"), 15);
    assert_string_equal(rig_text(rig, "/progress/unit"), "chips");
    assert_int_equal((int)rig_number(rig, "/queue_position"), 0);
    assert_true(rig_number(rig, "/eta_seconds") == 12.5);
    assert_string_equal(rig_text(rig, "/encoder_id"), rig->encoder);
    assert_int_equal((int)rig_number(rig, "/support_set_version"), 1);
    assert_string_equal(rig_text(rig, "/image_ids/0"), rig->image);
    assert_int_equal((int)rig_number(rig, "/params/stride/y"), 8);
    assert_string_equal(rig_text(rig, "/params/normalise/method"), "percentile");
    assert_true(json_is_null(rig_at(rig, "/params/clahe")));
    assert_string_equal(rig_text(rig, "/params/classifier/temperature"), "auto");
    assert_int_equal(json_array_size(rig_at(rig, "/params/input_sizes")), 1);
    assert_int_equal((int)rig_number(rig, "/params/input_sizes/0"), 32);
    assert_string_equal(rig_text(rig, "/params/precision"), "float32");
    assert_string_equal(rig_text(rig, "/params/borders"), "assign");
    assert_true(json_is_false(rig_at(rig, "/params/unknown")));
    assert_true(json_is_null(rig_at(rig, "/error")));
    assert_true(json_is_null(rig_at(rig, "/started_at")));
    assert_int_equal(rig->n_changed, 1);
    assert_string_equal(rig->changed_id, rig_text(rig, "/id"));
}

static void every_parameter_is_taken(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(
        post(rig,
             ",\"support_set_version\":1,\"stride\":{\"x\":4,\"y\":5},"
             "\"offset\":{\"x\":1,\"y\":2},\"edge\":\"cover\","
             "\"normalise\":{\"method\":\"minmax\",\"outliers\":\"keep\"},\"clahe\":{\"tiles\":4},"
             "\"flatten\":{\"method\":\"polynomial\"},"
             "\"classifier\":{\"distance\":\"cosine\",\"transform\":\"cl2n\","
             "\"temperature\":0.1},\"input_sizes\":[48,96.0,512],\"priority\":-7,"
             "\"borders\":\"off\",\"unknown\":false,"
             "\"encoder_id\":null"),
        202);
    assert_int_equal((int)rig_number(rig, "/params/stride/x"), 4);
    assert_int_equal((int)rig_number(rig, "/params/offset/y"), 2);
    assert_string_equal(rig_text(rig, "/params/edge"), "cover");
    assert_string_equal(rig_text(rig, "/params/normalise/outliers"), "keep");
    assert_true(rig_number(rig, "/params/clahe/clip_limit") == 2);
    assert_string_equal(rig_text(rig, "/params/flatten/method"), "polynomial");
    assert_int_equal((int)rig_number(rig, "/params/flatten/order"), 2);
    assert_true(rig_number(rig, "/params/classifier/temperature") == 0.1);
    assert_non_null(strstr(rig->response.body, "\"temperature\":0.1,"));
    assert_int_equal((int)rig_number(rig, "/params/input_sizes/0"), 48);
    assert_int_equal((int)rig_number(rig, "/params/input_sizes/2"), 512);
    assert_string_equal(rig_text(rig, "/params/borders"), "off");
    assert_int_equal((int)rig_number(rig, "/priority"), -7);
    /* x: 1, 5, .. 29, 32; y: 2, 7, .. 22 */
    assert_int_equal((int)rig_number(rig, "/progress/total"), 9 * 5);
    assert_int_equal(post(rig, ",\"stride\":4"), 202);
    assert_int_equal((int)rig_number(rig, "/params/stride/y"), 4);
}

static void every_faulty_parameter_is_named(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    post(rig, ",\"support_set_version\":2,\"stride\":0,\"offset\":{\"x\":-1},\"edge\":\"wrap\","
              "\"normalise\":{\"method\":\"zscore\",\"low\":50,\"high\":10},"
              "\"clahe\":{\"tiles\":65,\"clip_limit\":0.5},\"classifier\":{\"distance\":\"l1\","
              "\"transform\":3,\"temperature\":0,\"heads\":1},\"priority\":101,"
              "\"encoder_id\":\"enc_x\",\"shots\":5,\"borders\":\"mark\",\"unknown\":1");
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 18, "/support_set_version",
                     "must be at most 1, the latest version, is 2");
    rig_assert_fault(rig, 18, "/stride", "from 1 to 32768, is 0");
    rig_assert_fault(rig, 18, "/offset/x", "is -1");
    rig_assert_fault(rig, 18, "/offset/y", "is required");
    rig_assert_fault(rig, 18, "/edge", "wrap");
    rig_assert_fault(rig, 18, "/normalise/method", "zscore");
    rig_assert_fault(rig, 18, "/normalise", "low (50) must be below high (10)");
    rig_assert_fault(rig, 18, "/clahe/tiles", "is 65");
    rig_assert_fault(rig, 18, "/clahe/clip_limit", "is 0.5");
    rig_assert_fault(rig, 18, "/classifier/distance", "l1");
    rig_assert_fault(rig, 18, "/classifier/transform", "must be a string");
    rig_assert_fault(rig, 18, "/classifier/temperature", "is 0");
    rig_assert_fault(rig, 18, "/classifier/heads", "not a known key");
    rig_assert_fault(rig, 18, "/priority", "from -100 to 100, is 101");
    rig_assert_fault(rig, 18, "/encoder_id", "is no encoder");
    rig_assert_fault(rig, 18, "/shots", "not a known key");
    rig_assert_fault(rig, 18, "/borders", "borders must be off or assign, but is 'mark'");
    rig_assert_fault(rig, 18, "/unknown", "must be true or false");
}

static void flattening_is_checked(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    post(rig, ",\"flatten\":{\"order\":5}");
    rig_assert_fault(rig, 3, "/flatten/method", "is required");
    rig_assert_fault(rig, 3, "/flatten/order", "from 2 to 4, is 5");
    rig_assert_fault(rig, 3, "/flatten", "order is of polynomial");
    post(rig, ",\"flatten\":{\"method\":\"ball\",\"scale\":8}");
    rig_assert_fault(rig, 3, "/flatten/method", "plane, polynomial or large_scale, but is 'ball'");
    rig_assert_fault(rig, 3, "/flatten/scale", "from 16 to 4096, is 8");
    rig_assert_fault(rig, 3, "/flatten", "scale is of large_scale");
    post(rig, ",\"flatten\":{\"method\":\"plane\",\"scale\":100}");
    rig_assert_fault(rig, 1, "/flatten", "scale is of large_scale");
}

static void input_sizes_are_checked(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *value, *pointer, *detail;
    } cases[] = {
        {"[]", "/input_sizes", "must have 1 to 3 elements, has 0"},
        {"[16,17,18,19]", "/input_sizes", "must have 1 to 3 elements, has 4"},
        {"48", "/input_sizes", "must be an array"},
        {"null", "/input_sizes", "must be an array"},
        {"[15]", "/input_sizes/0", "from 16 to 512, is 15"},
        {"[48,513]", "/input_sizes/1", "from 16 to 512, is 513"},
        {"[48.5]", "/input_sizes/0", "48.5"},
        {"[96,48]", "/input_sizes/1", "must be larger than the size before it, 96, is 48"},
        {"[48,48]", "/input_sizes/1", "must be larger than the size before it, 48, is 48"},
    };
    rig_fill(rig);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char more[100];
        snprintf(more, sizeof(more), ",\"input_sizes\":%s", cases[i].value);
        post(rig, more);
        rig_assert_problem(rig, 422, "invalid");
        rig_assert_fault(rig, 1, cases[i].pointer, cases[i].detail);
    }
}

/* Too few do not say how far a class reaches. */
static void unknown_takes_five_examples_of_each_class(void **state)
{
    struct rig *rig = *state;
    char body[4000] = "";
    int n = 0;
    rig_fill(rig);
    post(rig, ",\"unknown\":true");
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 2, "/unknown", "needs at least 5 examples of each class: 'film' has ");
    n += snprintf(body, sizeof(body),
                  "{\"name\":\"more\",\"chip\":{\"width\":8,\"height\":8},"
                  "\"classes\":[");
    for (int k = 0; k < 2; k++) {
        n += snprintf(body + n, sizeof(body) - (size_t)n, "%s{\"name\":\"%c\",\"examples\":[",
                      k > 0 ? "," : "", 'a' + k);
        for (int i = 0; i < 5; i++)
            n += snprintf(body + n, sizeof(body) - (size_t)n,
                          "%s{\"image_id\":\"%s\",\"x\":%d,\"y\":%d}", i > 0 ? "," : "", rig->image,
                          8 * i, 8 * k);
        n += snprintf(body + n, sizeof(body) - (size_t)n, "]}");
    }
    snprintf(body + n, sizeof(body) - (size_t)n, "]}");
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects/%s/support-sets", rig->project),
                     201);
    char set[DB_ID_SIZE];
    snprintf(set, sizeof(set), "%s", rig_text(rig, "/id"));
    snprintf(body, sizeof(body),
             "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\"],\"unknown\":true}", set,
             rig->image);
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects/%s/jobs", rig->project), 202);
    assert_true(json_is_true(rig_at(rig, "/params/unknown")));
}

/* What this processor offers is taken; the rest is refused, never computed in another precision. */
static void precisions_are_checked(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(post(rig, ",\"precision\":\"float32\""), 202);
    assert_string_equal(rig_text(rig, "/params/precision"), "float32");
    for (enum precision i = PRECISION_BFLOAT16; i < PRECISIONS; i++) {
        char more[100], detail[100];
        snprintf(more, sizeof(more), ",\"precision\":\"%s\"", precision_name(i));
        post(rig, more);
        if (precision_check(i, NULL) == 0) {
            assert_int_equal(rig->response.status, 202);
            assert_string_equal(rig_text(rig, "/params/precision"), precision_name(i));
        } else {
            snprintf(detail, sizeof(detail), "'%s' is not offered here", precision_name(i));
            rig_assert_problem(rig, 422, "invalid");
            rig_assert_fault(rig, 1, "/precision", detail);
        }
    }
    static const char *const wrong[] = {"\"int4\"", "\"Float32\"", "\"\"", "16", "null"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char more[100];
        snprintf(more, sizeof(more), ",\"precision\":%s", wrong[i]);
        post(rig, more);
        rig_assert_problem(rig, 422, "invalid");
        rig_assert_fault(rig, 1, "/precision", i < 2 ? "is not float32, bfloat16 or int8" : "");
    }
}

static void heads_are_checked(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(post(rig, ""), 202);
    assert_string_equal(rig_text(rig, "/params/head"), "prototypes");
    assert_int_equal(post(rig, ",\"head\":\"auto\""), 202);
    assert_string_equal(rig_text(rig, "/params/head"), "auto");
    post(rig, ",\"head\":\"svm\"");
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 1, "/head", "head must be auto, prototypes or ridge, but is 'svm'");
    post(rig, ",\"head\":\"ridge\",\"classifier\":{\"distance\":\"cosine\"}");
    rig_assert_fault(rig, 1, "/head", "head ridge needs the distance euclidean");
    post(rig, ",\"head\":\"ridge\"");
    rig_assert_fault(rig, 1, "/head", "needs 2 examples of each class, class '");
}

static void references_are_checked(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(post(rig, ""), 202);
    assert_string_equal(rig_text(rig, "/params/reference"), "auto");
    assert_int_equal(post(rig, ",\"reference\":\"series\""), 202);
    assert_string_equal(rig_text(rig, "/params/reference"), "series");
    /* Nobody asks for what was done before there was a choice. */
    post(rig, ",\"reference\":\"target\"");
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 1, "/reference",
                     "reference must be auto, image, support or series, but is 'target'");
}

/* A job says how it is encoded; what it leaves open, the encoder decides. */
static void encodings_are_filled_in(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(post(rig, ""), 202);
    assert_string_equal(rig_text(rig, "/params/encoding"), "chips");
    assert_int_equal(post(rig, ",\"encoding\":\"dense\""), 202);
    assert_string_equal(rig_text(rig, "/params/encoding"), "dense");
    rig_add_encoder(rig, "dense");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/encoders/%s", rig->encoder), 200);
    assert_string_equal(rig_text(rig, "/encoding"), "dense");
    assert_int_equal(post(rig, ""), 202);
    assert_string_equal(rig_text(rig, "/encoder_id"), rig->encoder);
    assert_string_equal(rig_text(rig, "/params/encoding"), "dense");
    assert_int_equal(post(rig, ",\"encoding\":\"chips\""), 202);
    assert_string_equal(rig_text(rig, "/params/encoding"), "chips");
    /* A row that no version of this program wrote. */
    rig_add_encoder(rig, "sparse");
    assert_int_equal(post(rig, ""), 500);
    assert_int_equal(post(rig, ",\"encoding\":\"dense\""), 202);
}

/* Chips of 8 pixels: the finest step is 1 pixel at an input of 32, the encoder's, and 2 at 16. */
static void encodings_are_checked(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *more, *pointer, *detail;
    } cases[] = {
        {"\"encoding\":\"tiles\"", "/encoding", "encoding 'tiles' is not chips or dense"},
        {"\"encoding\":\"Dense\"", "/encoding", "encoding 'Dense' is not chips or dense"},
        {"\"encoding\":\"\"", "/encoding", ""},
        {"\"encoding\":1", "/encoding", "must be a string"},
        {"\"encoding\":null", "/encoding", "must be a string"},
        {"\"encoding\":\"dense\",\"input_sizes\":[48,385]", "/encoding",
         "input size 385 is above 384, the largest that dense encoding takes"},
        {"\"encoding\":\"dense\",\"input_sizes\":[16],\"stride\":1", "/stride",
         "1 pixels along x is below the finest step of dense encoding, 2.00 pixels for 8 pixel "
         "chips"},
        {"\"encoding\":\"dense\",\"input_sizes\":[16],\"stride\":{\"x\":2,\"y\":1}", "/stride",
         "1 pixels along y is below"},
    };
    static const char *const right[] = {
        "\"encoding\":\"chips\",\"input_sizes\":[48,385]",
        "\"encoding\":\"chips\",\"input_sizes\":[16],\"stride\":1",
        "\"encoding\":\"dense\",\"input_sizes\":[16],\"stride\":2",
        "\"encoding\":\"dense\",\"input_sizes\":[16,32],\"stride\":1",
        "\"encoding\":\"dense\",\"stride\":1",
    };
    char more[200];
    rig_fill(rig);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(more, sizeof(more), ",%s", cases[i].more);
        post(rig, more);
        rig_assert_problem(rig, 422, "invalid");
        rig_assert_fault(rig, 1, cases[i].pointer, cases[i].detail);
    }
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        snprintf(more, sizeof(more), ",%s", right[i]);
        assert_int_equal(post(rig, more), 202);
    }
    /* The encoder chose dense, the request what it cannot have: that is named. */
    rig_add_encoder(rig, "dense");
    post(rig, ",\"input_sizes\":[385]");
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 1, "/input_sizes", "input size 385 is above 384");
}

static void images_are_checked_one_by_one(void **state)
{
    struct rig *rig = *state;
    char body[1000], small[DB_ID_SIZE], foreign[DB_ID_SIZE];
    size_t size;
    rig_fill(rig);
    void *png = rig_png(7, 9, 3, &size);
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project);
    snprintf(small, sizeof(small), "%s", rig_text(rig, "/id"));
    rig_send(rig, "POST", "{\"name\":\"q\"}", "/v1/projects");
    char *other = strdup(rig_text(rig, "/id"));
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", other);
    snprintf(foreign, sizeof(foreign), "%s", rig_text(rig, "/id"));
    free(png);
    snprintf(body, sizeof(body),
             "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\",\"%s\",\"%s\",\"%s\",\"img_\",7]}",
             rig->set, rig->image, small, foreign, rig->image);
    rig_send(rig, "POST", body, "/v1/projects/%s/jobs", rig->project);
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 5, "/image_ids/1", "7");
    rig_assert_fault(rig, 5, "/image_ids/2", "is no image of project");
    rig_assert_fault(rig, 5, "/image_ids/3", "is the same image as element 0");
    rig_assert_fault(rig, 5, "/image_ids/4", "is no image");
    rig_assert_fault(rig, 5, "/image_ids/5", "must be a string");
    /* The set of one project cannot classify another's images. */
    snprintf(body, sizeof(body), "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\"]}", rig->set,
             foreign);
    rig_send(rig, "POST", body, "/v1/projects/%s/jobs", other);
    rig_assert_fault(rig, 1, "/support_set_id", "is no support set of project");
    free(other);
    rig_send(rig, "POST", "{\"support_set_id\":\"sup_\",\"image_ids\":[]}", "/v1/projects/%s/jobs",
             rig->project);
    rig_assert_fault(rig, 2, "/image_ids", "must have 1 to 10000 elements, has 0");
    rig_send(rig, "POST", "{}", "/v1/projects/%s/jobs", rig->project);
    rig_assert_fault(rig, 2, "/support_set_id", "is required");
    rig_assert_fault(rig, 2, "/image_ids", "is required");
}

static void limits_are_the_configured_ones(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    rig->limits.max_chips_per_image = 14;
    rig->limits.max_queued_jobs = 2;
    rig_restart_api(rig);
    post(rig, "");
    rig_assert_fault(rig, 1, "/image_ids/0", "14");
    assert_int_equal(post(rig, ",\"stride\":16"), 202);
    assert_int_equal(post(rig, ",\"stride\":16"), 202);
    assert_int_equal((int)rig_number(rig, "/queue_position"), 1);
    post(rig, ",\"stride\":16");
    rig_assert_problem(rig, 503, "busy");
    assert_string_equal(rig_got(rig, "Retry-After"), "5");
    assert_int_equal(rig->n_changed, 2);
}

static void an_encoder_is_needed(void **state)
{
    struct rig *rig = *state;
    rig_send(rig, "POST", "{\"name\":\"p\"}", "/v1/projects");
    rig_send(rig, "POST",
             "{\"support_set_id\":\"sup_01JABCDEFGHJKMNPQRSTVWXYZ0\",\"image_ids\":[\"img_x\"]}",
             "/v1/projects/%s/jobs", strdupa(rig_text(rig, "/id")));
    rig_assert_fault(rig, 3, "/encoder_id", "no default encoder");
}

static void waiting_answers_when_the_job_ends(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    rig_header(rig, "Prefer", "respond-async, wait=100");
    assert_int_equal(post(rig, ""), 202);
    assert_int_equal(rig->waited_ms, 30000);
    assert_string_equal(rig_got(rig, "Preference-Applied"), "wait=30");
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    rig->finish_on_wait = true;
    rig_header(rig, "Prefer", "wait=5");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s", id), 200);
    assert_int_equal(rig->waited_ms, 5000);
    assert_string_equal(rig_text(rig, "/state"), "succeeded");
    assert_true(json_is_null(rig_at(rig, "/eta_seconds")));
    assert_true(json_is_null(rig_at(rig, "/queue_position")));
    assert_true(json_is_string(rig_at(rig, "/finished_at")));
    assert_int_equal((int)rig_number(rig, "/progress/done"), 15);
    rig_header(rig, "Prefer", "wait=2");
    assert_int_equal(post(rig, ""), 200);
    assert_string_equal(rig_text(rig, "/state"), "succeeded");
    assert_string_equal(rig_got(rig, "Retry-After"), "");
    /* A job that has ended is not waited for. */
    rig->waited_ms = 0;
    rig_header(rig, "Prefer", "wait=5");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s", id), 200);
    assert_int_equal(rig->waited_ms, 0);
}

static void a_key_replays_the_job(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    rig_header(rig, "Idempotency-Key", "k-1");
    assert_int_equal(post(rig, ""), 202);
    assert_string_equal(rig_got(rig, "Idempotency-Replayed"), "");
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    rig_header(rig, "Idempotency-Key", "k-1");
    assert_int_equal(post(rig, ""), 202);
    assert_string_equal(rig_got(rig, "Idempotency-Replayed"), "true");
    assert_string_equal(rig_text(rig, "/id"), id);
    assert_int_equal(rig->n_changed, 1);
    rig_header(rig, "Idempotency-Key", "k-1");
    post(rig, ",\"priority\":1");
    rig_assert_problem(rig, 422, "idempotency-key-reused");
    rig_header(rig, "Idempotency-Key", "k-2");
    assert_int_equal(post(rig, ",\"priority\":1"), 202);
    static const char *const keys[] = {"", "a b", "\xc3\xa4"};
    for (int i = 0; i < 3; i++) {
        rig_header(rig, "Idempotency-Key", keys[i]);
        post(rig, "");
        rig_assert_fault(rig, 1, "Idempotency-Key", "1 to 255 visible ASCII");
    }
    char key[257];
    memset(key, 'k', 256);
    key[256] = '\0';
    rig_header(rig, "Idempotency-Key", key);
    assert_int_equal(post(rig, ""), 422);
    rig_header(rig, "Idempotency-Key", key + 1);
    assert_int_equal(post(rig, ""), 202);
}

static void cancelling_is_idempotent(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    rig_add_job(rig, id);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_send(rig, "POST", NULL, "/v1/jobs/%s/cancel", id), 200);
        assert_string_equal(rig_text(rig, "/state"), "cancelled");
        assert_string_equal(rig->changed_id, id);
    }
    rig_add_job(rig, id);
    rig_finish_job(rig, DB_JOB_RUNNING);
    assert_int_equal(rig_send(rig, "POST", NULL, "/v1/jobs/%s/cancel", id), 200);
    assert_string_equal(rig_text(rig, "/state"), "running");
    assert_true(json_is_true(rig_at(rig, "/cancel_requested")));
    rig_add_job(rig, id);
    rig_finish_job(rig, DB_JOB_FAILED);
    rig_send(rig, "POST", NULL, "/v1/jobs/%s/cancel", id);
    rig_assert_problem(rig, 409, "conflict");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s", id);
    assert_string_equal(rig_text(rig, "/error/code"), "corrupt");
    assert_string_equal(rig_text(rig, "/error/message"), "it broke");
    rig_send(rig, "POST", NULL, "/v1/jobs/job_01JABCDEFGHJKMNPQRSTVWXYZ0/cancel");
    rig_assert_problem(rig, 404, "not-found");
}

static void jobs_are_listed_by_state(void **state)
{
    struct rig *rig = *state;
    char first[DB_ID_SIZE], second[DB_ID_SIZE], third[DB_ID_SIZE];
    rig_fill(rig);
    rig_add_job(rig, first);
    rig_add_job(rig, second);
    rig_add_job(rig, third);
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
    rig_send(rig, "GET", NULL, "/v1/projects/%s/jobs?state=queued&limit=1", rig->project);
    assert_string_equal(rig_text(rig, "/items/0/id"), second);
    assert_null(json_object_get(rig_at(rig, "/items/0"), "image_ids"));
    assert_int_equal((int)rig_number(rig, "/items/0/n_images"), 1);
    assert_non_null(strstr(rig_got(rig, "Link"), "&state=queued&cursor="));
    char *next = strdup(rig_text(rig, "/next"));
    rig_send(rig, "GET", NULL, "/v1/projects/%s/jobs?cursor=%s&state=queued", rig->project, next);
    free(next);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
    assert_string_equal(rig_text(rig, "/items/0/id"), third);
    rig_send(rig, "GET", NULL, "/v1/projects/%s/jobs?state=done", rig->project);
    rig_assert_fault(rig, 1, "state", "queued, running, succeeded, failed or cancelled, is 'done'");
    rig_send(rig, "DELETE", NULL, "/v1/projects/%s", rig->project);
    rig_assert_problem(rig, 409, "conflict");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_is_stored_with_its_defaults),
        TEST(every_parameter_is_taken),
        TEST(every_faulty_parameter_is_named),
        TEST(flattening_is_checked),
        TEST(input_sizes_are_checked),
        TEST(unknown_takes_five_examples_of_each_class),
        TEST(precisions_are_checked),
        TEST(heads_are_checked),
        TEST(references_are_checked),
        TEST(encodings_are_filled_in),
        TEST(encodings_are_checked),
        TEST(images_are_checked_one_by_one),
        TEST(limits_are_the_configured_ones),
        TEST(an_encoder_is_needed),
        TEST(waiting_answers_when_the_job_ends),
        TEST(a_key_replays_the_job),
        TEST(cancelling_is_idempotent),
        TEST(jobs_are_listed_by_state),
    };
    return test_run(tests);
}
