/* Verifications: chips of a job's results that were drawn for a person to say what they truly are,
 * and what was answered. What is drawn never changes; answers may be given, changed and taken back
 * in any number of calls. Goes with its job. */
#ifndef CHIPSHOT_DB_RESULTS_VERIFICATIONS_H
#define CHIPSHOT_DB_RESULTS_VERIFICATIONS_H

#include "base/principal.h"
#include "db/db.h"

enum { DB_VERIFICATION_CHIPS_MAX = 1000 };

/* An answer is the index of a class or one of these. */
enum {
    DB_ANSWER_OPEN = -1,   /* none yet */
    DB_ANSWER_NONE = -2,   /* the chip is of none of the classes */
    DB_ANSWER_UNSURE = -3, /* who was asked cannot tell */
};

/* The chips of one label, or (the last stratum) of those without a class. */
struct db_stratum {
    uint64_t n_chips; /* that could be drawn */
    uint64_t n_known; /* chips of the class that are examples, which are not drawn */
};

struct db_verification_chip {
    char image_id[DB_ID_SIZE];
    uint64_t chip;    /* of the result's grid, row by row */
    uint32_t x, y;    /* top left corner in pixels */
    uint32_t stratum; /* the chip's label */
    int32_t answer;
};

struct db_verification {
    char id[DB_ID_SIZE]; /* ver_ */
    char job_id[DB_ID_SIZE];
    uint64_t seed;     /* at most INT64_MAX */
    uint64_t n_images; /* whose chips could be drawn */
    double area_nm2;   /* analysed, of these images; 0: unknown */
    uint64_t n_chips;  /* drawn: 1 .. DB_VERIFICATION_CHIPS_MAX */
    uint64_t n_answered;
    uint64_t revision;         /* 1, 2, ...: grows when an answer changes */
    struct db_stratum *strata; /* n_strata: a class each, and the last; NULL in a list */
    size_t n_strata;
    struct db_verification_chip *chips; /* n_chips, in the order to be looked at; NULL in a list */
    char created_at[DB_TIME_SIZE];
    char updated_at[DB_TIME_SIZE];
    char created_by[PRINCIPAL_ID_SIZE]; /* given by who inserts */
};

struct db_verification_list {
    struct db_verification *items; /* without strata and chips */
    size_t n_items;
    bool more;
    size_t n_damaged; /* left out: their rows cannot be read */
};

struct db_verification_answer {
    uint32_t index; /* of the chip */
    int32_t answer;
};

/* Sets id, revision and times; n_answered is 0 and every chip open. ERROR_NOT_FOUND: no such job.
 * ERROR_INVALID: no chips, too many, or one of a stratum that is none. */
int db_verification_insert(struct db *db, struct db_verification *verification, struct error *err);
/* ERROR_NOT_FOUND. ERROR_CORRUPT: chips or strata are missing or out of range. */
int db_verification_get(struct db *db, const char *id, struct db_verification *out,
                        struct error *err);
int db_verification_list(struct db *db, const char *job_id, const struct db_page *page,
                         struct db_verification_list *out, struct error *err);
/* Stores answers; of several about one chip the last holds. What changes nothing leaves the
 * revision as it is. `expected_revision` 0: any; otherwise ERROR_CONFLICT when the present one
 * differs. ERROR_NOT_FOUND. ERROR_INVALID: there is no such chip or class. */
int db_verification_answer(struct db *db, const char *id,
                           const struct db_verification_answer *answers, size_t n_answers,
                           uint64_t expected_revision, const struct principal *by,
                           struct error *err);
/* ERROR_NOT_FOUND. ERROR_CONFLICT as above. */
int db_verification_delete(struct db *db, const char *id, uint64_t expected_revision,
                           const struct principal *by, struct error *err);

void db_verification_clear(struct db_verification *verification);
void db_verification_list_clear(struct db_verification_list *list);

#endif
