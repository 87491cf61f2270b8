#include "server/watch/data_log.h"

#include <stdio.h>

static const struct {
    enum log_level level;
    const char *event;
    const char *key; /* of the name */
} lines[DATA_NOTE_COUNT] = {
    [DATA_NOTE_LEFT_IN_TMP] = {LOG_LEVEL_WARN, "data_left_in_tmp", "name"},
};

void data_log_note(void *context, enum data_note note, const char *name)
{
    struct data_log *log = context;
    if (log->counts[note]++ >= DATA_LOG_LINES)
        return;
    log_write(log->log, lines[note].level, lines[note].event,
              (struct log_field[]){log_string(lines[note].key, name)}, 1);
}

void data_log_end(const struct data_log *log)
{
    for (int i = 0; i < DATA_NOTE_COUNT; i++) {
        if (log->counts[i] == 0)
            continue;
        char event[64];
        snprintf(event, sizeof(event), "%s_total", lines[i].event);
        log_write(log->log, lines[i].level, event,
                  (struct log_field[]){log_integer("count", (int64_t)log->counts[i])}, 1);
    }
}
