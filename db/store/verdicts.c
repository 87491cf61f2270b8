/* Whole files are in a table by the first bytes of their name, where one pushes out another;
 * damaged ones, which are few, in a list. */
#include "db/store/verdicts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hex.h"
#include "db/store/files.h"

enum { N_SLOTS = 4096, SETTLED_S = 2 };

struct whole {
    char sha256[DB_SHA256_SIZE]; /* "": none */
    struct file_identity identity;
};

struct damaged {
    char sha256[DB_SHA256_SIZE], hash[DB_SHA256_SIZE];
    struct file_identity identity;
    struct damaged *next;
};

struct verdicts {
    pthread_mutex_t mutex; /* guards all below */
    struct damaged *damaged;
    uint64_t n_damaged;
    uint64_t n_noted;
    struct whole whole[N_SLOTS];
};

int file_identity_read(struct file_identity *out, int fd, struct error *err)
{
    struct stat status;
    struct timespec now;
    if (fstat(fd, &status) != 0)
        return db_io_error(err, errno, "looking at", "a blob");
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct file_identity){
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = (uint64_t)status.st_size,
        .modified = status.st_mtim,
        .changed = status.st_ctim,
        .is_settled = now.tv_sec - status.st_ctim.tv_sec > SETTLED_S,
    };
    return 0;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct file_identity *a, const struct file_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           is_same_time(&a->modified, &b->modified) && is_same_time(&a->changed, &b->changed);
}

int verdicts_create(struct verdicts **out, struct error *err)
{
    struct verdicts *verdicts = calloc(1, sizeof(*verdicts));
    if (verdicts == NULL)
        return error_set_nomem(err, "the verdicts on files");
    pthread_mutex_init(&verdicts->mutex, NULL);
    *out = verdicts;
    return 0;
}

/* ---- under the mutex ---- */

static struct whole *slot_of(struct verdicts *verdicts, const char *sha256)
{
    uint8_t first[2] = {0};
    hex_decode(sha256, sizeof(first), first);
    return &verdicts->whole[(first[0] | first[1] << 8) % N_SLOTS];
}

static struct damaged **find_damaged(struct verdicts *verdicts, const char *sha256)
{
    struct damaged **link = &verdicts->damaged;
    while (*link != NULL && strcmp((*link)->sha256, sha256) != 0)
        link = &(*link)->next;
    return link;
}

/* Whether there was one. */
static bool forget_damaged(struct verdicts *verdicts, const char *sha256)
{
    struct damaged **link = find_damaged(verdicts, sha256);
    struct damaged *damaged = *link;
    if (damaged == NULL)
        return false;
    *link = damaged->next;
    verdicts->n_damaged--;
    free(damaged);
    return true;
}

static void forget_whole(struct verdicts *verdicts, const char *sha256)
{
    struct whole *slot = slot_of(verdicts, sha256);
    if (strcmp(slot->sha256, sha256) == 0)
        slot->sha256[0] = '\0';
}

/* Whether it is new. Past the limit, and without memory, it is not kept and news each time. */
static bool note_damaged(struct verdicts *verdicts, const char *sha256,
                         const struct file_identity *identity, const char *hash)
{
    struct damaged *damaged = *find_damaged(verdicts, sha256);
    const bool is_new = damaged == NULL;
    forget_whole(verdicts, sha256);
    if (is_new && verdicts->n_damaged < VERDICTS_DAMAGED_MAX)
        damaged = calloc(1, sizeof(*damaged));
    if (damaged == NULL)
        return true;
    if (is_new) {
        damaged->next = verdicts->damaged;
        verdicts->damaged = damaged;
        verdicts->n_damaged++;
    }
    memcpy(damaged->sha256, sha256, DB_SHA256_SIZE);
    memcpy(damaged->hash, hash, DB_SHA256_SIZE);
    damaged->identity = *identity;
    return is_new;
}

static bool note_whole(struct verdicts *verdicts, const char *sha256,
                       const struct file_identity *identity)
{
    if (identity->is_settled) {
        struct whole *slot = slot_of(verdicts, sha256);
        memcpy(slot->sha256, sha256, DB_SHA256_SIZE);
        slot->identity = *identity;
    }
    return forget_damaged(verdicts, sha256);
}

/* ---- from outside ---- */

void verdicts_destroy(struct verdicts *verdicts)
{
    if (verdicts == NULL)
        return;
    while (verdicts->damaged != NULL)
        forget_damaged(verdicts, verdicts->damaged->sha256);
    pthread_mutex_destroy(&verdicts->mutex);
    free(verdicts);
}

enum verdict verdicts_find(struct verdicts *verdicts, const char *sha256,
                           const struct file_identity *identity, char hash[DB_SHA256_SIZE])
{
    enum verdict verdict = VERDICT_NONE;
    pthread_mutex_lock(&verdicts->mutex);
    const struct damaged *damaged = *find_damaged(verdicts, sha256);
    const struct whole *whole = slot_of(verdicts, sha256);
    if (damaged != NULL && damaged->identity.is_settled && is_same(&damaged->identity, identity)) {
        memcpy(hash, damaged->hash, DB_SHA256_SIZE);
        verdict = VERDICT_DAMAGED;
    } else if (strcmp(whole->sha256, sha256) == 0 && is_same(&whole->identity, identity)) {
        verdict = VERDICT_WHOLE;
    }
    pthread_mutex_unlock(&verdicts->mutex);
    return verdict;
}

enum verdict verdicts_note(struct verdicts *verdicts, const char *sha256,
                           const struct file_identity *identity, const char *hash, bool *is_news)
{
    const bool is_whole = strcmp(sha256, hash) == 0;
    pthread_mutex_lock(&verdicts->mutex);
    verdicts->n_noted++;
    *is_news = is_whole ? note_whole(verdicts, sha256, identity)
                        : note_damaged(verdicts, sha256, identity, hash);
    pthread_mutex_unlock(&verdicts->mutex);
    return is_whole ? VERDICT_WHOLE : VERDICT_DAMAGED;
}

void verdicts_forget(struct verdicts *verdicts, const char *sha256)
{
    pthread_mutex_lock(&verdicts->mutex);
    forget_damaged(verdicts, sha256);
    forget_whole(verdicts, sha256);
    pthread_mutex_unlock(&verdicts->mutex);
}

void verdicts_count(struct verdicts *verdicts, uint64_t *n_noted, uint64_t *n_damaged)
{
    pthread_mutex_lock(&verdicts->mutex);
    *n_noted = verdicts->n_noted;
    *n_damaged = verdicts->n_damaged;
    pthread_mutex_unlock(&verdicts->mutex);
}
