#include "server/watch/scrub.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "db/store/reader.h"

enum { PART_SIZE = 256 << 10 };

struct scrub {
    struct store *store;
    const struct log *log;
    struct store_reader *reader; /* of `at`; NULL: the next file is to be opened */
    char first[DB_SHA256_SIZE];  /* a pass ends where it began */
    char at[DB_SHA256_SIZE];     /* the last file that was begun */
    bool is_running;             /* a pass */
    bool is_wrapped;             /* it came to the last name and went on with the first */
    struct scrub_counts counts;
    uint8_t part[PART_SIZE];
};

int scrub_create(struct scrub **out, struct store *store, const struct log *log, struct error *err)
{
    struct scrub *scrub = calloc(1, sizeof(*scrub));
    if (scrub == NULL)
        return error_set_nomem(err, "the scrub");
    scrub->store = store;
    scrub->log = log;
    *out = scrub;
    return 0;
}

void scrub_destroy(struct scrub *scrub)
{
    if (scrub == NULL)
        return;
    store_reader_close(scrub->reader);
    free(scrub);
}

struct scrub_counts scrub_counts(const struct scrub *scrub)
{
    return scrub->counts;
}

static void begin_pass(struct scrub *scrub)
{
    uint8_t name[(DB_SHA256_SIZE - 1) / 2];
    arc4random_buf(name, sizeof(name));
    hex_encode(name, sizeof(name), scrub->first);
    memcpy(scrub->at, scrub->first, sizeof(scrub->at));
    scrub->is_running = true;
    scrub->is_wrapped = false;
    scrub->counts = (struct scrub_counts){0};
}

static void end_file(struct scrub *scrub)
{
    store_reader_close(scrub->reader);
    scrub->reader = NULL;
}

/* Counts a file that cannot be gone on with. One that was removed meanwhile is none. */
static void give_up(struct scrub *scrub, const struct error *err)
{
    if (err->code == ERROR_CORRUPT) {
        scrub->counts.n_damaged++;
    } else if (err->code != ERROR_NOT_FOUND) {
        scrub->counts.n_unreadable++;
        log_write(scrub->log, LOG_LEVEL_ERROR, "data_unreadable",
                  (struct log_field[]){log_string("sha256", scrub->at),
                                       log_string("error", err->message)},
                  2);
    }
    end_file(scrub);
}

/* Takes the next name. False at the end of the pass. */
static bool take_next(struct scrub *scrub)
{
    struct error err = {0};
    char next[DB_SHA256_SIZE];
    int rc = store_next(scrub->store, scrub->at, next, &err);
    if (rc == ERROR_NOT_FOUND && !scrub->is_wrapped) {
        scrub->is_wrapped = true;
        rc = store_next(scrub->store, "", next, &err);
    }
    if (rc != 0 && rc != ERROR_NOT_FOUND)
        give_up(scrub, &err);
    if (rc != 0 || (scrub->is_wrapped && strcmp(next, scrub->first) > 0))
        return false;
    memcpy(scrub->at, next, sizeof(scrub->at));
    return true;
}

static void begin_file(struct scrub *scrub)
{
    struct error err = {0};
    if (store_reader_open(&scrub->reader, scrub->store, scrub->at, STORE_READER_SCRUB, &err) != 0)
        give_up(scrub, &err);
    else
        scrub->counts.n_files++;
}

/* Reads a part; the bytes that it had. */
static uint64_t read_part(struct scrub *scrub)
{
    struct error err = {0};
    size_t n = 0;
    if (store_reader_read(scrub->reader, scrub->part, sizeof(scrub->part), &n, &err) != 0)
        give_up(scrub, &err);
    else if (n == 0)
        end_file(scrub);
    scrub->counts.size += n;
    return n;
}

enum scrub_state scrub_step(struct scrub *scrub, uint64_t max_size)
{
    if (!scrub->is_running)
        begin_pass(scrub);
    for (uint64_t done = 0; done < max_size;) {
        if (scrub->reader != NULL) {
            done += read_part(scrub);
            continue;
        }
        if (!take_next(scrub)) {
            scrub->is_running = false;
            return SCRUB_PASS_ENDED;
        }
        begin_file(scrub);
        done += SCRUB_FILE_SIZE;
    }
    return SCRUB_GOES_ON;
}
