/* Pictures of a large image, which is a small file, through the real binary: what they cost. */
#include "tests/test.h"

#include <unistd.h>
#include <zlib.h>

#include "tests/http/server.h"
#include "tests/http/workflow.h"
#include "tests/unit/engine/image/png_builder.h"

enum {
    WIDTH = 16384,
    HEIGHT = 8192,
    PLANE_KB = WIDTH / 1024 * HEIGHT * 4, /* of the image as floats */
    N_CHIPS = 12,
};

struct fixture {
    struct server_process server;
    struct client *client;
    char image[WORKFLOW_ID_SIZE], sha256[80];
};

/* Squares of 64 pixels: most rows are as the one above, and compress to nearly nothing. */
static struct png_file make_png(void)
{
    enum { NONE = 0, UP = 2 }; /* filters of rows */
    static uint8_t row[1 + WIDTH], packed[1 << 20];
    struct png_file file = {0};
    z_stream stream = {0};
    assert_int_equal(deflateInit(&stream, 1), Z_OK);
    stream.next_out = packed;
    stream.avail_out = sizeof(packed);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        row[0] = y == 0 ? NONE : UP;
        for (uint32_t x = 0; x < WIDTH; x++)
            row[1 + x] = y == 0 ? (uint8_t)(x / 64 * 37) : y % 64 == 0 ? 101 : 0;
        stream.next_in = row;
        stream.avail_in = sizeof(row);
        assert_int_equal(deflate(&stream, y + 1 < HEIGHT ? Z_NO_FLUSH : Z_FINISH),
                         y + 1 < HEIGHT ? Z_OK : Z_STREAM_END);
    }
    png_add_signature(&file);
    png_add_ihdr(&file, WIDTH, HEIGHT, 8, PNG_GREY, 0);
    png_add_chunk(&file, "IDAT", packed, stream.total_out);
    png_add_iend(&file);
    deflateEnd(&stream);
    return file;
}

static void upload(struct fixture *f)
{
    char project[WORKFLOW_ID_SIZE], target[256];
    struct png_file file = make_png();
    struct client_reply reply = {0};
    workflow_project(f->client, project);
    snprintf(target, sizeof(target), "/v1/projects/%s/images", project);
    client_send(f->client,
                &(struct client_request){.method = "POST",
                                         .path = target,
                                         .headers = {"Content-Type: image/png"},
                                         .body = (const char *)file.data,
                                         .body_size = file.size},
                &reply);
    assert_int_equal(reply.status, 201);
    json_t *image = json_loads(reply.body, 0, NULL);
    snprintf(f->image, sizeof(f->image), "%s", json_string_value(json_object_get(image, "id")));
    snprintf(f->sha256, sizeof(f->sha256), "%s",
             json_string_value(json_object_get(image, "sha256")));
    json_decref(image);
    client_reply_clear(&reply);
    png_file_clear(&file);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    server_init(&f->server);
    server_start(&f->server, &(struct server_options){0});
    f->client = client_create(f->server.port);
    upload(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    client_destroy(f->client);
    server_clear(&f->server);
    free(f);
    return 0;
}

static void get_picture(struct fixture *f, const char *tail, struct client_reply *reply)
{
    char target[256];
    snprintf(target, sizeof(target), "/v1/images/%s/%s", f->image, tail);
    client_send(f->client, &(struct client_request){.path = target}, reply);
    if (reply->status != 200)
        fail_msg("%s answered %ld: %.300s", target, reply->status, reply->body);
    assert_memory_equal(reply->body, "\x89PNG", 4);
}

static void get_chip(struct fixture *f, uint32_t row, uint32_t column, struct client_reply *reply)
{
    char tail[100];
    snprintf(tail, sizeof(tail), "chips/%u,%u.png?width=4&height=4", row, column);
    get_picture(f, tail, reply);
}

/* Only the first picture reads the file. */
static void a_chip_does_not_read_the_file_again(void **state)
{
    struct fixture *f = *state;
    struct client_reply first = {0}, again = {0};
    char path[800];
    get_chip(f, 3, 5, &first);
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", f->server.data, f->sha256, f->sha256);
    assert_int_equal(unlink(path), 0);
    get_chip(f, 3, 5, &again);
    assert_int_equal(first.body_size, again.body_size);
    assert_memory_equal(first.body, again.body, first.body_size);
    client_reply_clear(&first);
    client_reply_clear(&again);
    for (uint32_t i = 0; i < N_CHIPS; i++) {
        get_chip(f, i * 170, i * 340, &again);
        client_reply_clear(&again);
    }
    get_picture(f, "preview.png?max_side=64", &again);
    client_reply_clear(&again);
}

/* The most memory that the server ever had, in kB. */
static long peak_memory(const struct fixture *f)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)f->server.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    }
    fclose(file);
    assert_true(kb > 0);
    return kb;
}

/* The decoded image alone would be as much. */
static void pictures_take_the_memory_of_some_rows(void **state)
{
    struct fixture *f = *state;
    struct client_reply reply = {0};
    get_chip(f, 0, 0, &reply);
    client_reply_clear(&reply);
    get_picture(f, "preview.png?max_side=1024", &reply);
    client_reply_clear(&reply);
    const long kb = peak_memory(f);
    if (kb >= PLANE_KB)
        fail_msg("the server took %ld kB; the image is %d kB of floats", kb, PLANE_KB);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_chip_does_not_read_the_file_again),
        TEST(pictures_take_the_memory_of_some_rows),
    };
    return test_run(tests);
}
