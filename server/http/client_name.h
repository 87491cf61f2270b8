/* Who a request comes from, where clients are to have equal shares: the API key that it shows or,
 * without one, the address at the other end: IPv4 the whole address, IPv6 its /64, within which a
 * host picks addresses as it likes. */
#ifndef CHIPSHOT_SERVER_CLIENT_NAME_H
#define CHIPSHOT_SERVER_CLIENT_NAME_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/principal.h"

/* Zero behind its end; a key's and an address's are never equal. */
struct client_name {
    unsigned char bytes[1 + PRINCIPAL_ID_SIZE];
};

struct client_name client_name_of_key(const char *id);
/* All that are no addresses of IPv4 or IPv6 have one name. */
struct client_name client_name_of_address(const struct sockaddr *address);
/* Of the other end of a socket. */
struct client_name client_name_of_peer(int fd);

bool client_name_is_key(const struct client_name *name);
/* Two names' order, for the trees of tsearch. */
int client_name_compare(const void *one, const void *other);

#endif
