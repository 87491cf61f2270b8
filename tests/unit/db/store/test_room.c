#include "db/store/room.h"

#include "tests/unit/db/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20, FLOOR = 4 * MIB, RESERVE = FLOOR / 4 };

struct disk {
    char directory[512];
    struct room *room;
    struct room_state state;
    struct error err;
};

/* A file system of 8 MiB, in a namespace of this program's own. */
static void open_disk(struct disk *disk)
{
    memset(disk, 0, sizeof(*disk));
    fixture_directory(disk->directory);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", disk->directory, "tmpfs", 0, "size=8m,mode=0700") != 0) {
        print_message("skipped: a small tmpfs cannot be mounted: %s\n", strerror(errno));
        fixture_remove_directory(disk->directory);
        skip();
    }
    assert_ok(room_create(&disk->room, disk->directory, FLOOR, &disk->err));
}

static void close_disk(struct disk *disk)
{
    room_destroy(disk->room);
    umount2(disk->directory, MNT_DETACH);
    fixture_remove_directory(disk->directory);
}

static void reopen(struct disk *disk, uint64_t floor)
{
    room_destroy(disk->room);
    assert_ok(room_create(&disk->room, disk->directory, floor, &disk->err));
}

static uint64_t look(struct disk *disk)
{
    assert_ok(room_look(disk->room, &disk->state, &disk->err));
    return disk->state.free_size;
}

/* A file that leaves so much to others. */
static void fill(struct disk *disk, uint64_t left)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/filler", disk->directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (look(disk) - disk->state.reserve > left) {
        static const char block[4096];
        assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    }
    close(fd);
}

static uint64_t reserve_on_disk(const struct disk *disk)
{
    char path[600];
    struct stat status;
    snprintf(path, sizeof(path), "%s/reserve", disk->directory);
    return stat(path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

static void the_reserve_is_real_and_counts_as_free(void **state)
{
    (void)state;
    struct disk disk;
    open_disk(&disk);
    const uint64_t before = look(&disk);
    assert_int_equal(disk.state.reserve, 0);
    room_make_reserve(disk.room);
    assert_int_equal(look(&disk), before);
    assert_int_equal(disk.state.reserve, RESERVE);
    assert_int_equal(reserve_on_disk(&disk), RESERVE);
    reopen(&disk, FLOOR); /* it is taken over */
    assert_int_equal(look(&disk), before);
    assert_int_equal(disk.state.reserve, RESERVE);
    room_give_up_reserve(disk.room);
    assert_int_equal(reserve_on_disk(&disk), 0);
    assert_int_equal(look(&disk), before);
    room_give_up_reserve(disk.room);
    room_make_reserve(disk.room);
    reopen(&disk, 0); /* nobody wants it any more */
    assert_int_equal(reserve_on_disk(&disk), 0);
    close_disk(&disk);
}

/* What is left on a disk that is nearly full becomes the reserve, but for a little. */
static void the_reserve_is_made_of_what_there_is(void **state)
{
    (void)state;
    struct disk disk;
    open_disk(&disk);
    fill(&disk, RESERVE / 2);
    room_make_reserve(disk.room);
    look(&disk);
    assert_in_range(disk.state.reserve, RESERVE / 4, RESERVE / 2 - 1);
    assert_int_equal(reserve_on_disk(&disk), disk.state.reserve);
    const uint64_t first = disk.state.reserve;
    fill(&disk, 0);
    room_make_reserve(disk.room);
    look(&disk);
    assert_int_equal(disk.state.reserve, first);
    assert_int_equal(disk.state.free_size, first);
    close_disk(&disk);
}

static void uses_leave_what_they_have_to(void **state)
{
    (void)state;
    struct disk disk;
    open_disk(&disk);
    room_make_reserve(disk.room);
    const uint64_t free_size = look(&disk);
    assert_ok(room_require(disk.room, ROOM_NEW, free_size - FLOOR, &disk.err));
    assert_int_equal(room_require(disk.room, ROOM_NEW, free_size - FLOOR + 1, &disk.err),
                     ERROR_FULL);
    assert_non_null(strstr(disk.err.message, "4194304 are to stay free (--min-free-space)"));
    assert_ok(room_require(disk.room, ROOM_CACHE, free_size - FLOOR / 2, &disk.err));
    assert_int_equal(room_require(disk.room, ROOM_CACHE, free_size - FLOOR / 2 + 1, &disk.err),
                     ERROR_FULL);
    assert_int_equal(room_require(disk.room, ROOM_NEW, UINT64_MAX, &disk.err), ERROR_FULL);
    fill(&disk, FLOOR / 2);
    assert_int_equal(room_expect(disk.room, ROOM_NEW, 0, &disk.err), ERROR_FULL);
    assert_ok(room_expect(disk.room, ROOM_CACHE, 0, &disk.err));
    close_disk(&disk);
}

static void no_floor_asks_for_nothing(void **state)
{
    (void)state;
    struct room *room = NULL;
    struct error err;
    char directory[512];
    fixture_directory(directory);
    assert_ok(room_create(&room, directory, 0, &err));
    room_make_reserve(room);
    assert_ok(room_require(room, ROOM_NEW, UINT64_MAX, &err));
    assert_int_equal(room_known(room).reserve, 0);
    assert_true(room_known(room).free_size > 0);
    room_destroy(room);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(room_create(&room, directory, 0, &err), ERROR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reserve_is_real_and_counts_as_free),
        cmocka_unit_test(the_reserve_is_made_of_what_there_is),
        cmocka_unit_test(uses_leave_what_they_have_to),
        cmocka_unit_test(no_floor_asks_for_nothing),
    };
    return test_run(tests);
}
