/* Identifiers and times.
 *
 * An id is a prefix and a ULID: 48 bits of milliseconds since 1970 and 80 random bits, as 26
 * characters of Crockford's base32, so that ids sort by age. Within one millisecond (and when the
 * clock steps back) the random part counts up from the last id, so ids of one process only grow.
 */
#include "db/id.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

enum { ULID_LENGTH = 26, RANDOM_SIZE = 10 };

static pthread_mutex_t last_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_ms;                       /* guarded by last_mutex */
static unsigned char last_random[RANDOM_SIZE]; /* guarded by last_mutex */

uint64_t db_time_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The next 80-bit number; false when they are used up. */
static bool increment(unsigned char number[RANDOM_SIZE])
{
    for (int i = RANDOM_SIZE - 1; i >= 0; i--) {
        if (++number[i] != 0)
            return true;
    }
    return false;
}

static void next(uint64_t *ms, unsigned char random[RANDOM_SIZE])
{
    uint64_t now = db_time_ms();
    pthread_mutex_lock(&last_mutex);
    if (now > last_ms) {
        last_ms = now;
        arc4random_buf(last_random, sizeof(last_random));
    } else if (!increment(last_random)) {
        last_ms++;
    }
    *ms = last_ms;
    memcpy(random, last_random, RANDOM_SIZE);
    pthread_mutex_unlock(&last_mutex);
}

void db_id_create(const char *prefix, char out[DB_ID_SIZE])
{
    uint64_t ms;
    unsigned char random[RANDOM_SIZE];
    char ulid[ULID_LENGTH + 1];
    next(&ms, random);
    for (int i = 9; i >= 0; i--) {
        ulid[i] = digits[ms & 31];
        ms >>= 5;
    }
    /* Sixteen characters of five bits from ten bytes. */
    unsigned bits = 0, n_bits = 0;
    int length = 10;
    for (int i = 0; i < RANDOM_SIZE; i++) {
        bits = bits << 8 | random[i];
        n_bits += 8;
        while (n_bits >= 5) {
            n_bits -= 5;
            ulid[length++] = digits[bits >> n_bits & 31];
        }
    }
    ulid[ULID_LENGTH] = '\0';
    snprintf(out, DB_ID_SIZE, "%s%s", prefix, ulid);
}

bool db_id_is(const char *id, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(id, prefix, length) != 0)
        return false;
    id += length;
    /* The first character holds three bits: a ULID's milliseconds have 48. */
    return strlen(id) == ULID_LENGTH && strspn(id, digits) == ULID_LENGTH && id[0] <= '7';
}

void db_time_text(uint64_t ms, char out[DB_TIME_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc = {0};
    gmtime_r(&seconds, &utc);
    char text[DB_TIME_SIZE];
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out, DB_TIME_SIZE, "%.19s.%03uZ", text, (unsigned)(ms % 1000));
}

void db_time_now(char out[DB_TIME_SIZE])
{
    db_time_text(db_time_ms(), out);
}

void db_id_time(const char *id, char out[DB_TIME_SIZE])
{
    uint64_t ms = 0;
    size_t length = strlen(id);
    for (const char *c = id + (length < ULID_LENGTH ? length : length - ULID_LENGTH), *end = c + 10;
         c < end && *c != '\0'; c++) {
        const char *digit = strchr(digits, *c);
        ms = ms << 5 | (digit != NULL ? (uint64_t)(digit - digits) : 0);
    }
    db_time_text(ms, out);
}
