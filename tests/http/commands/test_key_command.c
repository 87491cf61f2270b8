/* chipshot key, run as a user runs it, with and without a server at work. */
#include "tests/test.h"

#include <ftw.h>

#include "db/keys.h"
#include "tests/http/client.h"
#include "tests/http/server.h"
#include "tests/http/tool.h"
#include "tests/http/workflow.h"

static const char *searched_text; /* nftw has no context */
static size_t n_searched, n_found;

static int search_file(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)walk;
    if (kind != FTW_F)
        return 0;
    size_t size = 0;
    char *bytes = workflow_read_file(path, &size);
    n_searched++;
    n_found += memmem(bytes, size, searched_text, strlen(searched_text)) != NULL;
    free(bytes);
    return 0;
}

/* How many files below `directory` hold the text. */
static size_t search(const char *directory, const char *text)
{
    searched_text = text;
    n_searched = n_found = 0;
    assert_int_equal(nftw(directory, search_file, 16, FTW_PHYS), 0);
    assert_true(n_searched > 0);
    return n_found;
}

/* Creates a key; its token and its id. */
static void create_key(const char *data, const char *name, char token[DB_KEY_TOKEN_SIZE],
                       char id[DB_ID_SIZE])
{
    tool_run("key", "create", name, "--data", data);
    tool_assert_done();
    size_t length = strcspn(tool_outcome.out, "\n");
    assert_string_equal(tool_outcome.out + length, "\n");
    assert_true(length < DB_KEY_TOKEN_SIZE);
    memcpy(token, tool_outcome.out, length);
    token[length] = '\0';
    assert_int_equal(strncmp(token, "chipshot_", 9), 0);
    assert_null(strstr(tool_outcome.err, token));
    const char *at_id = strstr(tool_outcome.err, "key_");
    assert_non_null(at_id);
    snprintf(id, DB_ID_SIZE, "%.30s", at_id);
    assert_true(db_id_is(id, "key_"));
}

static void keys_are_created_listed_and_revoked(void **state)
{
    (void)state;
    char data[TOOL_PATH_SIZE], token[DB_KEY_TOKEN_SIZE], other[DB_KEY_TOKEN_SIZE], id[DB_ID_SIZE],
        other_id[DB_ID_SIZE];
    snprintf(data, sizeof(data), "%s", tool_path("keys"));
    create_key(data, "Ana's laptop", token, id);
    create_key(data, "LIMS", other, other_id);
    assert_string_not_equal(token, other);
    assert_int_equal(search(data, token), 0);
    assert_int_equal(search(data, token + 9), 0);
    assert_int_equal(search(data, id), 1);
    tool_run("key", "list", "--data", data);
    tool_assert_done();
    const char *first = strstr(tool_outcome.out, id), *second = strstr(tool_outcome.out, other_id);
    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(strstr(first, "Ana's laptop\n"));
    assert_null(strstr(tool_outcome.out, token));
    tool_run("key", "revoke", id, "--data", data);
    tool_assert_done();
    tool_run("key", "list", "--data", data);
    assert_null(strstr(tool_outcome.out, id));
    assert_non_null(strstr(tool_outcome.out, other_id));
    tool_run("key", "revoke", id, "--data", data);
    tool_assert_refused(1, id);
    tool_run("key", "create", "a\nb", "--data", data);
    tool_assert_refused(1, "name");
    tool_run("key", "create", "", "--data", data);
    tool_assert_refused(1, "name");
}

static long status_with(struct client *client, const char *token)
{
    char header[128];
    snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
    const struct client_request request = {.path = "/v1/projects", .headers = {header}};
    struct client_reply reply = {0};
    client_send(client, &request, &reply);
    long status = reply.status;
    client_reply_clear(&reply);
    return status;
}

static void keys_change_while_a_server_runs(void **state)
{
    (void)state;
    struct server_process server;
    char token[DB_KEY_TOKEN_SIZE], other[DB_KEY_TOKEN_SIZE], id[DB_ID_SIZE], other_id[DB_ID_SIZE];
    struct client_reply reply = {0};
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    client_get(server.port, "/v1/projects", &reply);
    assert_int_equal(reply.status, 200);
    client_reply_clear(&reply);
    create_key(server.data, "one", token, id);
    create_key(server.data, "two", other, other_id);
    assert_int_equal(status_with(client, token), 200);
    assert_int_equal(status_with(client, other), 200);
    assert_int_equal(status_with(client, "chipshot_wrong"), 401);
    client_get(server.port, "/v1/projects", &reply);
    assert_int_equal(reply.status, 401);
    client_reply_clear(&reply);
    tool_run("key", "revoke", id, "--data", server.data);
    tool_assert_done();
    assert_int_equal(status_with(client, token), 401);
    assert_int_equal(status_with(client, other), 200);
    assert_int_equal(search(server.data, token), 0);
    client_destroy(client);
    assert_int_equal(server_stop(&server, 15), 0);
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_created_listed_and_revoked),
        cmocka_unit_test(keys_change_while_a_server_runs),
    };
    return test_run(tests);
}
