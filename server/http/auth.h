/* Who may ask: pure decisions on request fields.
 *
 * Without API keys the server is its user's own, on loopback. Then the danger is a web page in the
 * user's browser: it can send cross-origin requests, or reach the server as same-origin by pointing
 * its own host name at 127.0.0.1 (DNS rebinding). So only requests whose Host names loopback are
 * answered, and none that a browser marks as coming from another origin. With API keys a bearer
 * token, which no browser adds by itself, is asked for instead: also when there are none any more.
 */
#ifndef CHIPSHOT_SERVER_AUTH_H
#define CHIPSHOT_SERVER_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/keys.h"

enum auth_mode {
    AUTH_LOOPBACK, /* no keys: loopback Host, own or no Origin */
    AUTH_KEYS,     /* a bearer token */
    AUTH_OPEN,     /* --no-auth on an address that is not loopback: own or no Origin */
};

enum auth_policy {
    AUTH_POLICY_ONCE_USED, /* a key is needed once there ever was one, and but on loopback always */
    AUTH_POLICY_REQUIRE,   /* --require-key: always */
    AUTH_POLICY_NO_AUTH,   /* --no-auth: never */
};

/* Fail closed: only AUTH_POLICY_NO_AUTH, in so many words, lifts the need of a key on another
 * address than loopback, or where there ever was one, be it that all were revoked or that their
 * file is gone or unreadable. */
enum auth_mode auth_mode_of(enum auth_policy policy, bool listens_on_loopback,
                            enum db_keys_state keys);

/* Fields as sent; NULL when absent. */
struct auth_request {
    const char *target; /* raw */
    const char *host;
    const char *origin;
    const char *sec_fetch_site;
    const char *authorization;
};

enum auth_verdict {
    AUTH_ALLOWED,
    AUTH_TOKEN_NEEDED, /* the caller has to check auth_bearer_token */
    AUTH_MISDIRECTED,  /* Host does not name loopback: 421 */
    AUTH_CROSS_ORIGIN, /* 403 */
};

/* `port`: the one listened on. /livez and /readyz need no token. */
enum auth_verdict auth_check(enum auth_mode mode, const struct auth_request *request,
                             uint16_t port);

/* True for localhost, a dotted quad in 127.0.0.0/8 or [::1], each with or without a port. No other
 * spelling of these addresses (127.1, 0x7f000001, localhost.localdomain, user@...) is taken. */
bool auth_host_is_loopback(const char *host);

/* True when `origin` is http:// + a loopback host + our port (AUTH_LOOPBACK), or http(s):// + the
 * value of `host`. "null" and everything else is another origin. */
bool auth_origin_is_own(enum auth_mode mode, const char *origin, const char *host, uint16_t port);

/* The token of "Bearer TOKEN" (RFC 6750; scheme without case), or NULL. Points into `value`. */
const char *auth_bearer_token(const char *value);

#endif
