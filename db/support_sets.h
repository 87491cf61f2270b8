/* Support sets: named, with immutable versions 1, 2, ... of classes and example chips. */
#ifndef CHIPSHOT_DB_SUPPORT_SETS_H
#define CHIPSHOT_DB_SUPPORT_SETS_H

#include "base/principal.h"
#include "db/db.h"

struct db_example {
    char image_id[DB_ID_SIZE];
    uint32_t x, y; /* top left corner in pixels */
};

struct db_class {
    char *name;
    uint8_t color[3];            /* RGB */
    bool is_uncounted;           /* it is mapped, and outside of every fraction */
    struct db_example *examples; /* n_examples; NULL in a list and in a set without examples */
    size_t n_examples;
};

struct db_support_set {
    char id[DB_ID_SIZE]; /* sup_ */
    char project_id[DB_ID_SIZE];
    char *name;       /* of this version */
    uint32_t version; /* 1, 2, ... */
    uint32_t latest_version;
    uint32_t chip_width, chip_height;
    struct db_class *classes;
    size_t n_classes;
    char created_at[DB_TIME_SIZE];      /* of the version */
    char created_by[PRINCIPAL_ID_SIZE]; /* likewise; given by who inserts */
};

struct db_support_set_list {
    struct db_support_set *items; /* latest versions with their classes, without examples */
    size_t n_items;
    bool more;
    size_t n_damaged; /* left out: their rows cannot be read */
};

/* Stores version 1; sets id, version and created_at. ERROR_NOT_FOUND: no such project.
 * ERROR_INVALID: an example's image is not in the project. */
int db_support_set_insert(struct db *db, struct db_support_set *set, struct error *err);
/* Stores the next version of set->id. `expected_version` 0: any; otherwise ERROR_CONFLICT when the
 * latest differs. ERROR_NOT_FOUND. */
int db_support_set_add_version(struct db *db, struct db_support_set *set, uint32_t expected_version,
                               struct error *err);
/* version 0: the latest. */
int db_support_set_get(struct db *db, const char *id, uint32_t version, struct db_support_set *out,
                       struct error *err);
/* The same without examples, of which there may be very many. */
int db_support_set_get_classes(struct db *db, const char *id, uint32_t version,
                               struct db_support_set *out, struct error *err);
int db_support_set_list(struct db *db, const char *project_id, const struct db_page *page,
                        struct db_support_set_list *out, struct error *err);

/* Bit k: class k is not counted. */
uint64_t db_support_set_uncounted(const struct db_support_set *set);
void db_support_set_clear(struct db_support_set *set);
void db_support_set_list_clear(struct db_support_set_list *list);

#endif
