/* A thread that looks after the disk while a server runs: once a second how much is free, the
 * reserve, and what the database can give back of its file. */
#ifndef CHIPSHOT_SERVER_DISK_WATCH_H
#define CHIPSHOT_SERVER_DISK_WATCH_H

#include "db/data.h"
#include "server/watch/log.h"

struct disk_watch;

/* `data` and `log` (NULL: nothing is logged) are borrowed until destroy. */
int disk_watch_create(struct disk_watch **out, struct data *data, const struct log *log,
                      struct error *err);
/* Ends the thread. NULL allowed. */
void disk_watch_destroy(struct disk_watch *watch);

#endif
