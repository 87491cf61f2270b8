/* Feeds a connection's wire (wire.h) with what the HTTP library receives on it.
 *
 * libmicrohttpd has no hook for that, but it receives by recv(), and a program's own function of
 * that name goes before the C library's in all its shared libraries. Ours receives as ever and
 * feeds what came on descriptors that were opened here; others it leaves alone, and so it does
 * calls with flags: the library has none, but whoever drains a connection that it is done with.
 * Were it not called, because the library is linked statically, say, wires would stay empty and
 * every request would be refused: nothing goes past it unseen.
 */
#ifndef CHIPSHOT_SERVER_WIRE_TAP_H
#define CHIPSHOT_SERVER_WIRE_TAP_H

#include "server/http/wire.h"

/* Before anything is received on `fd`, and until wire_tap_close, which comes before it is closed.
 * NULL when there is no memory or the descriptor is too large. */
struct wire *wire_tap_open(int fd);
void wire_tap_close(int fd);

/* NULL when it is not open. */
struct wire *wire_tap_of(int fd);

#endif
