#include "server/http/auth.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

/* Reads ":port" or "" at `text`; 0 when absent. Returns false for anything else. */
static bool parse_port(const char *text, uint32_t *port)
{
    *port = 0;
    if (*text == '\0')
        return true;
    if (*text++ != ':' || *text == '\0')
        return false;
    uint32_t value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint32_t)(*text - '0');
        if (value > 65535)
            return false;
    }
    *port = value;
    return value != 0;
}

static bool name_is_loopback(const char *name)
{
    if (strcasecmp(name, "localhost") == 0 || strcasecmp(name, "localhost.") == 0)
        return true;
    struct in_addr address; /* inet_pton takes dotted quads in decimal only */
    return inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

/* Splits a Host value and says whether its name is loopback; `*port` 0 when absent. */
static bool parse_loopback_host(const char *host, uint32_t *port)
{
    char name[64];
    const char *name_end;
    bool bracketed = host[0] == '[';
    if (bracketed) {
        host++;
        name_end = strchr(host, ']');
    } else {
        name_end = strchr(host, ':');
        if (name_end == NULL)
            name_end = host + strlen(host);
    }
    if (name_end == NULL || (size_t)(name_end - host) >= sizeof(name))
        return false;
    memcpy(name, host, (size_t)(name_end - host));
    name[name_end - host] = '\0';
    if (!parse_port(bracketed ? name_end + 1 : name_end, port))
        return false;
    if (!bracketed)
        return name_is_loopback(name);
    struct in6_addr address;
    return inet_pton(AF_INET6, name, &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
}

bool auth_host_is_loopback(const char *host)
{
    uint32_t port;
    return host != NULL && parse_loopback_host(host, &port);
}

/* What follows the scheme, or NULL. */
static const char *without_scheme(const char *origin, bool *https)
{
    *https = strncasecmp(origin, "https://", 8) == 0;
    if (*https)
        return origin + 8;
    return strncasecmp(origin, "http://", 7) == 0 ? origin + 7 : NULL;
}

bool auth_origin_is_own(enum auth_mode mode, const char *origin, const char *host, uint16_t port)
{
    bool https;
    const char *authority = without_scheme(origin, &https);
    if (authority == NULL)
        return false;
    if (mode != AUTH_LOOPBACK)
        return host != NULL && *authority != '\0' && strcasecmp(authority, host) == 0;
    uint32_t origin_port;
    if (https || !parse_loopback_host(authority, &origin_port))
        return false;
    return (origin_port == 0 ? 80 : origin_port) == port;
}

enum auth_mode auth_mode_of(enum auth_policy policy, bool listens_on_loopback,
                            enum db_keys_state keys)
{
    switch (policy) {
    case AUTH_POLICY_NO_AUTH:
        return listens_on_loopback ? AUTH_LOOPBACK : AUTH_OPEN;
    case AUTH_POLICY_REQUIRE:
        return AUTH_KEYS;
    case AUTH_POLICY_ONCE_USED:
        return listens_on_loopback && keys == DB_KEYS_NEVER ? AUTH_LOOPBACK : AUTH_KEYS;
    }
    return AUTH_KEYS;
}

static bool is_probe(const char *target)
{
    size_t length = strcspn(target, "?");
    return (length == 6 && memcmp(target, "/livez", 6) == 0) ||
           (length == 7 && memcmp(target, "/readyz", 7) == 0);
}

enum auth_verdict auth_check(enum auth_mode mode, const struct auth_request *request, uint16_t port)
{
    if (mode == AUTH_KEYS)
        return is_probe(request->target) ? AUTH_ALLOWED : AUTH_TOKEN_NEEDED;
    if (mode == AUTH_LOOPBACK && !auth_host_is_loopback(request->host))
        return AUTH_MISDIRECTED;
    if (request->sec_fetch_site != NULL && strcasecmp(request->sec_fetch_site, "cross-site") == 0)
        return AUTH_CROSS_ORIGIN;
    if (request->origin != NULL && !auth_origin_is_own(mode, request->origin, request->host, port))
        return AUTH_CROSS_ORIGIN;
    return AUTH_ALLOWED;
}

const char *auth_bearer_token(const char *value)
{
    if (value == NULL || strncasecmp(value, "Bearer", 6) != 0 || value[6] != ' ')
        return NULL;
    const char *token = value + 6;
    token += strspn(token, " ");
    size_t length = strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "-._~+/=");
    return length == 0 || token[length] != '\0' ? NULL : token;
}
