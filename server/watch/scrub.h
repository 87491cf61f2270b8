/* Reads the files of a store one after the other and looks whether each is still what was stored.
 * A pass goes once round, from a random file on, so that each is reached sooner or later also where
 * a server never runs for long. Who calls says how fast. One thread. */
#ifndef CHIPSHOT_SERVER_SCRUB_H
#define CHIPSHOT_SERVER_SCRUB_H

#include "db/store/store.h"
#include "server/watch/log.h"

struct scrub;

/* Of the pass that runs or ended last. */
struct scrub_counts {
    uint64_t n_files;
    uint64_t size; /* bytes read */
    uint64_t n_damaged;
    uint64_t n_unreadable;
};

/* `store` and `log` are borrowed. A file that cannot be read is logged here; one that is damaged is
 * the store's to tell of. */
int scrub_create(struct scrub **out, struct store *store, const struct log *log, struct error *err);
/* NULL allowed. */
void scrub_destroy(struct scrub *scrub);

enum scrub_state { SCRUB_GOES_ON, SCRUB_PASS_ENDED };

/* Reads about `max_size` bytes more; a file counts as SCRUB_FILE_SIZE more than it has, so that
 * many small ones take their time too. After the end of a pass the next call begins another. */
enum { SCRUB_FILE_SIZE = 64 << 10 };
enum scrub_state scrub_step(struct scrub *scrub, uint64_t max_size);

struct scrub_counts scrub_counts(const struct scrub *scrub);

#endif
