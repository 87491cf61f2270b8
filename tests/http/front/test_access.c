/* Who is answered: loopback without keys, bearer tokens with them. */
#include "tests/test.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/data.h"
#include "db/projects.h"
#include "tests/http/client.h"
#include "tests/http/server.h"

static int get_status(const struct server_process *server, const char *path, const char *headers,
                      char *out, size_t size)
{
    char text[1024];
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nConnection: close\r\n%s\r\n", path, headers);
    return raw_exchange(server->port, text, out, size);
}

static void a_rebound_name_is_misdirected(void **state)
{
    (void)state;
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    char out[16384], own[256];
    snprintf(own, sizeof(own), "Host: 127.0.0.1:%u\r\nOrigin: http://localhost:%u\r\n", server.port,
             server.port);
    const struct {
        const char *headers;
        int status;
    } trials[] = {
        {"Host: localhost\r\n", 200},
        {"Host: LOCALHOST:80\r\n", 200},
        {"Host: [::1]:8080\r\n", 200},
        {own, 200},
        {"Host: localhost\r\nSec-Fetch-Site: same-origin\r\n", 200},
        {"Host: localhost\r\nSec-Fetch-Site: none\r\n", 200},
        {"Host: evil.com\r\n", 421},
        {"Host: 127.0.0.1.evil.com\r\n", 421},
        {"Host: user@localhost\r\n", 421},
        {"Host: 127.1\r\n", 421},
        {"Host: \r\n", 421},
        {"Host: localhost\r\nOrigin: http://evil.com\r\n", 403},
        {"Host: localhost\r\nOrigin: null\r\n", 403},
        {"Host: localhost\r\nOrigin: http://localhost:1\r\n", 403},
        {"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403},
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        int status = get_status(&server, "/v1/projects", trials[i].headers, out, sizeof(out));
        if (status != trials[i].status)
            fail_msg("%s: %d", trials[i].headers, status);
        assert_null(strstr(out, "Access-Control"));
    }
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

static void keys_are_asked_for(void **state)
{
    (void)state;
    struct server_process server;
    char out[16384], token[128], header[512];
    server_init(&server);
    server_create_key(&server, token, sizeof(token));
    server_start(&server, NULL);

    assert_int_equal(get_status(&server, "/livez", "Host: any\r\n", out, sizeof(out)), 200);
    assert_int_equal(get_status(&server, "/v1/projects", "Host: localhost\r\n", out, sizeof(out)),
                     401);
    assert_non_null(strstr(out, "WWW-Authenticate: Bearer"));
    assert_int_equal(get_status(&server, "/metrics", "Host: localhost\r\n", out, sizeof(out)), 401);
    snprintf(header, sizeof(header), "Host: any\r\nAuthorization: Bearer %sx\r\n", token);
    assert_int_equal(get_status(&server, "/v1/projects", header, out, sizeof(out)), 401);
    assert_null(strstr(out, token));
    snprintf(header, sizeof(header), "Host: any\r\nAuthorization: Basic %s\r\n", token);
    assert_int_equal(get_status(&server, "/v1/projects", header, out, sizeof(out)), 401);
    snprintf(header, sizeof(header), "Host: any\r\nAuthorization: bearer %s\r\n", token);
    assert_int_equal(get_status(&server, "/v1/projects", header, out, sizeof(out)), 200);
    /* An unauthorised upload is refused before its body. */
    assert_int_equal(raw_exchange(server.port,
                                  "POST /v1/projects HTTP/1.1\r\nHost: any\r\nContent-Type: "
                                  "application/json\r\nContent-Length: 12\r\n"
                                  "Expect: 100-continue\r\n\r\n",
                                  out, sizeof(out)),
                     401);
    assert_null(strstr(out, "100 Continue"));

    assert_int_equal(server_stop(&server, SIGTERM), 0);
    char log[16384];
    server_read_log(&server, log, sizeof(log));
    assert_null(strstr(log, token));
    assert_non_null(strstr(log, "key=key_"));
    server_clear(&server);
}

/* Whose the only project of a stopped server is. */
static void expect_owner(const struct server_process *server, const char *prefix)
{
    struct data *data = NULL;
    struct error err = {0};
    struct db_project_list list = {0};
    const struct data_config config = {.directory = server->data};
    const struct db_page page = {.limit = 10};
    assert_int_equal(data_open(&data, &config, &err), 0);
    assert_int_equal(db_project_list(data->db, &page, &list, &err), 0);
    assert_int_equal(list.n_items, 1);
    assert_memory_equal(list.items[0].created_by, prefix, strlen(prefix));
    db_project_list_clear(&list);
    data_close(data);
}

static void rows_say_who_asked(void **state)
{
    (void)state;
    char out[16384], token[128], text[1024];
    for (int with_key = 0; with_key < 2; with_key++) {
        struct server_process server;
        server_init(&server);
        if (with_key)
            server_create_key(&server, token, sizeof(token));
        server_start(&server, NULL);
        snprintf(text, sizeof(text),
                 "POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 "Content-Type: application/json\r\nContent-Length: 12\r\n%s%s%s\r\n"
                 "{\"name\":\"p\"}",
                 with_key ? "Authorization: Bearer " : "", with_key ? token : "",
                 with_key ? "\r\n" : "");
        assert_int_equal(raw_exchange(server.port, text, out, sizeof(out)), 201);
        assert_null(strstr(out, "created_by"));
        assert_int_equal(server_stop(&server, SIGTERM), 0);
        expect_owner(&server, with_key ? "key_" : PRINCIPAL_ANONYMOUS);
        server_clear(&server);
    }
}

/* ---- no right follows from the absence of a file ---- */

static const char *keys_file(const struct server_process *server)
{
    static char path[600];
    snprintf(path, sizeof(path), "%s/keys", server->data);
    return path;
}

static void revoke_key(const struct server_process *server)
{
    char said[1024], id[DB_ID_SIZE];
    assert_int_equal(
        server_run_tool((const char *const[]){"key", "list", "--data", server->data, NULL}, said,
                        sizeof(said)),
        0);
    snprintf(id, sizeof(id), "%.30s", said);
    assert_int_equal(
        server_run_tool((const char *const[]){"key", "revoke", id, "--data", server->data, NULL},
                        said, sizeof(said)),
        0);
}

static void empty_keys(const struct server_process *server)
{
    assert_int_equal(truncate(keys_file(server), 0), 0);
}

static void remove_keys(const struct server_process *server)
{
    assert_int_equal(unlink(keys_file(server)), 0);
}

static void damage_keys(const struct server_process *server)
{
    assert_int_equal(truncate(keys_file(server), 20), 0);
}

static void expose_keys(const struct server_process *server)
{
    assert_int_equal(chmod(keys_file(server), 0644), 0);
}

static void link_keys(const struct server_process *server)
{
    char elsewhere[600];
    snprintf(elsewhere, sizeof(elsewhere), "%s/keys.elsewhere", server->data);
    assert_int_equal(rename(keys_file(server), elsewhere), 0);
    assert_int_equal(symlink("keys.elsewhere", keys_file(server)), 0);
}

static void expect_nobody_but_probes(const struct server_process *server, const char *token)
{
    static const char *const closed[] = {
        "/v1/projects",  "/metrics", "/version",
        "/openapi.yaml", "/",        "/v1/jobs/job_01ARZ3NDEKTSV4RRFFQ69G5FAV"};
    char out[16384], with_key[256];
    snprintf(with_key, sizeof(with_key), "Host: localhost\r\nAuthorization: Bearer %s\r\n", token);
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        if (get_status(server, closed[i], "Host: localhost\r\n", out, sizeof(out)) != 401 ||
            get_status(server, closed[i], with_key, out, sizeof(out)) != 401)
            fail_msg("%s: %.200s", closed[i], out);
    }
    assert_int_equal(get_status(server, "/livez", "Host: localhost\r\n", out, sizeof(out)), 200);
}

static const struct {
    void (*lose)(const struct server_process *server);
    const char *advice; /* of the 401 */
    const char *event;
} losses[] = {
    {revoke_key, "chipshot key create NAME", "state=gone"},
    {empty_keys, "chipshot key create NAME", "state=gone"},
    {remove_keys, "chipshot key create NAME", "state=gone"},
    {damage_keys, "its log says why", "level=error event=keys state=unreadable"},
    {expose_keys, "its log says why", "level=error event=keys state=unreadable"},
    {link_keys, "its log says why", "level=error event=keys state=unreadable"},
};

static void no_key_left_means_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
        struct server_process server;
        char out[16384], token[128], header[512];
        server_init(&server);
        server_start(&server, NULL);
        assert_int_equal(
            get_status(&server, "/v1/projects", "Host: localhost\r\n", out, sizeof(out)), 200);
        server_create_key(&server, token, sizeof(token));
        snprintf(header, sizeof(header), "Host: localhost\r\nAuthorization: Bearer %s\r\n", token);
        assert_int_equal(get_status(&server, "/v1/projects", header, out, sizeof(out)), 200);
        losses[i].lose(&server);
        expect_nobody_but_probes(&server, token);
        get_status(&server, "/v1/projects", "Host: localhost\r\n", out, sizeof(out));
        assert_non_null(strstr(out, losses[i].advice));
        const bool unreadable = strstr(losses[i].event, "unreadable") != NULL;
        assert_int_equal(get_status(&server, "/readyz", "Host: any\r\n", out, sizeof(out)),
                         unreadable ? 503 : 200);
        assert_int_equal(strstr(out, "keys: the API keys cannot be used") != NULL, unreadable);
        assert_null(strstr(out, server.data));
        assert_int_equal(server_stop(&server, SIGTERM), 0);
        server_read_log(&server, out, sizeof(out));
        const char *event = strstr(out, losses[i].event);
        assert_non_null(event);
        assert_null(strstr(event + 1, losses[i].event)); /* said once */
        server_clear(&server);
    }
}

static void the_next_server_remembers_that_keys_were_used(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct server_process server;
        char out[16384], token[128], header[512], path[600];
        server_init(&server);
        server_create_key(&server, token, sizeof(token));
        server_start(&server, NULL);
        assert_int_equal(server_stop(&server, SIGTERM), 0);
        losses[i].lose(&server);
        snprintf(path, sizeof(path), "%s/keys.lock", server.data);
        assert_int_equal(unlink(path), 0);
        server_start(&server, NULL);
        expect_nobody_but_probes(&server, token);
        server_wait_log(&server, "effect=\"nobody is answered\"");
        /* A new key lets its owner in, without a restart. */
        server_create_key(&server, token, sizeof(token));
        snprintf(header, sizeof(header), "Host: localhost\r\nAuthorization: Bearer %s\r\n", token);
        assert_int_equal(get_status(&server, "/v1/projects", header, out, sizeof(out)), 200);
        assert_int_equal(server_stop(&server, SIGTERM), 0);
        /* To open again takes a clear word. */
        remove_keys(&server);
        static const char *const open[] = {"--no-auth", NULL};
        server_start(&server, &(struct server_options){.arguments = open});
        assert_int_equal(
            get_status(&server, "/v1/projects", "Host: localhost\r\n", out, sizeof(out)), 200);
        assert_int_equal(server_stop(&server, SIGTERM), 0);
        server_clear(&server);
    }
}

static void what_others_may_use_is_refused_or_said(void **state)
{
    (void)state;
    struct server_process server;
    char said[16384], token[128], path[600];
    server_init(&server);
    server_create_key(&server, token, sizeof(token));
    expose_keys(&server);
    assert_int_equal(server_refusal(&server, NULL, said, sizeof(said)), 1);
    assert_non_null(strstr(said, "/keys has mode 0644"));
    assert_non_null(strstr(said, "chmod 600"));
    assert_int_equal(chmod(keys_file(&server), 0600), 0);

    assert_int_equal(chmod(server.data, 0777), 0);
    assert_int_equal(server_refusal(&server, NULL, said, sizeof(said)), 1);
    assert_non_null(strstr(said, "has mode 0777"));
    assert_non_null(strstr(said, "chmod 700"));

    assert_int_equal(chmod(server.data, 0755), 0);
    server_start(&server, NULL);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_read_log(&server, said, sizeof(said));
    assert_non_null(strstr(said, "level=warn event=data_exposed"));
    assert_non_null(strstr(said, "mode=0755"));
    assert_null(strstr(said, "chipshot.sqlite"));

    assert_int_equal(chmod(server.data, 0700), 0);
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", server.data);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(truncate(server.log, 0), 0);
    server_start(&server, NULL);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_read_log(&server, said, sizeof(said));
    assert_non_null(strstr(said, "/chipshot.sqlite mode=0644"));
    server_clear(&server);
}

static void two_authorizations_are_one_too_many(void **state)
{
    (void)state;
    for (int with_key = 0; with_key < 2; with_key++) {
        struct server_process server;
        char out[8192], token[128] = "none", headers[512];
        server_init(&server);
        if (with_key)
            server_create_key(&server, token, sizeof(token));
        server_start(&server, NULL);
        const char *const pairs[][2] = {{token, "other"}, {"other", token}, {token, token}};
        for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
            snprintf(headers, sizeof(headers),
                     "Authorization: Bearer %s\r\nHost: localhost\r\nauthorization: Bearer %s\r\n",
                     pairs[i][0], pairs[i][1]);
            assert_int_equal(get_status(&server, "/v1/projects", headers, out, sizeof(out)), 400);
            assert_non_null(strstr(out, "several Authorization headers"));
        }
        assert_int_equal(server_stop(&server, SIGTERM), 0);
        server_clear(&server);
    }
}

static void a_required_key_may_be_made_later(void **state)
{
    (void)state;
    struct server_process server;
    char out[16384], token[128], header[512];
    static const char *const required[] = {"--require-key", NULL};
    server_init(&server);
    server_start(&server, &(struct server_options){.arguments = required});
    expect_nobody_but_probes(&server, "chipshot_none");
    server_create_key(&server, token, sizeof(token));
    snprintf(header, sizeof(header), "Host: any\r\nAuthorization: Bearer %s\r\n", token);
    assert_int_equal(get_status(&server, "/v1/projects", header, out, sizeof(out)), 200);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    static const char *const both[] = {"--require-key", "--no-auth", NULL};
    assert_int_equal(
        server_refusal(&server, &(struct server_options){.arguments = both}, out, sizeof(out)), 2);
    assert_non_null(strstr(out, "contradict"));
    server_clear(&server);
}

static void the_world_needs_a_key_or_a_clear_word(void **state)
{
    (void)state;
    struct server_process server;
    char said[4096], out[8192];
    server_init(&server);
    static const char *const world[] = {"--listen", "0.0.0.0:0", NULL};
    assert_int_not_equal(
        server_refusal(&server, &(struct server_options){.arguments = world}, said, sizeof(said)),
        0);
    assert_non_null(strstr(said, "--no-auth"));
    assert_non_null(strstr(said, "key create"));

    static const char *const open[] = {"--no-auth", NULL};
    server_start(&server, &(struct server_options){.arguments = open});
    /* Still on loopback: the browser's tricks are refused all the same. */
    assert_int_equal(get_status(&server, "/v1/projects", "Host: evil.com\r\n", out, sizeof(out)),
                     421);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rebound_name_is_misdirected),
        cmocka_unit_test(keys_are_asked_for),
        cmocka_unit_test(rows_say_who_asked),
        cmocka_unit_test(no_key_left_means_nobody),
        cmocka_unit_test(the_next_server_remembers_that_keys_were_used),
        cmocka_unit_test(what_others_may_use_is_refused_or_said),
        cmocka_unit_test(two_authorizations_are_one_too_many),
        cmocka_unit_test(a_required_key_may_be_made_later),
        cmocka_unit_test(the_world_needs_a_key_or_a_clear_word),
    };
    return test_run(tests);
}
