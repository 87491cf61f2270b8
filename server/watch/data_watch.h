/* A thread that looks after the data directory while a server runs: once a second whether it is
 * still the one that was opened; between, slowly, whether its files are what was stored. */
#ifndef CHIPSHOT_SERVER_DATA_WATCH_H
#define CHIPSHOT_SERVER_DATA_WATCH_H

#include "db/data.h"
#include "engine/pool.h"
#include "server/watch/log.h"

struct data_watch;

struct data_watch_config {
    const struct log *log;     /* borrowed until destroy; NULL: nothing is logged */
    uint64_t scrub_rate;       /* bytes a second, a quarter of it while chips wait; 0: none */
    uint32_t scrub_interval_s; /* from the end of a pass over all files to the next */
};

/* `data` and `pool` are borrowed until destroy. */
int data_watch_create(struct data_watch **out, struct data *data, struct pool *pool,
                      const struct data_watch_config *config, struct error *err);
/* Ends the thread. NULL allowed. */
void data_watch_destroy(struct data_watch *watch);

#endif
