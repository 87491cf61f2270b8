/* Request bodies: limits, uploads that break off, slow clients, full disks. */
#include "tests/test.h"

#include <signal.h>
#include <unistd.h>

#include "engine/image/png_write.h"
#include "tests/http/client.h"
#include "tests/http/server.h"
#include "tests/unit/engine/image/png_builder.h"

#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"
#define PNG  "Content-Type: image/png\r\n"

enum { MAX_UPLOAD = 64 * 1024 };

static const char *const limits[] = {"--max-json-size", "4K", "--max-upload-size", "64K", NULL};

/* A server with a project; `images` is the path that takes uploads. */
struct fixture {
    struct server_process server;
    char images[128];
    size_t n_blobs; /* the default encoder's, before any upload */
};

static void create_project(struct fixture *fixture)
{
    struct client *client = client_create(fixture->server.port);
    struct client_reply reply;
    client_send(client,
                &(struct client_request){.method = "POST",
                                         .path = "/v1/projects",
                                         .headers = {"Content-Type: application/json"},
                                         .body = "{\"name\":\"p\"}"},
                &reply);
    assert_int_equal(reply.status, 201);
    char location[100];
    assert_non_null(client_header(&reply, "Location", location, sizeof(location)));
    snprintf(fixture->images, sizeof(fixture->images), "%s/images", location);
    client_reply_clear(&reply);
    client_destroy(client);
}

static void open_fixture(struct fixture *fixture, const struct server_options *options)
{
    server_init(&fixture->server);
    server_start(&fixture->server, options);
    create_project(fixture);
    fixture->n_blobs = server_count_files(&fixture->server, "blobs");
}

/* A clean end, nothing half-written. */
static void close_fixture(struct fixture *fixture)
{
    assert_int_equal(server_stop(&fixture->server, SIGTERM), 0);
    assert_int_equal(server_count_files(&fixture->server, "tmp"), 0);
    server_clear(&fixture->server);
}

static void bodies_over_the_limit_are_refused_unread(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = limits});
    char text[512], out[8192];
    /* No byte of the body is ever sent. */
    snprintf(text, sizeof(text),
             "POST %s HTTP/1.1\r\n" HOST PNG "Content-Length: %d\r\nExpect: 100-continue\r\n\r\n",
             f.images, MAX_UPLOAD + 1);
    assert_int_equal(raw_exchange(f.server.port, text, out, sizeof(out)), 413);
    assert_null(strstr(out, "100 Continue"));
    assert_non_null(strstr(out, "65536"));
    assert_int_equal(raw_exchange(f.server.port,
                                  "POST /v1/projects HTTP/1.1\r\n" HOST JSON
                                  "Content-Length: 4097\r\n\r\n",
                                  out, sizeof(out)),
                     413);
    assert_non_null(strstr(out, "4096"));
    close_fixture(&f);
}

static void refusals_reach_clients_that_send_on(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = limits});
    enum { SIZE = 4 << 20 };
    char *body = calloc(1, SIZE);
    assert_non_null(body);
    struct client *client = client_create(f.server.port);
    struct client_reply reply;
    client_send(client,
                &(struct client_request){.method = "POST",
                                         .path = f.images,
                                         .headers = {"Content-Type: image/png", "Expect:"},
                                         .body = body,
                                         .body_size = SIZE},
                &reply);
    assert_int_equal(reply.status, 413);
    client_reply_clear(&reply);
    client_destroy(client);
    free(body);
    close_fixture(&f);
}

static void chunked_bodies_are_counted(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = limits});
    const char *const paths[] = {"/v1/projects", f.images};
    const char *const types[] = {JSON, PNG};
    static char chunk[MAX_UPLOAD + 1];
    memset(chunk, ' ', sizeof(chunk));
    for (int i = 0; i < 2; i++) {
        char text[512], out[8192];
        int fd = raw_connect(f.server.port);
        snprintf(text, sizeof(text),
                 "POST %s HTTP/1.1\r\n" HOST "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n", paths[i],
                 types[i], MAX_UPLOAD + 1);
        raw_print(fd, text);
        raw_write(fd, chunk, sizeof(chunk));
        /* The body has not ended; the answer comes all the same. */
        raw_read_to_end(fd, out, sizeof(out));
        close(fd);
        assert_memory_equal(out, "HTTP/1.1 413 ", 13);
        assert_int_equal(raw_count_answers(out), 1);
        assert_non_null(strstr(out, "application/problem+json"));
        const char *length = strstr(out, "Content-Length: ");
        assert_int_equal(strtoul(length + 16, NULL, 10), strlen(strstr(out, "\r\n\r\n") + 4));
    }
    close_fixture(&f);
}

static void a_welcome_body_is_asked_for(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = limits});
    char out[8192];
    int fd = raw_connect(f.server.port);
    raw_print(fd, "POST /v1/projects HTTP/1.1\r\n" HOST JSON
                  "Content-Length: 12\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    raw_read_until(fd, "100 Continue\r\n\r\n", out, sizeof(out));
    raw_print(fd, "{\"name\":\"q\"}");
    raw_read_to_end(fd, out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 201 ", 13);
    close(fd);
    close_fixture(&f);
}

static void an_upload_and_its_copy_share_a_connection(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = limits});
    static uint8_t pixels[64 * 64];
    for (size_t i = 0; i < sizeof(pixels); i++)
        pixels[i] = (uint8_t)(i * 7);
    struct png_bytes png = {0};
    assert_int_equal(png_write_grey8(pixels, 64, 64, &png, NULL), 0);
    struct client *client = client_create(f.server.port);
    for (int i = 0; i < 2; i++) {
        struct client_reply reply;
        client_send(client,
                    &(struct client_request){.method = "POST",
                                             .path = f.images,
                                             .headers = {"Content-Type: image/png"},
                                             .body = (const char *)png.data,
                                             .body_size = png.size},
                    &reply);
        assert_int_equal(reply.status, i == 0 ? 201 : 200);
        assert_int_equal(reply.n_connects, i == 0 ? 1 : 0);
        client_reply_clear(&reply);
    }
    /* The file comes back as it was, streamed from disk. */
    struct client_reply list;
    client_send(client, &(struct client_request){.path = f.images}, &list);
    char path[128];
    const char *id = strstr(list.body, "\"img_");
    assert_non_null(id);
    snprintf(path, sizeof(path), "/v1/images/%.30s/content", id + 1);
    struct client_reply content;
    client_send(client, &(struct client_request){.path = path}, &content);
    assert_int_equal(content.status, 200);
    assert_int_equal(content.body_size, png.size);
    assert_memory_equal(content.body, png.data, png.size);
    client_reply_clear(&list);
    client_reply_clear(&content);
    client_destroy(client);
    png_bytes_clear(&png);
    assert_int_equal(server_count_files(&f.server, "blobs"), f.n_blobs + 1);
    close_fixture(&f);
}

static void a_vanished_client_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = limits});
    char text[512];
    static char half[MAX_UPLOAD / 2];
    for (int i = 0; i < 3; i++) {
        int fd = raw_connect(f.server.port);
        snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\n" HOST PNG "Content-Length: %d\r\n\r\n",
                 f.images, MAX_UPLOAD);
        raw_print(fd, text);
        raw_write(fd, half, i == 0 ? 0 : sizeof(half));
        close(fd);
    }
    assert_int_equal(server_count_files(&f.server, "blobs"), f.n_blobs);
    struct client_reply reply;
    client_get(f.server.port, "/livez", &reply);
    assert_int_equal(reply.status, 200);
    client_reply_clear(&reply);
    close_fixture(&f);
}

/* A small image, with 300 MB of zeros behind its last row that take 300 KB: they cost what their
 * bytes in the file cost, and no more. */
static void image_data_without_end_are_refused(void **state)
{
    (void)state;
    enum { SIDE = 512, RAW = 300 << 20 };
    struct fixture f;
    open_fixture(&f, &(struct server_options){0});
    struct png_file file = {NULL, 0};
    uint8_t *raw = calloc(RAW, 1);
    assert_non_null(raw);
    png_add_signature(&file);
    png_add_ihdr(&file, SIDE, SIDE, 8, PNG_GREY, 0);
    png_add_idat(&file, raw, RAW);
    png_add_iend(&file);
    free(raw);
    assert_true(file.size < 1 << 20);
    struct client *client = client_create(f.server.port);
    struct client_reply reply;
    client_send(client,
                &(struct client_request){.method = "POST",
                                         .path = f.images,
                                         .headers = {"Content-Type: image/png"},
                                         .body = (const char *)file.data,
                                         .body_size = file.size},
                &reply);
    assert_int_equal(reply.status, 422);
    assert_non_null(strstr(reply.body, "image data goes on after the last row"));
    client_reply_clear(&reply);
    client_destroy(client);
    png_file_clear(&file);
    assert_int_equal(server_count_files(&f.server, "blobs"), f.n_blobs);
    close_fixture(&f);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct fixture f;
    static const char *const large[] = {"--max-upload-size", "100M", NULL};
    enum { DISK = 32 << 20, SIZE = 40 << 20 }; /* the default encoder has to fit */
    open_fixture(&f, &(struct server_options){.arguments = large, .max_file_size = DISK});
    char *body = calloc(1, SIZE);
    assert_non_null(body);
    struct client *client = client_create(f.server.port);
    struct client_reply reply;
    client_send(client,
                &(struct client_request){.method = "POST",
                                         .path = f.images,
                                         .headers = {"Content-Type: image/png"},
                                         .body = body,
                                         .body_size = SIZE},
                &reply);
    assert_int_equal(reply.status, 507);
    client_reply_clear(&reply);
    client_destroy(client);
    free(body);
    close_fixture(&f);
}

static const char *const hasty[] = {
    "--header-timeout", "1", "--body-timeout", "1", "--idle-timeout", "1", NULL};

/* The client drips a byte for as long as the server takes it; a timeout that restarts at each byte
 * would never end this. */
static size_t drip(int fd, const char *text, char *out, size_t size)
{
    for (size_t i = 0; text[i] != '\0' && raw_wait(fd, 50) == 0; i++)
        raw_write(fd, text + i, 1);
    return raw_read_to_end(fd, out, size);
}

static void dripping_clients_are_cut(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = hasty});
    char text[512], out[8192], slow[2048];
    memset(slow, 'a', sizeof(slow) - 1);
    slow[sizeof(slow) - 1] = '\0';

    int fd = raw_connect(f.server.port); /* says nothing */
    assert_int_equal(raw_read_to_end(fd, out, sizeof(out)), 0);
    close(fd);

    fd = raw_connect(f.server.port); /* a header without end */
    raw_print(fd, "GET /livez HTTP/1.1\r\nX: ");
    assert_int_equal(drip(fd, slow, out, sizeof(out)), 0);
    close(fd);

    fd = raw_connect(f.server.port); /* a slow body is told why */
    snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\n" HOST PNG "Content-Length: 60000\r\n\r\n",
             f.images);
    raw_print(fd, text);
    drip(fd, slow, out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 408 ", 13);
    close(fd);

    fd = raw_connect(f.server.port); /* idle after an answer */
    raw_print(fd, "GET /livez HTTP/1.1\r\n" HOST "\r\n");
    raw_read_to_end(fd, out, sizeof(out));
    assert_int_equal(raw_count_answers(out), 1);
    close(fd);
    close_fixture(&f);
}

static void a_client_that_does_not_read_is_cut(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = hasty});
    /* Noise, so that the stored file is larger than all socket buffers together. */
    enum { SIDE = 4096 };
    uint8_t *pixels = malloc((size_t)SIDE * SIDE);
    assert_non_null(pixels);
    uint32_t random = 1;
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) {
        random = random * 1664525 + 1013904223;
        pixels[i] = (uint8_t)(random >> 24);
    }
    struct png_bytes png = {0};
    assert_int_equal(png_write_grey8(pixels, SIDE, SIDE, &png, NULL), 0);
    free(pixels);
    struct client *client = client_create(f.server.port);
    struct client_reply reply;
    client_send(client,
                &(struct client_request){.method = "POST",
                                         .path = f.images,
                                         .headers = {"Content-Type: image/png"},
                                         .body = (const char *)png.data,
                                         .body_size = png.size},
                &reply);
    assert_int_equal(reply.status, 201);
    char text[256];
    snprintf(text, sizeof(text), "GET /v1/images/%.30s/content HTTP/1.1\r\n" HOST "\r\n",
             strstr(reply.body, "\"img_") + 1);
    client_reply_clear(&reply);
    client_destroy(client);

    int fd = raw_connect(f.server.port);
    raw_print(fd, text);
    /* Nothing is read until the server has given up, which its log tells. */
    server_wait_log(&f.server, "outcome=timeout");
    close(fd);
    png_bytes_clear(&png);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_over_the_limit_are_refused_unread),
        cmocka_unit_test(refusals_reach_clients_that_send_on),
        cmocka_unit_test(chunked_bodies_are_counted),
        cmocka_unit_test(a_welcome_body_is_asked_for),
        cmocka_unit_test(an_upload_and_its_copy_share_a_connection),
        cmocka_unit_test(a_vanished_client_leaves_nothing),
        cmocka_unit_test(image_data_without_end_are_refused),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(dripping_clients_are_cut),
        cmocka_unit_test(a_client_that_does_not_read_is_cut),
    };
    return test_run(tests);
}
