#include "server/http/client_name.h"

#include <netinet/in.h>
#include <string.h>

enum name_kind {
    NAME_UNKNOWN,
    NAME_V4,
    NAME_V6,
    NAME_KEY,
};

enum { V6_NETWORK_SIZE = 8 }; /* a /64 */

struct client_name client_name_of_key(const char *id)
{
    struct client_name name = {{NAME_KEY}};
    memcpy(name.bytes + 1, id, strnlen(id, sizeof(name.bytes) - 1));
    return name;
}

struct client_name client_name_of_address(const struct sockaddr *address)
{
    struct client_name name = {{NAME_UNKNOWN}};
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    if (address->sa_family == AF_INET) {
        name.bytes[0] = NAME_V4;
        memcpy(name.bytes + 1, &v4->sin_addr, sizeof(v4->sin_addr));
    } else if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        name.bytes[0] = NAME_V4;
        memcpy(name.bytes + 1, v6->sin6_addr.s6_addr + 12, sizeof(v4->sin_addr));
    } else if (address->sa_family == AF_INET6) {
        name.bytes[0] = NAME_V6;
        memcpy(name.bytes + 1, v6->sin6_addr.s6_addr, V6_NETWORK_SIZE);
    }
    return name;
}

struct client_name client_name_of_peer(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
    } peer = {0};
    socklen_t size = sizeof(peer);
    if (getpeername(fd, &peer.any, &size) != 0)
        peer.any.sa_family = AF_UNSPEC;
    return client_name_of_address(&peer.any);
}

bool client_name_is_key(const struct client_name *name)
{
    return name->bytes[0] == NAME_KEY;
}

int client_name_compare(const void *one, const void *other)
{
    return memcmp(one, other, sizeof(struct client_name));
}
