/* A data directory in $TMPDIR with a project, an image, an encoder and a support set, for the tests
 * of db/. */
#ifndef CHIPSHOT_TESTS_UNIT_DB_FIXTURE_H
#define CHIPSHOT_TESTS_UNIT_DB_FIXTURE_H

#include "tests/test.h"

#include "db/data.h"
#include "db/encoders.h"
#include "db/images.h"
#include "db/jobs.h"
#include "db/projects.h"
#include "db/results/results.h"
#include "db/support_sets.h"

#define assert_ok(call) assert_int_equal((call), 0)

/* Who changes what the tests change. */
extern const struct principal fixture_principal;

struct fixture {
    char directory[512];
    struct data *data;
    struct db *db; /* of `data`, as the next two */
    struct store *store;
    struct cache *cache;
    struct error err;
    char project_id[DB_ID_SIZE];
    char image_id[DB_ID_SIZE];
    char encoder_id[DB_ID_SIZE];
    char support_set_id[DB_ID_SIZE];
};

/* A new empty directory below $TMPDIR. */
void fixture_directory(char out[512]);
void fixture_remove_directory(const char *directory);

/* cmocka setup and teardown: *state becomes a struct fixture with an open db and nothing in it. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Opens fixture->directory with a cache of a megabyte. */
int fixture_open(struct fixture *f);
/* The same with a cache of another size. */
int fixture_open_with(struct fixture *f, uint64_t cache_max_size);
void fixture_close(struct fixture *f);
/* Closes and opens again; fails the test when that fails. */
void fixture_reopen(struct fixture *f);

/* Fills project_id, image_id, encoder_id and support_set_id. */
void fixture_fill(struct fixture *f);

void fixture_add_project(struct fixture *f, const char *name, char id[DB_ID_SIZE]);
/* Stores `text` as a blob and an image row for it; the result of db_image_insert. */
int fixture_add_image(struct fixture *f, const char *project_id, const char *text,
                      char id[DB_ID_SIZE]);
/* Inserts a job on fixture->image_id with nothing but defaults; the result of db_job_insert. */
int fixture_add_job(struct fixture *f, int32_t priority, char id[DB_ID_SIZE]);

/* The project's jobs in a state, counted page by page. */
uint64_t fixture_count_jobs(struct fixture *f, enum db_job_state state);

/* A result of one chip and one class, which points into the struct. */
struct fixture_result {
    struct db_quantity quantity;
    uint16_t label;
    float probability, distance;
    struct db_result result;
};
/* Fills it for fixture->image_id. */
void fixture_one_chip(const struct fixture *f, const char *job_id, struct fixture_result *out);

/* A db_owner_is_gone that tells of the owner "w" that its process has ended, and of no other. */
bool fixture_w_is_gone(const char *owner);

/* The path of a file in the data directory. */
void fixture_path(const struct fixture *f, const char *name, char out[700]);
void fixture_write_file(const struct fixture *f, const char *name, const char *text);
/* The first `size` bytes of a file; 0 when it is absent. */
size_t fixture_read_file(const struct fixture *f, const char *name, char *out, size_t size);

/* Runs SQL on the database with a connection of its own, as someone with an editor would. The db
 * must be closed. */
void fixture_edit(struct fixture *f, const char *sql);

bool fixture_blob_exists(const struct fixture *f, const char *text);
void fixture_sha256(const char *text, char out[DB_SHA256_SIZE]);

/* Files in the tmp/ of a data directory. */
size_t fixture_n_temporary(const char *directory);

#endif
