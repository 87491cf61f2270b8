/* Encoders: metadata rows; the safetensors bytes are blobs. */
#ifndef CHIPSHOT_DB_ENCODERS_H
#define CHIPSHOT_DB_ENCODERS_H

#include "base/principal.h"
#include "db/db.h"

struct db_encoder {
    char id[DB_ID_SIZE]; /* enc_ */
    char sha256[DB_SHA256_SIZE];
    char *name;
    char architecture[32];
    uint32_t in_channels, input_size, dimension;
    char encoding[16]; /* how jobs that do not say are encoded */
    uint64_t n_parameters;
    uint64_t byte_size;
    bool is_default; /* the one that jobs use when they name none; at most one */
    char created_at[DB_TIME_SIZE];
    char created_by[PRINCIPAL_ID_SIZE]; /* a principal's id; given by who inserts */
};

struct db_encoder_list {
    struct db_encoder *items;
    size_t n_items;
    bool more;
    size_t n_damaged; /* left out: their rows cannot be read */
};

/* Inserts, setting id and created_at; an encoder with this sha256 that exists is returned instead
 * (its own strings are freed, *existed is set). The blob must have been committed, by a writer that
 * still lives: ERROR_INVALID otherwise. is_default moves the default here, for an existing one too.
 */
int db_encoder_insert(struct db *db, struct store *store, struct db_encoder *encoder, bool *existed,
                      struct error *err);
int db_encoder_get(struct db *db, const char *id, struct db_encoder *out, struct error *err);
/* ERROR_NOT_FOUND: none was set. */
int db_encoder_get_default(struct db *db, struct db_encoder *out, struct error *err);
int db_encoder_list(struct db *db, const struct db_page *page, struct db_encoder_list *out,
                    struct error *err);

void db_encoder_clear(struct db_encoder *encoder);
void db_encoder_list_clear(struct db_encoder_list *list);

#endif
