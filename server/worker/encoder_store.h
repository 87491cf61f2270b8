/* The encoders in memory: loaded from the database when a job first needs them, shared by all jobs,
 * dropped least recently used first when none needs them any more. */
#ifndef CHIPSHOT_SERVER_ENCODER_STORE_H
#define CHIPSHOT_SERVER_ENCODER_STORE_H

#include "base/cancel.h"
#include "base/error.h"
#include "db/encoders.h"
#include "engine/embed.h"

struct encoder_store;

/* One loaded encoder, ready for its input sizes, encoding and precision; borrowed between acquire
 * and release. */
struct loaded_encoder {
    char id[DB_ID_SIZE];
    char sha256[DB_SHA256_SIZE];
    struct embedder *embedder;
};

/* Keeps at most `max_idle` loaded encoders that no job uses. The parts are borrowed. */
int encoder_store_create(struct encoder_store **out, struct db *db, struct store *files,
                         struct pool *pool, size_t max_idle, struct error *err);
/* Every encoder must have been released. */
void encoder_store_destroy(struct encoder_store *store);

/* Thread-safe; loading one encoder holds up other loads. `sizes` NULL or none, ENCODING_OWN: the
 * encoder's own. The same encoder at other input sizes, encodings or precisions shares the weights.
 * ERROR_NOT_FOUND: no such encoder. ERROR_INVALID or ERROR_CORRUPT: its file is not what it was.
 * ERROR_INVALID: input sizes that it cannot run at, alone or in this encoding, or a precision that
 * the processor does not offer. ERROR_CANCELLED: `cancel` (NULL: never) was asked while it was
 * loaded; reading its weights is one step. */
int encoder_store_acquire(struct encoder_store *store, const char *id,
                          const struct input_sizes *sizes, enum encoding encoding,
                          enum precision precision, const struct cancel *cancel,
                          const struct loaded_encoder **out, struct error *err);
void encoder_store_release(struct encoder_store *store, const struct loaded_encoder *encoder);

/* Stores weights (the built-in ones or a file's) as the default encoder of the database. */
int encoder_store_register_default(struct db *db, struct store *files, const void *data,
                                   size_t size, struct error *err);

#endif
