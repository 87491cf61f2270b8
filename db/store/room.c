#include "db/store/room.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "db/store/files.h"

/* Of the floor. What the reserve leaves is for what goes on: logs, jobs that end. */
enum { CACHE_PART = 2, RESERVE_PART = 4, LEFT_PART = 64 };

struct room {
    char directory[DB_PATH_SIZE];
    char path[DB_PATH_SIZE]; /* of the reserve */
    uint64_t floor;
    pthread_mutex_t mutex;         /* held while the reserve is made or given up */
    atomic_uint_least64_t given;   /* bytes that the file system had to give at the last look */
    atomic_uint_least64_t reserve; /* bytes of the file */
};

/* ---- the file ---- */

static int open_reserve(const struct room *room, int flags)
{
    return open(room->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
}

/* The mutex is held. */
static void give_up(struct room *room)
{
    const uint64_t size = atomic_exchange(&room->reserve, 0);
    int fd = size == 0 ? -1 : open_reserve(room, 0);
    if (fd < 0)
        return;
    /* Emptied and not removed: the name needs no room when it is filled again. */
    if (ftruncate(fd, 0) != 0)
        unlink(room->path);
    close(fd);
}

/* One that is too large, or has holes, as a copy may have them, is none. */
static void take_over(struct room *room)
{
    struct stat status;
    int fd = open_reserve(room, 0);
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        const uint64_t size = (uint64_t)status.st_size, held = (uint64_t)status.st_blocks * 512;
        atomic_store(&room->reserve, size);
        if (size > room->floor / RESERVE_PART || held < size)
            give_up(room);
    }
    close(fd);
}

/* Beyond that the system would send a signal that ends the process. */
static bool is_allowed(uint64_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && size <= limit.rlim_cur;
}

/* The mutex is held. */
static void grow(struct room *room, uint64_t size)
{
    int fd = is_allowed(size) ? open_reserve(room, O_CREAT) : -1;
    if (fd < 0)
        return;
    /* Where the file system cannot, this writes to each block. */
    if (posix_fallocate(fd, 0, (off_t)size) == 0)
        atomic_store(&room->reserve, size);
    else if (ftruncate(fd, (off_t)atomic_load(&room->reserve)) != 0)
        give_up(room);
    close(fd);
}

/* ---- looking ---- */

static int look(struct room *room, struct error *err)
{
    struct statvfs device;
    if (statvfs(room->directory, &device) != 0)
        return db_io_error(err, errno, "asking for the free space of", room->directory);
    atomic_store(&room->given, (uint64_t)device.f_bavail * device.f_frsize);
    return 0;
}

struct room_state room_known(struct room *room)
{
    const uint64_t reserve = atomic_load(&room->reserve);
    return (struct room_state){
        .free_size = atomic_load(&room->given) + reserve, .reserve = reserve, .floor = room->floor};
}

int room_look(struct room *room, struct room_state *out, struct error *err)
{
    pthread_mutex_lock(&room->mutex);
    int rc = look(room, err);
    if (rc == 0)
        *out = room_known(room);
    pthread_mutex_unlock(&room->mutex);
    return rc;
}

static int check(const struct room_state *state, enum room_use use, uint64_t size,
                 struct error *err)
{
    const uint64_t least = use == ROOM_CACHE ? state->floor / CACHE_PART : state->floor;
    if (state->floor == 0 || (state->free_size >= least && state->free_size - least >= size))
        return 0;
    if (size == 0)
        return error_set(err, ERROR_FULL,
                         "%" PRIu64 " bytes of the disk are free, and %" PRIu64
                         " are to stay free (--min-free-space)",
                         state->free_size, least);
    return error_set(err, ERROR_FULL,
                     "%" PRIu64 " bytes of the disk are free, of which this would take %" PRIu64
                     ", and %" PRIu64 " are to stay free (--min-free-space)",
                     state->free_size, size, least);
}

int room_require(struct room *room, enum room_use use, uint64_t size, struct error *err)
{
    struct room_state state;
    int rc = room_look(room, &state, err);
    return rc != 0 ? rc : check(&state, use, size, err);
}

int room_expect(struct room *room, enum room_use use, uint64_t size, struct error *err)
{
    const struct room_state state = room_known(room);
    return check(&state, use, size, err);
}

/* ---- the reserve ---- */

void room_give_up_reserve(struct room *room)
{
    pthread_mutex_lock(&room->mutex);
    give_up(room);
    look(room, NULL);
    pthread_mutex_unlock(&room->mutex);
}

void room_make_reserve(struct room *room)
{
    const uint64_t most = room->floor / RESERVE_PART, left = room->floor / LEFT_PART;
    pthread_mutex_lock(&room->mutex);
    const uint64_t reserve = atomic_load(&room->reserve);
    if (reserve < most && look(room, NULL) == 0) {
        const uint64_t given = atomic_load(&room->given);
        const uint64_t more = given > left ? given - left : 0;
        /* Not bit by bit, and in the end to its full size. */
        if (more >= left || reserve + more >= most) {
            grow(room, reserve + more < most ? reserve + more : most);
            look(room, NULL);
        }
    }
    pthread_mutex_unlock(&room->mutex);
}

int room_create(struct room **out, const char *directory, uint64_t floor, struct error *err)
{
    struct room *room = calloc(1, sizeof(*room));
    if (room == NULL)
        return error_set_nomem(err, "the room of the disk");
    room->floor = floor;
    pthread_mutex_init(&room->mutex, NULL);
    int rc = db_path(room->directory, err, "%s", directory);
    if (rc == 0)
        rc = db_path(room->path, err, "%s/reserve", directory);
    if (rc == 0)
        rc = look(room, err);
    if (rc != 0) {
        room_destroy(room);
        return rc;
    }
    take_over(room);
    *out = room;
    return 0;
}

void room_destroy(struct room *room)
{
    if (room == NULL)
        return;
    pthread_mutex_destroy(&room->mutex);
    free(room);
}
