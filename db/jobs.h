/* Jobs: durable queue entries. States: queued -> running -> succeeded | failed | cancelled; a
 * running job goes back to queued when its owner dies or shuts down, or when it failed for a cause
 * that may pass. Every accepted job ends exactly once.
 *
 * A claim is a lease: it names its owner, ends at a time unless a heartbeat renews it, and has a
 * fencing token, which grows with each claim of a job. A process may be stopped or suspended for
 * longer than its lease, and another may have the job by then; so every write about a running job
 * (progress, result, end) checks owner and token in its own transaction. Who lost the lease is told
 * so (ERROR_CONFLICT) and has written nothing. That a lease is over matters only once somebody has
 * put the job back: until then its owner may renew it.
 *
 * Token and owner are both checked: a power failure may undo a claim (it does not wait for the
 * disk) and the next one get its token, but not its owner. */
#ifndef CHIPSHOT_DB_JOBS_H
#define CHIPSHOT_DB_JOBS_H

#include "base/principal.h"
#include "db/db.h"

enum db_job_state {
    DB_JOB_QUEUED,
    DB_JOB_RUNNING,
    DB_JOB_SUCCEEDED,
    DB_JOB_FAILED,
    DB_JOB_CANCELLED,
};

const char *db_job_state_name(enum db_job_state state);
/* Returns false for an unknown name. */
bool db_job_state_parse(const char *name, enum db_job_state *out);
bool db_job_state_is_final(enum db_job_state state);

/* What a queued job waits for besides its turn. */
enum db_wait {
    DB_WAIT_NONE,
    DB_WAIT_BACK_OFF,   /* the time at which it is tried again */
    DB_WAIT_DISK_SPACE, /* likewise, and that there is room then */
};

/* "back-off", "disk space"; NULL for none. */
const char *db_wait_name(enum db_wait wait);

struct db_job {
    char id[DB_ID_SIZE]; /* job_ */
    char project_id[DB_ID_SIZE];
    char support_set_id[DB_ID_SIZE];
    uint32_t support_set_version;
    char encoder_id[DB_ID_SIZE];
    uint64_t masks_until; /* of images: those that came before, as db_image_mask_get takes it */
    char *params;         /* JSON text of all parameters with defaults filled in; opaque here */
    int32_t priority;     /* -100..100 (DB_JOB_PRIORITY_MAX), higher first */
    enum db_job_state state;
    bool cancel_requested;
    char (*image_ids)[DB_ID_SIZE]; /* n_images; NULL in a list and in what db_job_get_row gives */
    size_t n_images;
    uint64_t n_results; /* stored so far; of that many of its images */
    uint64_t n_chips_done;
    uint64_t n_chips_total;
    uint32_t attempts;   /* claims since the last stored result */
    uint32_t n_failures; /* for causes that may pass, since the last stored result */
    enum db_wait waiting_for;
    uint64_t not_before_ms; /* since 1970; when it is tried again, if it waits for that */
    char *error_code; /* of a job that failed; or why the last attempt did, until the next stored
                         result or the end; else NULL */
    char *error_message;
    uint64_t queue_position; /* queued jobs: 0 is next; computed on read */
    char created_at[DB_TIME_SIZE];
    char started_at[DB_TIME_SIZE];      /* "" until then */
    char finished_at[DB_TIME_SIZE];     /* "" until then */
    char created_by[PRINCIPAL_ID_SIZE]; /* a principal's id; given by who inserts */
};

enum {
    DB_JOB_PRIORITY_MAX = 100,
    DB_OWNER_SIZE = 128,
    /* A time further ahead was written by a clock that was wrong: the lease counts as over. */
    DB_LEASE_MAX_MS = 10 * 60 * 1000,
    /* Likewise: a job that is to wait for longer need not wait. */
    DB_RETRY_DELAY_MAX_MS = 60 * 60 * 1000,
};

/* The right to write about a running job. */
struct db_lease {
    char job_id[DB_ID_SIZE];
    char owner[DB_OWNER_SIZE]; /* no two processes that ever lived share one; opaque here */
    uint64_t token;            /* 1, 2, ...: claims of this job */
};

struct db_job_list {
    struct db_job *items;
    size_t n_items;
    bool more;
    size_t n_damaged; /* left out: their rows cannot be read */
};

/* An Idempotency-Key with the hash of what was asked and the answer that is to be replayed.
 * Borrowed. */
struct db_idempotency {
    const char *key;         /* the client's */
    const char *scope;       /* operation and project, so that keys do not collide */
    const char *body_sha256; /* of the request's body */
};

/* Inserts a queued job; sets id, state and created_at. `max_queued`: ERROR_BUSY when that many jobs
 * are queued already. With `idempotency` (NULL: none) the key is stored in the same transaction:
 * when it exists with the same body hash, `job` becomes the stored job (its own strings are
 * freed) and *replayed is set; with another hash ERROR_CONFLICT. Keys older than 24 hours are
 * dropped. ERROR_NOT_FOUND: no such project. ERROR_INVALID: an image or the support set is not in
 * the project, an image is given twice or none, there is no such encoder. */
int db_job_insert(struct db *db, struct db_job *job, uint64_t max_queued,
                  const struct db_idempotency *idempotency, bool *replayed, struct error *err);
int db_job_get(struct db *db, const char *id, struct db_job *out, struct error *err);
/* The same without image_ids, of which there may be very many. */
int db_job_get_row(struct db *db, const char *id, struct db_job *out, struct error *err);
/* `state` NULL: all. The jobs come without image_ids. */
int db_job_list(struct db *db, const char *project_id, const enum db_job_state *state,
                const struct db_page *page, struct db_job_list *out, struct error *err);

/* Claims the next queued job (priority, then age) for `owner`: it becomes running, and `lease` is
 * what its owner shows from now on. A job whose row cannot be read becomes failed, and the next one
 * is claimed. lease_ms: at most DB_LEASE_MAX_MS. ERROR_NOT_FOUND: the queue is empty. */
int db_job_claim(struct db *db, const char *owner, uint32_t lease_ms, struct db_job *out,
                 struct db_lease *lease, struct error *err);
/* Whether there is room on the disk for what a job stores. */
enum db_room { DB_NO_ROOM, DB_ROOM };
/* The same; without room, jobs that wait for it are left alone. (db_job_claim: there is.) */
int db_job_claim_with(struct db *db, const char *owner, uint32_t lease_ms, enum db_room room,
                      struct db_job *out, struct db_lease *lease, struct error *err);
/* Milliseconds until the first of the queued jobs may be claimed that may not be now; at most
 * `max_ms`, also when there is none. */
int db_job_due_in(struct db *db, uint32_t max_ms, uint32_t *out, struct error *err);
/* Renews the lease and stores progress. *cancel: cancellation was requested. ERROR_CONFLICT: the
 * lease was lost. */
int db_job_heartbeat(struct db *db, const struct db_lease *lease, uint32_t lease_ms,
                     uint64_t n_chips_done, bool *cancel, struct error *err);
/* Ends a running job: state must be final; code (a word, as of error_code_name) and message for
 * DB_JOB_FAILED. ERROR_CONFLICT: the lease was lost. */
int db_job_finish(struct db *db, const struct db_lease *lease, enum db_job_state state,
                  const char *error_code, const char *error_message, struct error *err);
/* Back to queued, progress kept at the stored results' chips; a job whose cancellation was
 * requested becomes cancelled instead. ERROR_CONFLICT: the lease was lost. */
int db_job_requeue(struct db *db, const struct db_lease *lease, struct error *err);

/* How a running job that failed is tried again. Each delay is twice the one before. */
struct db_retry {
    enum db_wait wait;     /* DB_WAIT_BACK_OFF, or DB_WAIT_DISK_SPACE: does not count */
    uint32_t max_attempts; /* that many failures are the end */
    uint32_t first_delay_ms, max_delay_ms; /* at most DB_RETRY_DELAY_MAX_MS */
    const char *error_code;                /* the cause, as in db_job_finish */
    const char *error_message;
};
/* Back to queued, until a time; or failed, after the last attempt; or cancelled, when that was
 * requested. *state says which. Results that are stored stay, and whoever stores another one has
 * all attempts again. ERROR_CONFLICT: the lease was lost. */
int db_job_retry(struct db *db, const struct db_lease *lease, const struct db_retry *retry,
                 enum db_job_state *state, struct error *err);

/* True when the process that `owner` names can write no more, for certain. Called without any lock
 * held. */
typedef bool (*db_owner_is_gone)(const char *owner);

/* Requeues running jobs whose lease is over, and those whose owner is gone, which need not be
 * waited for (NULL: nobody is known to be). Leaves those of `self` alone, the caller's own owner:
 * it lives, whatever the clock says. *n is the count. */
int db_job_requeue_expired(struct db *db, const char *self, db_owner_is_gone is_gone, uint64_t *n,
                           struct error *err);

/* A queued job becomes cancelled at once; a running one gets cancel_requested. *state is the state
 * after. Idempotent for cancelled jobs; ERROR_CONFLICT when succeeded or failed. */
int db_job_cancel(struct db *db, const char *id, const struct principal *by,
                  enum db_job_state *state, struct error *err);

/* Jobs that have not ended and whose id cannot be read: nobody claims them or takes them back. */
int db_job_count_damaged(struct db *db, uint64_t *out, struct error *err);

/* For metrics; what has ended is history and is not counted. */
struct db_job_counts {
    uint64_t n_queued, n_running;
};
int db_job_counts(struct db *db, struct db_job_counts *out, struct error *err);

void db_job_clear(struct db_job *job);
void db_job_list_clear(struct db_job_list *list);

#endif
