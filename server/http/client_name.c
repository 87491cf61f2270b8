#include "server/http/client_name.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { V6_NETWORK_SIZE = 8 };

enum name_kind { NAME_UNKNOWN, NAME_KEY, NAME_V4, NAME_V6 };

struct client_name client_name_of_key(const char *id)
{
    struct client_name name = {{NAME_KEY}};
    memcpy(name.bytes + 1, id, strnlen(id, sizeof(name.bytes) - 1));
    return name;
}

struct client_name client_name_of_peer(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage storage;
    } peer = {0};
    struct client_name name = {{NAME_UNKNOWN}};
    socklen_t size = sizeof(peer);
    if (getpeername(fd, &peer.any, &size) != 0)
        return name;
    const unsigned char *v6 = peer.v6.sin6_addr.s6_addr;
    if (peer.any.sa_family == AF_INET) {
        name.bytes[0] = NAME_V4;
        memcpy(name.bytes + 1, &peer.v4.sin_addr, sizeof(peer.v4.sin_addr));
    } else if (peer.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr)) {
        name.bytes[0] = NAME_V4;
        memcpy(name.bytes + 1, v6 + 12, sizeof(peer.v4.sin_addr));
    } else if (peer.any.sa_family == AF_INET6) {
        name.bytes[0] = NAME_V6;
        memcpy(name.bytes + 1, v6, V6_NETWORK_SIZE);
    }
    return name;
}
