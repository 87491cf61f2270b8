/* A worker over a real database in $TMPDIR with the default encoder, and small drawn images whose
 * truth is known: noise left of a column, stripes right of it. For the tests of the worker and of
 * what it drives. Every function fails the running test when it cannot do its work. */
#ifndef CHIPSHOT_TESTS_UNIT_SERVER_RIG_H
#define CHIPSHOT_TESTS_UNIT_SERVER_RIG_H

#include <sys/types.h>

#include "tests/unit/db/fixture.h"

#include "api/limits.h"
#include "server/service.h"

enum {
    RIG_CHIP = 16,             /* chips are RIG_CHIP x RIG_CHIP */
    RIG_WIDTH = 8 * RIG_CHIP,  /* images are RIG_WIDTH x RIG_HEIGHT */
    RIG_HEIGHT = 6 * RIG_CHIP, /* 48 chips at the default stride */
    RIG_CHIPS = 48,            /* of one image at the default stride */
    RIG_CACHE_SIZE = 64 << 20, /* bytes */
    RIG_MANY_CHIPS = 113 * 81, /* of one image at stride 1 */
    RIG_SOME_CHIPS = 29 * 21,  /* of one image at stride 4 */
    RIG_PATIENCE_MS = 10 * 60 * 1000,
};

struct rig {
    char directory[512];
    struct service service;
    struct db *db; /* this and the next seven: the service's, for short */
    struct store *store;
    struct cache *cache;
    struct pool *pool;
    struct encoder_store *encoders;
    struct metrics *metrics;
    struct job_waits *waits;
    struct worker *worker; /* NULL: none runs */
    struct log log;
    int log_fd; /* read end of the log's pipe, when it is captured; else -1 */
    struct api_limits limits;
    uint64_t small_size;      /* job_engine.h; to be set before rig_start */
    uint64_t max_maps_size;   /* likewise */
    uint64_t max_result_size; /* likewise */
    uint32_t lease_ms;        /* worker.h; this one and the next likewise */
    struct worker_retry retry;
    struct error err;
    char project_id[DB_ID_SIZE];
    char encoder_id[DB_ID_SIZE];
};

/* A project and the default encoder; no worker runs yet. */
void rig_open(struct rig *rig, uint64_t cache_size);
/* The same with any number of worker threads; there are 2 otherwise. */
void rig_open_threads(struct rig *rig, uint64_t cache_size, uint32_t n_threads);
/* The same on a directory that a rig of another process has filled; without a project. */
void rig_join(struct rig *rig, const char *directory, uint64_t cache_size);
void rig_close(struct rig *rig);
/* The two as cmocka's fixtures: *state is a rig with a cache. */
int rig_set_up(void **state);
int rig_tear_down(void **state);
void rig_start(struct rig *rig, uint32_t n_drivers);
/* Stops and destroys the worker; a job that runs goes back to the queue. */
void rig_stop(struct rig *rig, uint32_t drain_ms);

/* The log goes to a pipe from now on; call before rig_start. */
void rig_capture_log(struct rig *rig);
/* Reads the log until a line contains `mark`. */
void rig_wait_log(struct rig *rig, const char *mark);

/* An image whose stripes begin at column `split` (a multiple of RIG_CHIP for a sharp truth). */
void rig_add_image(struct rig *rig, uint64_t seed, uint32_t split, char id[DB_ID_SIZE]);
/* A PNG as it comes, with a row that says width x height. */
void rig_add_file(struct rig *rig, const void *data, size_t size, uint32_t width, uint32_t height,
                  char id[DB_ID_SIZE]);
/* Path of an image's file. */
void rig_image_path(struct rig *rig, const char *image_id, char *path, size_t size);

/* Class 0 is "noise", class 1 is "stripes". */
struct rig_example {
    uint32_t class_index;
    const char *image_id;
    uint32_t x, y;
};
void rig_add_set(struct rig *rig, const struct rig_example *examples, size_t n,
                 char id[DB_ID_SIZE]);
/* Three examples a class on the grid of one image that is split in the middle. */
void rig_add_plain_set(struct rig *rig, const char *image_id, char id[DB_ID_SIZE]);

/* Inserts a job; does not tell the worker. */
void rig_insert(struct rig *rig, const char *set_id, const char (*images)[DB_ID_SIZE], size_t n,
                uint32_t stride, char id[DB_ID_SIZE]);
/* The same with any text for parameters. */
void rig_insert_params(struct rig *rig, const char *set_id, const char (*images)[DB_ID_SIZE],
                       size_t n, const char *params, uint64_t n_chips, char id[DB_ID_SIZE]);
/* Inserts and tells the worker. */
void rig_submit(struct rig *rig, const char *set_id, const char (*images)[DB_ID_SIZE], size_t n,
                uint32_t stride, char id[DB_ID_SIZE]);
/* Waits until the job is final; fails the test when it is not `state`. */
void rig_wait(struct rig *rig, const char *job_id, enum db_job_state state);
/* Looks again and again (woken by the waits) until `reached` is true. */
void rig_wait_until(struct rig *rig, const char *job_id, bool (*reached)(const struct db_job *job));
bool rig_is_running(const struct db_job *job);
void rig_get(struct rig *rig, const char *job_id, struct db_job *out);

void rig_result(struct rig *rig, const char *job_id, const char *image_id, struct db_result *out);
/* A statistic of a class; fails the test when there is none. */
double rig_statistic(const struct db_result *result, int32_t class_index, const char *name);
/* Share of the chips of a result whose label is right; chips across the split are not counted. */
double rig_accuracy(const struct db_result *result, uint32_t split);
void rig_assert_same(const struct db_result *a, const struct db_result *b);

/* Runs a job over four images, split in the middle, in a rig of its own (`small_size` as above),
 * with examples in two of them that are chips of the grid and in two that are not. Returns the
 * number of chips that the job counted. */
uint64_t rig_run_several(uint64_t cache_size, uint64_t small_size, uint32_t stride,
                         struct db_result out[4]);

/* A counter of the metrics; `series` is the text before the value. */
double rig_metric(struct rig *rig, const char *series);

enum { RIG_PATH = 1400 };

/* Bytes of the largest file of the cache, and its path; 0: there is none. */
off_t rig_largest_cached(const struct rig *rig, char path[RIG_PATH]);

#endif
