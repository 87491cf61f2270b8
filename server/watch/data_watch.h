/* A thread that looks after the data directory while a server runs: once a second whether it is
 * still the one that was opened. */
#ifndef CHIPSHOT_SERVER_DATA_WATCH_H
#define CHIPSHOT_SERVER_DATA_WATCH_H

#include "db/data.h"
#include "server/watch/log.h"

struct data_watch;

struct data_watch_config {
    const struct log *log; /* borrowed until destroy; NULL: nothing is logged */
};

/* `data` is borrowed until destroy. */
int data_watch_create(struct data_watch **out, struct data *data,
                      const struct data_watch_config *config, struct error *err);
/* Ends the thread. NULL allowed. */
void data_watch_destroy(struct data_watch *watch);

#endif
