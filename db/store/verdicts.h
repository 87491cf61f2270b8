/* Which files of a store were found whole, and which damaged, since it was opened.
 *
 * A verdict is about a file as it was then: another inode, size or time of change makes it void.
 * Those on whole files are a cache of limited size; those on damaged ones are kept, up to
 * VERDICTS_DAMAGED_MAX, until a whole file has the name. Any thread. */
#ifndef CHIPSHOT_DB_STORE_VERDICTS_H
#define CHIPSHOT_DB_STORE_VERDICTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"
#include "db/id.h"

enum { VERDICTS_DAMAGED_MAX = 10000 };

/* What tells one state of a file from another. */
struct file_identity {
    dev_t device;
    ino_t inode;
    uint64_t size;
    struct timespec modified, changed;
    /* It was changed so long before it was looked at that a later change has another time: the
     * clock of a file system ticks. A verdict on one that is not is not kept. */
    bool is_settled;
};

/* ERROR_IO. */
int file_identity_read(struct file_identity *out, int fd, struct error *err);

enum verdict { VERDICT_NONE, VERDICT_WHOLE, VERDICT_DAMAGED };

struct verdicts;

int verdicts_create(struct verdicts **out, struct error *err);
void verdicts_destroy(struct verdicts *verdicts);

/* What is known of a file in that state. Of a damaged one `hash` becomes its SHA-256. */
enum verdict verdicts_find(struct verdicts *verdicts, const char *sha256,
                           const struct file_identity *identity, char hash[DB_SHA256_SIZE]);
/* Notes what was found: `hash` is the SHA-256 of the file in that state. *is_news: it is damaged
 * and was not known to be, or the other way round. */
enum verdict verdicts_note(struct verdicts *verdicts, const char *sha256,
                           const struct file_identity *identity, const char *hash, bool *is_news);
/* The file is gone, or another has its name. */
void verdicts_forget(struct verdicts *verdicts, const char *sha256);

/* Verdicts that were noted so far, and files that are damaged. */
void verdicts_count(struct verdicts *verdicts, uint64_t *n_noted, uint64_t *n_damaged);

#endif
