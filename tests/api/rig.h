/* An API over a real data directory in $TMPDIR, called without a socket as server/http/http.c
 * would: api_begin, the body, api_handle. */
#ifndef CHIPSHOT_TESTS_API_RIG_H
#define CHIPSHOT_TESTS_API_RIG_H

#include "tests/test.h"

#include <jansson.h>

#include "api/api.h"
#include "db/encoders.h"
#include "db/images.h"
#include "db/jobs.h"
#include "db/projects.h"
#include "db/results/results.h"
#include "db/support_sets.h"

enum { RIG_HEADERS_MAX = 8 };
#define RIG_PRINCIPAL "key_rig" /* who sends the requests */

struct rig {
    char directory[512];
    struct data *data;
    struct db *db; /* of `data` */
    struct api *api;
    struct api_limits limits;
    struct api_hooks hooks;
    struct error err;
    /* of the next request; emptied by it */
    struct api_header headers[RIG_HEADERS_MAX];
    size_t n_headers;
    /* of the last answer */
    struct api_response response;
    json_t *json; /* the body when it is JSON, else NULL */
    bool begun;   /* api_begin let the body be read */
    /* what the hooks saw */
    unsigned n_changed;
    char changed_id[DB_ID_SIZE];
    uint32_t waited_ms;
    bool finish_on_wait; /* the job runs while a request waits (rig_finish_job) */
    bool shutting_down;
    const uint16_t *labels;     /* 15, of rig_finish_job's result; NULL: they alternate */
    const uint16_t *raw_labels; /* likewise; NULL: it has none */
    char *suggestions;          /* of its result; NULL: as of a program that made none */
    /* filled by rig_fill */
    char project[DB_ID_SIZE];
    char image[DB_ID_SIZE]; /* 40 x 30 pixels, 0.5 nm each, so 5 x 3 chips of 8 */
    char encoder[DB_ID_SIZE];
    char set[DB_ID_SIZE]; /* chip 8 x 8; classes "film" and "a/b, \"c\"" */
};

int rig_setup(void **state);
int rig_teardown(void **state);
/* Runs SQL on the database beside the API, as someone with an editor would. */
void rig_edit(struct rig *rig, const char *sql);
/* Makes the API again with rig->limits and rig->hooks. */
void rig_restart_api(struct rig *rig);

/* A header of the next request; `value` must outlive it. */
void rig_header(struct rig *rig, const char *name, const char *value);
/* Sends a request with a JSON body (NULL: none) and returns the status. The target is a format. */
int rig_send(struct rig *rig, const char *method, const char *body, const char *target, ...)
    __attribute__((format(printf, 4, 5)));
/* Sends a file. */
int rig_upload(struct rig *rig, const char *type, const void *data, size_t size, const char *target,
               ...) __attribute__((format(printf, 5, 6)));
/* The same with PUT. */
int rig_put_file(struct rig *rig, const char *type, const void *data, size_t size,
                 const char *target, ...) __attribute__((format(printf, 5, 6)));
/* The value of a header of the last answer, or "". */
const char *rig_got(const struct rig *rig, const char *name);

/* A value of the last JSON body by RFC 6901 pointer; fails the test when there is none. */
json_t *rig_at(const struct rig *rig, const char *pointer);
const char *rig_text(const struct rig *rig, const char *pointer);
double rig_number(const struct rig *rig, const char *pointer);

/* The last answer is a problem with this status and type name, and is whole. */
void rig_assert_problem(const struct rig *rig, int status, const char *type);
/* The last problem lists exactly `n` faults, one of them at `name` (a pointer, parameter or header)
 * with `detail` in its text. */
void rig_assert_fault(const struct rig *rig, size_t n, const char *name, const char *detail);

/* A grey 16-bit PNG with a gradient that depends on `seed`; freed by the caller. */
void *rig_png(uint32_t width, uint32_t height, unsigned seed, size_t *size);

/* A project with an image, a support set and a default encoder (a row alone). */
void rig_fill(struct rig *rig);
/* Another encoder, the default from now on, that is encoded so where a job does not say; in
 * rig->encoder. It has no weights. */
void rig_add_encoder(struct rig *rig, const char *encoding);
/* Makes a job of the filled things and returns its id in `id`. */
void rig_add_job(struct rig *rig, char id[DB_ID_SIZE]);
/* Claims the oldest job, stores a result for its first image (labels alternate by chip: 0, 1, ...)
 * and ends it. */
void rig_finish_job(struct rig *rig, enum db_job_state state);
/* A finished job over one new image of width x height pixels, with a chip of 8 x 8 at every pixel:
 * (width - 7) x (height - 7) chips, labels and probabilities as rig_finish_job's. */
void rig_add_large_result(struct rig *rig, uint32_t width, uint32_t height, char job[DB_ID_SIZE],
                          char image[DB_ID_SIZE]);

#endif
