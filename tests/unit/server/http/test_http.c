/* The HTTP server within the test's process, for what its answers do not show. */
#include "tests/test.h"

#include "base/clock.h"
#include "engine/give_way.h"
#include "server/http/http.h"
#include "tests/api/rig.h"
#include "tests/http/client.h"
#include "tests/unit/engine/yields.h"

/* Workers give way from a request's line on: before it is answered. */
static void every_request_asks_workers_to_give_way(void **state)
{
    struct rig *rig = *state;
    struct db_keys *keys = NULL;
    struct http_server *server = NULL;
    static const struct db_keys_watcher no_watcher;
    const struct http_config config = {.listen = "127.0.0.1:0",
                                       .max_connections = 4,
                                       .max_connections_per_client = 4,
                                       .header_timeout_s = 60,
                                       .body_timeout_s = 60,
                                       .idle_timeout_s = 60};
    assert_int_equal(db_keys_open(&keys, rig->directory, rig->data->db, &no_watcher, &rig->err), 0);
    const struct http_parts parts = {.api = rig->api, .store = rig->data->store, .keys = keys};
    assert_int_equal(http_server_create(&server, &config, &parts, &rig->err), 0);
    static const char *const paths[] = {"/livez", "/v1/projects", "/there/is/none"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        yields_advance_clock(GIVE_WAY_MS);
        assert_false(give_way_is_asked(clock_coarse_ms()));
        struct client_reply reply = {0};
        client_get(http_server_port(server), paths[i], &reply);
        assert_true(give_way_is_asked(clock_coarse_ms()));
        assert_int_equal(reply.status, i < 2 ? 200 : 404);
        client_reply_clear(&reply);
    }
    http_server_destroy(server);
    db_keys_close(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_request_asks_workers_to_give_way, rig_setup,
                                        rig_teardown),
    };
    return test_run(tests);
}
