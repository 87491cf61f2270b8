/* Who a request comes from, where clients are to have equal shares: the API key that it shows or,
 * without one, the address at the other end: IPv4 the whole address, IPv6 its /64, within which a
 * host picks addresses as it likes. */
#ifndef CHIPSHOT_SERVER_CLIENT_NAME_H
#define CHIPSHOT_SERVER_CLIENT_NAME_H

#include "base/principal.h"

/* Zero behind its end; a key's and an address's are never equal. */
struct client_name {
    unsigned char bytes[1 + PRINCIPAL_ID_SIZE];
};

/* Of the other end of a socket; all sockets that have no address share a name. */
struct client_name client_name_of_peer(int fd);
struct client_name client_name_of_key(const char *id);

#endif
