/* Log lines of what is found in a data directory. */
#ifndef CHIPSHOT_SERVER_DATA_LOG_H
#define CHIPSHOT_SERVER_DATA_LOG_H

#include "db/data.h"
#include "server/watch/log.h"

#include <stdatomic.h>

/* Lines for most kinds of note; of what is more only the number is logged. */
enum { DATA_LOG_LINES = 20 };

/* Zero but for `log`. */
struct data_log {
    const struct log *log; /* borrowed; NULL: nothing is logged */
    atomic_uint counts[DATA_NOTE_COUNT];
};

/* A struct data_observer's function; `context` is a struct data_log. Any thread. */
void data_log_note(void *context, enum data_note note, const char *name);
/* Logs how many there were of each kind so far. */
void data_log_sum_up(struct data_log *log);

#endif
