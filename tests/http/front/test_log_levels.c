/* How loud the log is: clients bring about no error, a damaged data directory does. */
#include "tests/test.h"

#include <ftw.h>
#include <signal.h>
#include <unistd.h>

#include "engine/image/png_write.h"
#include "tests/http/client.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

#define HOST  "Host: localhost\r\n"
#define CLOSE "Connection: close\r\n"
#define JSON  "Content-Type: application/json\r\n"

enum { N_GONE = 20 };

static void what_clients_do_is_no_error(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } trials[] = {
        {"GET / HTTP/1.1\r\n" CLOSE "\r\n", 400},
        {"GET /v1/none HTTP/1.1\r\n" HOST CLOSE "\r\n", 404},
        {"DELETE /livez HTTP/1.1\r\n" HOST CLOSE "\r\n", 405},
        {"GET /livez HTTP/1.1\r\n" HOST CLOSE "Accept: image/png\r\n\r\n", 406},
        {"GET /livez HTTP/1.1\r\nHost: evil.com\r\n" CLOSE "\r\n", 421},
        {"GET /livez HTTP/1.1\r\n" HOST CLOSE "Expect: wonders\r\n\r\n", 417},
        {"BREW /livez HTTP/1.1\r\n" HOST CLOSE "\r\n", 501},
        {"POST /v1/projects HTTP/1.1\r\n" HOST CLOSE JSON "Content-Length: 2\r\n\r\n{}", 422},
        {"POST /v1/projects HTTP/1.1\r\n" HOST CLOSE JSON "Content-Length: 1\r\n\r\n{", 400},
        {"POST /v1/projects HTTP/1.1\r\n" HOST CLOSE JSON "Content-Length: 99999999\r\n\r\n", 413},
    };
    struct server_process server;
    static char out[65536];
    server_init(&server);
    server_start(&server, NULL);
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        int status = raw_exchange(server.port, trials[i].text, out, sizeof(out));
        if (status != trials[i].status)
            fail_msg("%d: %s", status, trials[i].text);
    }
    /* Some that go in the middle of their bodies, with the last of their bytes. */
    for (int i = 0; i < N_GONE; i++) {
        int gone = raw_connect(server.port);
        raw_print(gone, "POST /v1/projects HTTP/1.1\r\n" HOST JSON
                        "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n");
        raw_read_until(gone, "100 Continue\r\n\r\n", out, sizeof(out));
        raw_print(gone, "{\"na");
        close(gone);
    }
    for (int n = 0; n < N_GONE;) {
        server_wait_log(&server, "outcome=aborted");
        server_read_log(&server, out, sizeof(out));
        n = 0;
        for (const char *at = out; (at = strstr(at, "outcome=aborted")) != NULL; at++)
            n++;
        assert_null(strstr(out, "outcome=timeout"));
    }
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_read_log(&server, out, sizeof(out));
    const char *loud = strstr(out, "level=error");
    if (loud == NULL)
        loud = strstr(out, "level=warn");
    if (loud != NULL)
        fail_msg("%.300s", loud);
    server_clear(&server);
}

static int damage_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)walk;
    if (kind == FTW_F && status->st_size < 10000) /* the image; the default encoder is larger */
        assert_int_equal(truncate(path, status->st_size / 2), 0);
    return 0;
}

static void a_damaged_image_is_an_error(void **state)
{
    (void)state;
    struct server_process server;
    static uint8_t pixels[32 * 32];
    struct png_bytes png = {0};
    char project[WORKFLOW_ID_SIZE], path[600];
    static char out[65536];
    assert_int_equal(png_write_grey8(pixels, 32, 32, &png, NULL), 0);
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    workflow_project(client, project);
    snprintf(path, sizeof(path), "/v1/projects/%s/images", project);
    const struct client_request upload = {.method = "POST",
                                          .path = path,
                                          .headers = {"Content-Type: image/png"},
                                          .body = (const char *)png.data,
                                          .body_size = png.size};
    struct client_reply reply;
    client_send(client, &upload, &reply);
    assert_int_equal(reply.status, 201);
    char location[200], target[300], blobs[600];
    assert_non_null(client_header(&reply, "Location", location, sizeof(location)));
    client_reply_clear(&reply);
    snprintf(blobs, sizeof(blobs), "%s/blobs", server.data);
    assert_int_equal(nftw(blobs, damage_one, 16, FTW_PHYS), 0);
    snprintf(target, sizeof(target), "%s/preview.png", location);
    client_send(client, &(struct client_request){.path = target}, &reply);
    assert_int_equal(reply.status, 500);
    client_reply_clear(&reply);
    client_destroy(client);
    png_bytes_clear(&png);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_read_log(&server, out, sizeof(out));
    const char *loud = strstr(out, "level=error event=request");
    assert_non_null(loud);
    assert_non_null(strstr(loud, "status=500"));
    assert_non_null(strstr(loud, "error=corrupt"));
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_clients_do_is_no_error),
        cmocka_unit_test(a_damaged_image_is_an_error),
    };
    return test_run(tests);
}
