/* Images: metadata rows; the bytes are blobs. The row is written after the file. */
#ifndef CHIPSHOT_DB_IMAGES_H
#define CHIPSHOT_DB_IMAGES_H

#include "base/principal.h"
#include "db/db.h"

struct db_stmt;

struct db_image {
    char id[DB_ID_SIZE]; /* img_ */
    char project_id[DB_ID_SIZE];
    char sha256[DB_SHA256_SIZE]; /* of the file */
    uint32_t frame;              /* of the file; 0: the first */
    char *name;                  /* the client's name for it; never used as a path */
    char format[16];             /* "png" */
    char conversion[16];         /* "none", "luminance" */
    uint32_t width, height;
    uint32_t bit_depth;
    uint32_t n_channels;
    uint64_t byte_size;
    char *look; /* what a look at all pixels told, as text that is opaque here; NULL: nobody has */
    double pixel_size_nm;          /* of a square pixel; 0: unknown, or not square */
    double pixel_x_nm, pixel_y_nm; /* its edges; 0: unknown */
    char pixel_source[16];         /* what said so: "sCAL", "pHYs", "user"; "": nothing did */
    char pixel_set_by[PRINCIPAL_ID_SIZE]; /* who gave it; "": it is the file's */
    char pixel_set_at[DB_TIME_SIZE];      /* likewise; given by who inserts or changes it */
    int64_t n_outliers; /* pixels that the default range leaves out; -1: not counted */
    uint64_t revision;  /* 1, and one more at each change; given by db_image_insert */
    char created_at[DB_TIME_SIZE];
    char created_by[PRINCIPAL_ID_SIZE]; /* a principal's id; given by who inserts */
};

struct db_image_list {
    struct db_image *items;
    size_t n_items;
    bool more;
    size_t n_damaged; /* left out: their rows cannot be read */
};

/* Internal to db/: the edge of a pixel in nm, or 0; such that areas are numbers. */
double db_image_column_pixel(struct db_stmt *stmt, const char *column);

/* Inserts, setting id and created_at; when the project already has an image with this sha256
 * and frame, `image` becomes that one (its own strings are freed) and *existed is set; where nobody
 * had looked at that, it takes the look of this one. Its file
 * must have been committed to the store, by a writer that still lives. ERROR_NOT_FOUND: no such
 * project. ERROR_INVALID: no such blob. */
int db_image_insert(struct db *db, struct store *store, struct db_image *image, bool *existed,
                    struct error *err);
int db_image_get(struct db *db, const char *id, struct db_image *out, struct error *err);
/* `name` filters by exact name, NULL: all. */
int db_image_list(struct db *db, const char *project_id, const char *name,
                  const struct db_page *page, struct db_image_list *out, struct error *err);
/* Changes the pixel size to that of `image`, whose other members become those stored; the revision
 * grows. ERROR_CONFLICT: it is not at the expected one (0: any). ERROR_NOT_FOUND. */
int db_image_calibrate(struct db *db, struct db_image *image, uint64_t expected_revision,
                       const struct principal *by, struct error *err);
/* The sum of the revisions of a job's images, which grows when one of them is changed. */
int db_image_revisions(struct db *db, const char *job_id, uint64_t *out, struct error *err);
/* ERROR_CONFLICT while a support set, job or result needs it; the message names what. The blob goes
 * when no other image has the same bytes, and so do the pictures of its masks. */
int db_image_delete(struct db *db, struct store *store, const char *id, const struct principal *by,
                    struct error *err);

void db_image_clear(struct db_image *image);
void db_image_list_clear(struct db_image_list *list);

#endif
