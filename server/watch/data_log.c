#include "server/watch/data_log.h"

#include <limits.h>
#include <stdio.h>

static const struct {
    enum log_level level;
    const char *event;
    const char *key; /* of the name */
    unsigned n_lines;
} lines[DATA_NOTE_COUNT] = {
    [DATA_NOTE_PAIRED] = {LOG_LEVEL_WARN, "data_paired", "store", DATA_LOG_LINES},
    [DATA_NOTE_MISSING] = {LOG_LEVEL_ERROR, "data_missing", "sha256", DATA_LOG_LINES},
    [DATA_NOTE_LEFT_IN_TMP] = {LOG_LEVEL_WARN, "data_left_in_tmp", "name", DATA_LOG_LINES},
    [DATA_NOTE_GIVEN_UP] = {LOG_LEVEL_WARN, "disk_full_given_up", "what", DATA_LOG_LINES},
    [DATA_NOTE_SET_ASIDE] = {LOG_LEVEL_WARN, "data_set_aside", "sha256", DATA_LOG_LINES},
    [DATA_NOTE_BROUGHT_BACK] = {LOG_LEVEL_WARN, "data_brought_back", "sha256", DATA_LOG_LINES},
    [DATA_NOTE_DAMAGED] = {LOG_LEVEL_ERROR, "data_damaged", "sha256", UINT_MAX},
    [DATA_NOTE_HEALED] = {LOG_LEVEL_WARN, "data_healed", "sha256", UINT_MAX},
    [DATA_NOTE_IN_QUARANTINE] = {LOG_LEVEL_INFO, "data_in_quarantine", "sha256", 0},
};

void data_log_note(void *context, enum data_note note, const char *name)
{
    struct data_log *log = context;
    if (atomic_fetch_add(&log->counts[note], 1) >= lines[note].n_lines)
        return;
    log_write(log->log, lines[note].level, lines[note].event,
              (struct log_field[]){log_string(lines[note].key, name)}, 1);
}

void data_log_sum_up(struct data_log *log)
{
    for (int i = 0; i < DATA_NOTE_COUNT; i++) {
        const unsigned count = atomic_load(&log->counts[i]);
        if (count == 0)
            continue;
        char event[64];
        snprintf(event, sizeof(event), "%s_total", lines[i].event);
        log_write(log->log, lines[i].level, event,
                  (struct log_field[]){log_integer("count", count)}, 1);
    }
}
