/* What happened: one row for every change of what clients can see, written in the transaction of
 * the change itself, so that there is an event if and only if it took place. Feeds, live updates,
 * webhooks and the audit trail will all read this one table.
 *
 *     type                   subject      data
 *     project.created        project      {}
 *     project.updated        project      revision
 *     project.deleted        project      n_images (what it owned has no events of its own)
 *     image.created          image        sha256
 *     image.updated          image        revision, x_nm and y_nm, before_x_nm and before_y_nm (0:
 *                                         not known)
 *     image.deleted          image        sha256
 *     image.mask_updated     image        version (of its mask)
 *     support_set.created    support set  version
 *     support_set.updated    support set  version
 *     encoder.created        encoder      sha256, is_default
 *     encoder.updated        encoder      is_default
 *     job.queued             job          n_images
 *     job.started            job          token (of the lease)
 *     job.cancel_requested   job          {} (while it runs)
 *     job.requeued           job          reason: released, lease_over or owner_gone; or failed or
 *                                         no_space, with code, attempts and delay_ms
 *     job.succeeded          job          token
 *     job.failed             job          token, code
 *     job.cancelled          job          token, when its worker ended it
 *     result.stored          job          image_id, token
 *     verification.created   verification job_id, n (chips drawn)
 *     verification.answered  verification job_id, n (answers now)
 *     verification.deleted   verification job_id, n (answers it had)
 *
 * Data is a small JSON object of ids, numbers and codes: never a text of a client, which would have
 * to be escaped and could be long. Progress is no event. An encoder that becomes the default tells
 * by the same event that the one before is it no more.
 *
 * job.started alone is written without waiting for the disk, as the claim is: a power cut may undo
 * both, and the event that comes next bears the same sequence. A reader that remembers a sequence
 * across such a cut compares the id of the event there, too.
 */
#ifndef CHIPSHOT_DB_EVENTS_H
#define CHIPSHOT_DB_EVENTS_H

#include <stdarg.h>

#include "base/principal.h"
#include "db/db.h"

struct db_connection;

enum db_event_type {
    DB_EVENT_PROJECT_CREATED,
    DB_EVENT_PROJECT_UPDATED,
    DB_EVENT_PROJECT_DELETED,
    DB_EVENT_IMAGE_CREATED,
    DB_EVENT_IMAGE_UPDATED,
    DB_EVENT_IMAGE_DELETED,
    DB_EVENT_IMAGE_MASK_UPDATED,
    DB_EVENT_SUPPORT_SET_CREATED,
    DB_EVENT_SUPPORT_SET_UPDATED,
    DB_EVENT_ENCODER_CREATED,
    DB_EVENT_ENCODER_UPDATED,
    DB_EVENT_JOB_QUEUED,
    DB_EVENT_JOB_STARTED,
    DB_EVENT_JOB_CANCEL_REQUESTED,
    DB_EVENT_JOB_REQUEUED,
    DB_EVENT_JOB_SUCCEEDED,
    DB_EVENT_JOB_FAILED,
    DB_EVENT_JOB_CANCELLED,
    DB_EVENT_RESULT_STORED,
    DB_EVENT_VERIFICATION_CREATED,
    DB_EVENT_VERIFICATION_ANSWERED,
    DB_EVENT_VERIFICATION_DELETED,
    DB_EVENT_TYPES,
};

/* "project.created", ... */
const char *db_event_type_name(enum db_event_type type);

enum { DB_EVENT_DATA_SIZE = 160 };

/* Sequences over this one were written by an editor, and so were those below 1: they are no events.
 * A million a second would take 30 years to come here. */
#define DB_EVENT_SEQUENCE_MAX INT64_C(1000000000000000)

struct db_event {
    uint64_t sequence;   /* 1, 2, ... in the order of commits, without gaps */
    char id[DB_ID_SIZE]; /* evt_ */
    char created_at[DB_TIME_SIZE];
    enum db_event_type type;
    char project_id[DB_ID_SIZE];       /* "": none, as for encoders; it may be gone by now */
    char subject_id[DB_ID_SIZE];       /* may be gone, too */
    char principal[PRINCIPAL_ID_SIZE]; /* who did it */
    char data[DB_EVENT_DATA_SIZE];     /* a JSON object */
};

struct db_event_list {
    struct db_event *items;
    size_t n_items;
};

/* What an event to be written is about; borrowed, the ids as in struct db_event. */
struct db_event_head {
    enum db_event_type type;
    const char *project_id;
    const char *subject_id;
    const char *principal;
};

/* Appends an event within the writer's open transaction, which gives it sequence, id and time;
 * `format` and what follows give its data. One writer at a time gives the sequence the order of
 * commits. */
int db_event_append(struct db_connection *writer, const struct db_event_head *head,
                    struct error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int db_event_appendv(struct db_connection *writer, const struct db_event_head *head,
                     struct error *err, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));

/* The same about a job, for its project. */
int db_job_event(struct db_connection *writer, const char *id, enum db_event_type type,
                 const char *principal, struct error *err, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The sequence of the last event, in a transaction of either kind; 0: there is none. */
int db_event_last(struct db_connection *connection, uint64_t *out, struct error *err);

/* Up to `limit` (1..1000) events whose sequence is over `after`, in order. */
int db_event_list(struct db *db, uint64_t after, uint32_t limit, struct db_event_list *out,
                  struct error *err);
void db_event_list_clear(struct db_event_list *list);

#endif
