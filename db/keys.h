/* API keys: bearer tokens of which only a hash is stored, in DIR/keys (one line a key: id, SHA-256,
 * creation time, name). A file of its own, replaced by rename under a lock, so that `chipshot key`
 * can change it while a server runs without a second connection writing to the database. */
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

struct db_keys; /* the server's view; reads the file again when it changed */
int db_keys_open(struct db_keys **out, const char *directory, struct error *err);
void db_keys_close(struct db_keys *keys);
size_t db_keys_count(struct db_keys *keys);
/* True when the token is known: `out` is then the key's id and name. Compares hashes in constant
 * time. Thread-safe. */
bool db_keys_check(struct db_keys *keys, const char *token, struct principal *out);

#endif
