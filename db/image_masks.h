/* What is left out of images: immutable versions 1, 2, ... of an image's mask, shapes and a
 * picture, which is a file of the store. */
#ifndef CHIPSHOT_DB_IMAGE_MASKS_H
#define CHIPSHOT_DB_IMAGE_MASKS_H

#include "base/principal.h"
#include "db/db.h"
#include "db/store/store.h"

struct db_connection;
struct db_hashes;

struct db_image_mask {
    char image_id[DB_ID_SIZE];
    uint32_t version;                    /* 1, 2, ...; 0: there is none */
    char *shapes;                        /* text that is opaque here; NULL where there is none */
    char picture_sha256[DB_SHA256_SIZE]; /* "": none */
    uint64_t picture_size;               /* bytes of its file */
    char created_at[DB_TIME_SIZE];
    char created_by[PRINCIPAL_ID_SIZE]; /* a principal's id; given by who inserts */
};

/* Any version, however new. */
#define DB_MASKS_ALL INT64_MAX

/* Stores the next version; sets version and created_at. The file of a picture must have been
 * committed to the store, by a writer that still lives, or be that of the version before.
 * ERROR_NOT_FOUND: no such image. ERROR_CONFLICT: the latest version is not `expected_version`.
 * ERROR_INVALID: no such file. */
int db_image_mask_insert(struct db *db, struct store *store, struct db_image_mask *mask,
                         uint32_t expected_version, struct error *err);

/* The latest version of those that came no later than `until`: a job's masks_until, or
 * DB_MASKS_ALL. Where there is none, version 0. */
int db_image_mask_get(struct db *db, const char *image_id, uint64_t until,
                      struct db_image_mask *out, struct error *err);
void db_image_mask_clear(struct db_image_mask *mask);

/* The files of the pictures of all versions of an image's mask. */
int db_image_mask_pictures(struct db_connection *connection, const char *image_id,
                           struct db_hashes *out, struct error *err);

#endif
