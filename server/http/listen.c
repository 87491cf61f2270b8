#include "server/http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size;
    bool loopback;
    bool every; /* the ":port" form */
};

static int invalid(const char *text, struct error *err)
{
    return error_set(err, ERROR_INVALID,
                     "listen: '%s' is not ADDRESS:PORT, e.g. 127.0.0.1:8080, [::1]:8080 or :8080 "
                     "(port 0..65535)",
                     text);
}

static bool parse_port(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != '\0')
        return false;
    for (; *text != '\0'; text++)
        value = value * 10 + (uint32_t)(*text - '0');
    *port = (uint16_t)value;
    return value <= 65535;
}

static void set_v4(struct endpoint *out, struct in_addr address, uint16_t port)
{
    out->address.v4 =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
    out->size = sizeof(out->address.v4);
    out->loopback = ntohl(address.s_addr) >> 24 == 127;
}

static void set_v6(struct endpoint *out, struct in6_addr address, uint16_t port)
{
    out->address.v6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = address};
    out->size = sizeof(out->address.v6);
    out->loopback = IN6_IS_ADDR_LOOPBACK(&address);
}

static int parse(const char *text, struct endpoint *out, struct error *err)
{
    char host[64];
    uint16_t port;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !parse_port(colon + 1, &port) || (size_t)(colon - text) >= sizeof(host))
        return invalid(text, err);
    size_t length = (size_t)(colon - text);
    memcpy(host, text, length);
    host[length] = '\0';

    memset(out, 0, sizeof(*out));
    struct in_addr v4;
    struct in6_addr v6;
    if (length == 0) {
        out->every = true;
        set_v6(out, in6addr_any, port);
        return 0;
    }
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &v6) != 1)
            return invalid(text, err);
        set_v6(out, v6, port);
        return 0;
    }
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4) != 1)
        return invalid(text, err);
    set_v4(out, v4, port);
    return 0;
}

static int open_socket(const struct endpoint *endpoint, const char *text, int *out,
                       struct error *err)
{
    const int one = 1, v6_only = endpoint->every ? 0 : 1;
    int family = endpoint->address.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "listen: cannot open a socket for %s", text);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        (family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) != 0) ||
        bind(fd, &endpoint->address.any, endpoint->size) != 0 || listen(fd, SOMAXCONN) != 0) {
        int rc = error_set_errno(err, errno, "listen: cannot listen on %s", text);
        close(fd);
        return rc;
    }
    *out = fd;
    return 0;
}

static int describe(int fd, const struct endpoint *asked, struct listener *out, struct error *err)
{
    struct endpoint bound = {.size = sizeof(bound.address)};
    if (getsockname(fd, &bound.address.any, &bound.size) != 0)
        return error_set_errno(err, errno, "listen: cannot read the bound address");
    char host[INET6_ADDRSTRLEN] = "";
    bool v6 = bound.address.any.sa_family == AF_INET6;
    if (v6)
        inet_ntop(AF_INET6, &bound.address.v6.sin6_addr, host, sizeof(host));
    else
        inet_ntop(AF_INET, &bound.address.v4.sin_addr, host, sizeof(host));
    out->port = ntohs(v6 ? bound.address.v6.sin6_port : bound.address.v4.sin_port);
    out->loopback = asked->loopback;
    out->fd = fd;
    snprintf(out->url, sizeof(out->url), v6 ? "http://[%s]:%u" : "http://%s:%u", host, out->port);
    return 0;
}

int listen_open(struct listener *out, const char *address, struct error *err)
{
    struct endpoint endpoint;
    int rc = parse(address, &endpoint, err);
    if (rc != 0)
        return rc;
    int fd = -1;
    rc = open_socket(&endpoint, address, &fd, err);
    if (rc != 0 && endpoint.every) {
        /* No IPv6 here: all addresses then means IPv4's. */
        set_v4(&endpoint, (struct in_addr){htonl(INADDR_ANY)},
               ntohs(endpoint.address.v6.sin6_port));
        rc = open_socket(&endpoint, address, &fd, err);
    }
    if (rc != 0)
        return rc;
    rc = describe(fd, &endpoint, out, err);
    if (rc != 0)
        close(fd);
    return rc;
}
