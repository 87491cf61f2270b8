/* Who asks for something or does it: what rows and events record.
 *
 * A principal is an API key, or one of the names below, which are no ids and so never those of a
 * key. Rows hold the id alone; the name is for people. Rows from before principals were recorded
 * have the id "".
 */
#ifndef CHIPSHOT_BASE_PRINCIPAL_H
#define CHIPSHOT_BASE_PRINCIPAL_H

enum {
    PRINCIPAL_ID_SIZE = 32, /* "key_" + 26 characters of a ULID + NUL, rounded up */
    PRINCIPAL_NAME_SIZE = 128,
};

/* A request that showed no key: on loopback, with --no-auth, or to /livez and /readyz. */
#define PRINCIPAL_ANONYMOUS "anonymous"
/* Whoever ran a command that writes rows itself, such as `chipshot bench`. */
#define PRINCIPAL_COMMAND_LINE "command-line"
/* The server on its own account: the worker that runs jobs, the default encoder at start. */
#define PRINCIPAL_SYSTEM "system"

struct principal {
    char id[PRINCIPAL_ID_SIZE];     /* key_..., or one of the above */
    char name[PRINCIPAL_NAME_SIZE]; /* of the key; "" for the others */
};

#endif
