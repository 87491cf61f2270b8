/* Files that were damaged behind the server's back: no client gets their bytes for the image's, and
 * the next upload of the image heals them. */
#include "tests/test.h"

#include <signal.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/image/png_write.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

enum { SMALL_SIDE = 64, LARGE_SIDE = 2600 }; /* the large one's file has more than 4 MiB */

struct rig {
    struct server_process server;
    struct client *client;
    char project[WORKFLOW_ID_SIZE];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    /* Only what a test asks for is read. */
    setenv("CHIPSHOT_SCRUB_RATE", "0", 1);
    server_init(&rig->server);
    server_start(&rig->server, NULL);
    rig->client = client_create(rig->server.port);
    workflow_project(rig->client, rig->project);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    client_destroy(rig->client);
    server_clear(&rig->server);
    free(rig);
    return 0;
}

struct picture {
    struct png_bytes png;
    char id[WORKFLOW_ID_SIZE];
    char sha256[WORKFLOW_ID_SIZE + 1];
    char path[700]; /* of its file */
};

/* Noise, which does not compress. */
static void draw(struct picture *picture, unsigned side, uint64_t seed)
{
    uint8_t *pixels = malloc((size_t)side * side);
    assert_non_null(pixels);
    uint64_t x = seed * 2654435761 + 1;
    for (size_t i = 0; i < (size_t)side * side; i++) {
        x = x * 6364136223846793005 + 1442695040888963407;
        pixels[i] = (uint8_t)(x >> 56);
    }
    assert_int_equal(png_write_grey8(pixels, side, side, &picture->png, NULL), 0);
    free(pixels);
}

static long upload(struct rig *rig, struct picture *picture)
{
    char target[256];
    snprintf(target, sizeof(target), "/v1/projects/%s/images", rig->project);
    const struct client_request request = {.method = "POST",
                                           .path = target,
                                           .headers = {"Content-Type: image/png"},
                                           .body = (const char *)picture->png.data,
                                           .body_size = picture->png.size};
    struct client_reply reply;
    client_send(rig->client, &request, &reply);
    json_t *json = json_loads(reply.body, 0, NULL);
    snprintf(picture->id, sizeof(picture->id), "%s",
             json_string_value(json_object_get(json, "id")));
    snprintf(picture->sha256, sizeof(picture->sha256), "%s",
             json_string_value(json_object_get(json, "sha256")));
    snprintf(picture->path, sizeof(picture->path), "%s/blobs/%.2s/%s", rig->server.data,
             picture->sha256, picture->sha256);
    json_decref(json);
    const long status = reply.status;
    client_reply_clear(&reply);
    return status;
}

/* Its last byte but some, so that the size stays. */
static void damage(const struct picture *picture)
{
    FILE *file = fopen(picture->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -40, SEEK_END), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, -40, SEEK_END), 0);
    assert_true(fputc(byte ^ 1, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static long get(struct rig *rig, const struct picture *picture, const char *tail,
                struct client_reply *reply)
{
    char target[256];
    snprintf(target, sizeof(target), "/v1/images/%s%s", picture->id, tail);
    const struct client_request request = {.path = target};
    client_send(rig->client, &request, reply);
    return reply->status;
}

static long get_status(struct rig *rig, const struct picture *picture, const char *tail)
{
    struct client_reply reply;
    const long status = get(rig, picture, tail, &reply);
    client_reply_clear(&reply);
    return status;
}

static void expect_content(struct rig *rig, const struct picture *picture)
{
    struct client_reply reply;
    assert_int_equal(get(rig, picture, "/content", &reply), 200);
    assert_int_equal(reply.body_size, picture->png.size);
    assert_memory_equal(reply.body, picture->png.data, picture->png.size);
    client_reply_clear(&reply);
}

static void uploading_it_again_heals_it(void **state)
{
    struct rig *rig = *state;
    struct picture picture = {.id = ""};
    draw(&picture, SMALL_SIDE, 1);
    assert_int_equal(upload(rig, &picture), 201);
    expect_content(rig, &picture);
    damage(&picture);
    assert_int_equal(upload(rig, &picture), 200);
    expect_content(rig, &picture);
    server_wait_log(&rig->server, "event=data_healed");
    png_bytes_clear(&picture.png);
}

static void a_small_one_is_an_error(void **state)
{
    struct rig *rig = *state;
    struct picture picture = {.id = ""};
    struct client_reply reply;
    draw(&picture, SMALL_SIDE, 1);
    assert_int_equal(upload(rig, &picture), 201);
    damage(&picture);
    assert_int_equal(get(rig, &picture, "/content", &reply), 500);
    assert_null(strstr(reply.headers, "ETag"));
    client_reply_clear(&reply);
    server_wait_log(&rig->server, "level=error event=data_damaged sha256=");
    server_wait_log(&rig->server, "its file is damaged: its SHA-256 is ");
    assert_true(workflow_metric(rig->client, "chipshot_blobs_damaged") == 1);
    assert_int_equal(upload(rig, &picture), 200);
    expect_content(rig, &picture);
    assert_true(workflow_metric(rig->client, "chipshot_blobs_damaged") == 0);
    png_bytes_clear(&picture.png);
}

/* Its head is out before its end is read: the connection is cut instead. */
static void a_large_one_does_not_come_whole(void **state)
{
    struct rig *rig = *state;
    struct picture picture = {.id = ""};
    static char out[8 << 20];
    char request[512], length[64];
    draw(&picture, LARGE_SIDE, 1);
    assert_true(picture.png.size > 4 << 20 && picture.png.size < sizeof(out) - 4096);
    assert_int_equal(upload(rig, &picture), 201);
    expect_content(rig, &picture);
    damage(&picture);
    snprintf(request, sizeof(request),
             "GET /v1/images/%s/content HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
             picture.id);
    int fd = raw_connect(rig->server.port);
    raw_print(fd, request);
    const size_t n = raw_read_to_end(fd, out, sizeof(out));
    close(fd);
    assert_memory_equal(out, "HTTP/1.1 200", 12);
    snprintf(length, sizeof(length), "Content-Length: %zu\r\n", picture.png.size);
    assert_non_null(strstr(out, length));
    const char *body = strstr(out, "\r\n\r\n");
    assert_non_null(body);
    assert_true(n - (size_t)(body + 4 - out) < picture.png.size);
    server_wait_log(&rig->server, "event=data_damaged");
    server_wait_log(&rig->server, "its file is damaged: its SHA-256 is ");
    png_bytes_clear(&picture.png);
}

/* They are answered from what is known without the file. */
static void asking_about_it_does_not_read_it(void **state)
{
    struct rig *rig = *state;
    struct picture picture = {.id = ""};
    struct client_reply reply;
    char target[256], tag[128], length[64];
    draw(&picture, SMALL_SIDE, 1);
    assert_int_equal(upload(rig, &picture), 201);
    damage(&picture);
    snprintf(target, sizeof(target), "/v1/images/%s/content", picture.id);
    const struct client_request head = {.method = "HEAD", .path = target};
    client_send(rig->client, &head, &reply);
    assert_int_equal(reply.status, 200);
    snprintf(length, sizeof(length), "Content-Length: %zu", picture.png.size);
    assert_non_null(strstr(reply.headers, length));
    client_reply_clear(&reply);
    snprintf(tag, sizeof(tag), "If-None-Match: \"%s\"", picture.sha256);
    const struct client_request conditional = {.path = target, .headers = {tag}};
    client_send(rig->client, &conditional, &reply);
    assert_int_equal(reply.status, 304);
    client_reply_clear(&reply);
    assert_true(workflow_metric(rig->client, "chipshot_blobs_damaged") == 0);
    png_bytes_clear(&picture.png);
}

static void exchange(const struct picture *a, const struct picture *b)
{
    char aside[720];
    snprintf(aside, sizeof(aside), "%s.aside", a->path);
    assert_int_equal(rename(a->path, aside), 0);
    assert_int_equal(rename(b->path, a->path), 0);
    assert_int_equal(rename(aside, b->path), 0);
}

/* Another image in its place is whole in itself. */
static void no_picture_and_no_result_comes_of_it(void **state)
{
    struct rig *rig = *state;
    struct picture mine = {.id = ""}, others = {.id = ""};
    char set[WORKFLOW_ID_SIZE], job[WORKFLOW_ID_SIZE], target[256], body[2048];
    draw(&mine, SMALL_SIDE, 1);
    draw(&others, SMALL_SIDE, 2);
    assert_int_equal(upload(rig, &mine), 201);
    assert_int_equal(upload(rig, &others), 201);
    snprintf(body, sizeof(body),
             "{\"name\":\"s\",\"chip\":{\"width\":16,\"height\":16},\"classes\":["
             "{\"name\":\"a\",\"color\":\"#ff0000\",\"examples\":["
             "{\"image_id\":\"%s\",\"x\":0,\"y\":0}]},"
             "{\"name\":\"b\",\"color\":\"#00ff00\",\"examples\":["
             "{\"image_id\":\"%s\",\"x\":32,\"y\":32}]}]}",
             mine.id, mine.id);
    snprintf(target, sizeof(target), "/v1/projects/%s/support-sets", rig->project);
    json_t *json = workflow_json(rig->client, "POST", target, body, 0, 201);
    snprintf(set, sizeof(set), "%s", json_string_value(json_object_get(json, "id")));
    json_decref(json);
    exchange(&mine, &others);
    assert_int_equal(get_status(rig, &mine, "/preview.png"), 500);
    assert_int_equal(get_status(rig, &mine, "/chips/0,0.png?width=16&height=16"), 500);
    workflow_submit(rig->client, rig->project, set, mine.id, job);
    workflow_wait(rig->client, job, "failed");
    snprintf(target, sizeof(target), "/v1/jobs/%s", job);
    json = workflow_json(rig->client, "GET", target, NULL, 0, 200);
    const json_t *error = json_object_get(json, "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "corrupt");
    assert_non_null(
        strstr(json_string_value(json_object_get(error, "message")), "its file is damaged"));
    json_decref(json);
    /* Once it is healed it is as good as ever. */
    assert_int_equal(upload(rig, &mine), 200);
    assert_int_equal(get_status(rig, &mine, "/preview.png"), 200);
    png_bytes_clear(&mine.png);
    png_bytes_clear(&others.png);
}

/* Nobody asked for it. */
static void the_scrub_finds_it(void **state)
{
    struct rig *rig = *state;
    struct picture picture = {.id = ""};
    struct client_reply reply;
    draw(&picture, SMALL_SIDE, 1);
    assert_int_equal(upload(rig, &picture), 201);
    damage(&picture);
    client_destroy(rig->client);
    assert_int_equal(server_stop(&rig->server, SIGTERM), 0);
    setenv("CHIPSHOT_SCRUB_RATE", "64M", 1);
    server_start(&rig->server, NULL);
    rig->client = client_create(rig->server.port);
    server_wait_log(&rig->server, "event=data_damaged");
    server_wait_log(&rig->server, "event=data_scrubbed files=2 ");
    server_wait_log(&rig->server, " damaged=1 unreadable=0");
    client_get(rig->server.port, "/readyz", &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"damaged_files\":1"));
    client_reply_clear(&reply);
    assert_true(workflow_metric(rig->client, "chipshot_blobs_verified_total") >= 2);
    png_bytes_clear(&picture.png);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(uploading_it_again_heals_it),          TEST(a_small_one_is_an_error),
        TEST(a_large_one_does_not_come_whole),      TEST(asking_about_it_does_not_read_it),
        TEST(no_picture_and_no_result_comes_of_it), TEST(the_scrub_finds_it),
    };
    return test_run(tests);
}
