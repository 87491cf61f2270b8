/* Results: one row an image of a job, labels and probabilities as compact BLOBs. Never edited. */
#ifndef CHIPSHOT_DB_RESULTS_RESULTS_H
#define CHIPSHOT_DB_RESULTS_RESULTS_H

#include "db/jobs.h"

/* A label is the index of a class, or one of these for a chip that has none. The engine's labels
 * are the same, which is checked where both are known. */
enum {
    DB_LABEL_UNDECIDED = 65533,
    DB_LABEL_UNKNOWN = 65534,
    DB_LABEL_NOT_ANALYSED = 65535,
};

enum {
    DB_QUANTITY_NAME_SIZE = 48,
    DB_QUANTITY_UNIT_SIZE = 16,
    DB_QUANTITY_OF_IMAGE = -1, /* class_index of a number about the image as a whole */
};

/* A statistic: one number about the image or one of its classes. */
struct db_quantity {
    int32_t class_index;
    char name[DB_QUANTITY_NAME_SIZE]; /* unique for its class */
    char unit[DB_QUANTITY_UNIT_SIZE]; /* "" for counts and shares */
    double value;
    double low, high; /* the interval that comes with it; NaN: none */
};

struct db_result {
    char job_id[DB_ID_SIZE];
    char image_id[DB_ID_SIZE];
    uint32_t rows, columns;
    uint32_t chip_width, chip_height, stride_x, stride_y, offset_x, offset_y;
    char edge[16];
    uint32_t n_classes;
    double temperature;
    struct db_quantity
        *quantities; /* by class_index; each class has some. Read back: by name too */
    size_t n_quantities;
    uint16_t *labels;     /* rows x columns; NULL when not asked for */
    float *probabilities; /* rows x columns x n_classes; NULL when not asked for */
    float *distances;     /* rows x columns; NULL when not asked for */
    uint16_t *raw_labels; /* rows x columns: of the classifier, where later steps changed labels;
                             NULL: they did not. Stored; read back in parts only: */
    bool has_raw_labels;
    char *analysis;    /* what it says of how it came about, a JSON object as text; NULL: nothing,
                          as results that were stored before there was such a text */
    char *suggestions; /* which of its chips to label next, as text; only to be stored (read by
                          suggestions.h); NULL: it does not say */
    char created_at[DB_TIME_SIZE];
};

/* A stretch of a result's maps; the arrays are the caller's. SQLite goes to a place in a map from
 * the row's begin, page by page, and distances stand at its end: many parts with them are slow. */
struct db_result_part {
    uint64_t first, n_chips; /* in the order of the maps, row by row */
    uint16_t *labels;        /* n_chips */
    float *probabilities;    /* n_chips x n_classes; NULL: not asked for, as the next */
    float *distances;        /* n_chips */
    uint16_t *raw_labels;    /* n_chips; of a result that has them */
};

enum db_result_maps {
    DB_RESULT_WITHOUT_MAPS,
    DB_RESULT_WITH_MAPS, /* labels, probabilities and distances */
};

struct db_result_list {
    struct db_result *items; /* in the order of the job's images, without blobs */
    size_t n_items;
    bool more;        /* there is at least one after the last */
    size_t n_damaged; /* among them that cannot be read and are left out */
};

/* Stores a result for the running job of a lease, resets the job's attempts and stores
 * n_chips_done, in one transaction. A result that exists already is kept. ERROR_CONFLICT: the lease
 * was lost. Blobs are little-endian: labels u16, probabilities f32, distances f32. */
int db_result_insert(struct db *db, const struct db_result *result, const struct db_lease *lease,
                     uint64_t n_chips_done, struct error *err);
/* ERROR_NOT_FOUND. ERROR_CORRUPT: a blob's size is not what rows, columns and classes say, or a
 * label is neither a class nor one of the above. */
int db_result_get(struct db *db, const char *job_id, const char *image_id, enum db_result_maps maps,
                  struct db_result *out, struct error *err);
/* Fills the arrays with chips of a result that db_result_get gave: for maps that are too large to
 * load. Results are final, so parts read one after the other belong together. A database reader is
 * held for the call only. ERROR_NOT_FOUND: the result was deleted meanwhile. ERROR_CORRUPT. */
int db_result_read_part(struct db *db, const struct db_result *result,
                        const struct db_result_part *part, struct error *err);
/* page->after_id is an image's id. ERROR_INVALID: the job has no result of that image. */
int db_result_list(struct db *db, const char *job_id, const struct db_page *page,
                   struct db_result_list *out, struct error *err);
int db_result_exists(struct db *db, const char *job_id, const char *image_id, bool *out,
                     struct error *err);

void db_result_clear(struct db_result *result);
void db_result_list_clear(struct db_result_list *list);

#endif
