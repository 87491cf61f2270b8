/* API keys: bearer tokens of which only a hash is stored, in DIR/keys (one line a key: id, SHA-256,
 * creation time, name). Only its owner may have rights on it, else it is not used. A file of its
 * own, replaced by rename under a lock, so that `chipshot key` can change it while a server runs
 * without a second connection writing to the database. */
#ifndef CHIPSHOT_DB_KEYS_H
#define CHIPSHOT_DB_KEYS_H

#include "base/principal.h"
#include "db/db.h"

enum { DB_KEY_TOKEN_SIZE = 64 };

struct db_key {
    char id[DB_ID_SIZE]; /* key_ */
    char sha256[DB_SHA256_SIZE];
    char created_at[DB_TIME_SIZE];
    char name[128];
};

struct db_key_list {
    struct db_key *items;
    size_t n_items;
};

/* Creates a key in `directory` (created when absent) and writes its token ("chipshot_" + 43
 * characters of base64url from 32 random bytes) once. name: 1..100 printable characters. */
int db_key_create(const char *directory, const char *name, struct db_key *out,
                  char token[DB_KEY_TOKEN_SIZE], struct error *err);
int db_key_list(const char *directory, struct db_key_list *out, struct error *err);
/* ERROR_NOT_FOUND. */
int db_key_revoke(const char *directory, const char *id, struct error *err);
void db_key_list_clear(struct db_key_list *list);

/* ---- the server's view: reads the file again when it changed ---- */

/* No right follows from the absence of a file: where there ever was a key, having none lets nobody
 * in. That there was one is known from the file itself (revoking the last key leaves it empty),
 * from its lock, which is made before the first key, and from the database, where a server writes
 * it as soon as it sees either. */
enum db_keys_state {
    DB_KEYS_NEVER,      /* none of the three knows of a key */
    DB_KEYS_THERE,      /* there are keys */
    DB_KEYS_GONE,       /* there were: all are revoked, or the file was emptied or removed */
    DB_KEYS_UNREADABLE, /* the file cannot be read, understood or trusted */
};

/* Told once a change, on the thread that noticed it. `why` is NULL unless the keys are UNREADABLE
 * or, in the other states, the database could not be told that keys are used (which is tried
 * again). */
struct db_keys_watcher {
    void *context;
    void (*changed)(void *context, enum db_keys_state state, const struct error *why); /* or NULL */
};

struct db_keys;

/* `db` and the watcher's context are borrowed until close. Fails as well when the keys are
 * UNREADABLE. */
int db_keys_open(struct db_keys **out, const char *directory, struct db *db,
                 const struct db_keys_watcher *watcher, struct error *err);
void db_keys_close(struct db_keys *keys);
/* The state now; `why` (NULL allowed) says what makes the keys UNREADABLE. Thread-safe. */
enum db_keys_state db_keys_look(struct db_keys *keys, struct error *why);
/* True when the token is known: `out` is then the key's id and name. Compares hashes in constant
 * time. Thread-safe. */
bool db_keys_check(struct db_keys *keys, const char *token, struct principal *out);

#endif
