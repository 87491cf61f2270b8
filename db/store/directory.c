/* A store in a directory: DIR/blobs/ab/abcd.., written to DIR/tmp, fsynced and renamed; what is set
 * aside is DIR/quarantine/ab/abcd... Everything
 * here may be called from any thread, with one upload in one thread at a time. */
#include "db/store/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "db/store/content_hash.h"
#include "db/store/driver.h"
#include "db/store/files.h"
#include "db/store/temporary.h"
#include "db/text.h"

/* The place. */
struct directory {
    char path[DB_PATH_SIZE]; /* of the data */
};

struct upload {
    const struct directory *directory;
    int fd;
    char path[DB_PATH_SIZE]; /* in DIR/tmp; "" once renamed */
    uint64_t size;
    void *map;
    size_t map_size;
};

static const char *const shelves[] = {[STORE_FILES] = "blobs", [STORE_QUARANTINE] = "quarantine"};

static int shelf_path(const struct directory *directory, enum store_shelf shelf, const char *sha256,
                      char out[DB_PATH_SIZE], struct error *err)
{
    return db_path(out, err, "%s/%s/%.2s/%s", directory->path, shelves[shelf], sha256, sha256);
}

static int file_path(const struct directory *directory, const char *sha256, char out[DB_PATH_SIZE],
                     struct error *err)
{
    return shelf_path(directory, STORE_FILES, sha256, out, err);
}

/* Makes the folder where a shelf has the file, and what is above it. */
static int make_folder(const struct directory *directory, enum store_shelf shelf,
                       const char *sha256, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/%s", directory->path, shelves[shelf]);
    if (rc == 0)
        rc = db_directory_create(path, err);
    if (rc == 0)
        rc = db_path(path, err, "%s/%s/%.2s", directory->path, shelves[shelf], sha256);
    return rc == 0 ? db_directory_create(path, err) : rc;
}

/* Makes what was renamed into or out of that folder last. */
static int sync_folder(const struct directory *directory, enum store_shelf shelf,
                       const char *sha256, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/%s/%.2s", directory->path, shelves[shelf], sha256);
    if (rc == 0)
        rc = db_directory_sync(path, err);
    if (rc == 0)
        rc = db_path(path, err, "%s/%s", directory->path, shelves[shelf]);
    return rc == 0 ? db_directory_sync(path, err) : rc;
}

/* ---- writing ---- */

static int upload_begin(void *place, void **out, struct error *err)
{
    const struct directory *directory = place;
    struct upload *upload = calloc(1, sizeof(*upload));
    if (upload == NULL)
        return error_set_nomem(err, "an upload");
    upload->directory = directory;
    int rc = db_temporary_create(directory->path, &upload->fd, upload->path, err);
    if (rc != 0) {
        free(upload);
        return rc;
    }
    *out = upload;
    return 0;
}

static int upload_append(void *context, const void *data, size_t size, struct error *err)
{
    struct upload *upload = context;
    int rc = db_file_write(upload->fd, upload->path, data, size, err);
    if (rc == 0)
        upload->size += size;
    return rc;
}

static void unmap(struct upload *upload)
{
    if (upload->map != NULL)
        munmap(upload->map, upload->map_size);
    upload->map = NULL;
}

static int upload_map(void *context, const void **data, size_t *size, struct error *err)
{
    struct upload *upload = context;
    if (upload->map_size != upload->size)
        unmap(upload);
    if (upload->map == NULL && upload->size > 0) {
        void *map = mmap(NULL, upload->size, PROT_READ, MAP_PRIVATE, upload->fd, 0);
        if (map == MAP_FAILED)
            return db_io_error(err, errno, "mapping", upload->path);
        upload->map = map;
        upload->map_size = upload->size;
    }
    *data = upload->map;
    *size = upload->size;
    return 0;
}

/* Whether the bytes of the name are there, which only reading them tells. */
static bool is_whole(const char *path, const char *sha256)
{
    char hash[DB_SHA256_SIZE] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    int rc = db_content_hash(fd, hash, NULL);
    close(fd);
    return rc == 0 && strcmp(hash, sha256) == 0;
}

/* Renames the file into place unless a whole one is there already: the end then removes ours. */
static int rename_into_place(struct upload *upload, const char *target, const char *sha256,
                             enum store_put *out, struct error *err)
{
    struct stat status;
    const bool exists = lstat(target, &status) == 0;
    if (exists && is_whole(target, sha256)) {
        *out = STORE_PUT_KEPT;
        return 0;
    }
    if (rename(upload->path, target) != 0)
        return db_io_error(err, errno, "renaming", upload->path);
    upload->path[0] = '\0';
    *out = exists ? STORE_PUT_HEALED : STORE_PUT_NEW;
    return 0;
}

static int upload_put(void *context, const char *sha256, enum store_put *out, struct error *err)
{
    struct upload *upload = context;
    char target[DB_PATH_SIZE];
    int rc = file_path(upload->directory, sha256, target, err);
    if (rc == 0 && fsync(upload->fd) != 0)
        rc = db_io_error(err, errno, "syncing", upload->path);
    if (rc == 0)
        rc = make_folder(upload->directory, STORE_FILES, sha256, err);
    if (rc == 0)
        rc = rename_into_place(upload, target, sha256, out, err);
    /* Also when the file was there: the one who renamed it may not have come to its sync yet. */
    return rc == 0 ? sync_folder(upload->directory, STORE_FILES, sha256, err) : rc;
}

static void upload_end(void *context)
{
    struct upload *upload = context;
    unmap(upload);
    close(upload->fd);
    if (upload->path[0] != '\0')
        unlink(upload->path);
    free(upload);
}

/* ---- files ---- */

static int file_open(void *place, const char *sha256, int *fd, uint64_t *size, struct error *err)
{
    char path[DB_PATH_SIZE];
    struct stat status;
    int rc = file_path(place, sha256, path, err);
    if (rc != 0)
        return rc;
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "there is no blob %s", sha256);
    if (opened < 0)
        return db_io_error(err, errno, "opening", path);
    if (fstat(opened, &status) != 0)
        rc = db_io_error(err, errno, "reading", path);
    else if (!S_ISREG(status.st_mode))
        rc = error_set(err, ERROR_IO, "%s is not a file", path);
    if (rc != 0) {
        close(opened);
        return rc;
    }
    *fd = opened;
    *size = (uint64_t)status.st_size;
    return 0;
}

/* Opens it: a file that cannot be read is as good as none. */
static int file_size(void *place, const char *sha256, uint64_t *out, struct error *err)
{
    int fd = -1;
    int rc = file_open(place, sha256, &fd, out, err);
    if (rc == 0)
        close(fd);
    return rc;
}

static int file_remove(void *place, const char *sha256, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = file_path(place, sha256, path, err);
    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = db_io_error(err, errno, "removing", path);
    return rc;
}

static int file_move(void *place, enum store_shelf from, const char *sha256, bool *moved,
                     struct error *err)
{
    const enum store_shelf to = from == STORE_FILES ? STORE_QUARANTINE : STORE_FILES;
    char source[DB_PATH_SIZE], target[DB_PATH_SIZE];
    struct stat status;
    *moved = false;
    int rc = shelf_path(place, from, sha256, source, err);
    if (rc == 0)
        rc = shelf_path(place, to, sha256, target, err);
    if (rc == 0)
        rc = make_folder(place, to, sha256, err);
    if (rc != 0)
        return rc;
    /* Where both shelves have it, a whole one takes the place of the other, be that damaged. */
    if (lstat(target, &status) == 0 && (!S_ISREG(status.st_mode) || !is_whole(source, sha256)))
        return 0;
    if (rename(source, target) != 0)
        return errno == ENOENT ? 0 : db_io_error(err, errno, "renaming", source);
    *moved = true;
    /* The name is twice there after a power cut, or once, and never nowhere. */
    rc = sync_folder(place, to, sha256, err);
    return rc == 0 ? sync_folder(place, from, sha256, err) : rc;
}

/* ---- the list ---- */

struct listing {
    store_visit *visit;
    void *context;
    char folder[3]; /* two digits */
};

static int visit_entry(const char *name, void *context, struct error *err)
{
    const struct listing *listing = context;
    if (!db_text_is_sha256(name) || strncmp(name, listing->folder, 2) != 0)
        return 0;
    return listing->visit(name, listing->context, err);
}

static int list_folder(const struct directory *directory, enum store_shelf shelf, int number,
                       struct listing *listing, struct error *err)
{
    char path[DB_PATH_SIZE];
    snprintf(listing->folder, sizeof(listing->folder), "%02x", number & 0xff);
    int rc = db_path(path, err, "%s/%s/%s", directory->path, shelves[shelf], listing->folder);
    return rc == 0 ? db_directory_visit(path, visit_entry, listing, err) : rc;
}

static int list(void *place, enum store_shelf shelf, store_visit *visit, void *context,
                struct error *err)
{
    struct listing listing = {.visit = visit, .context = context};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 256; i++)
        rc = list_folder(place, shelf, i, &listing, err);
    return rc;
}

struct search {
    const char *after;
    char least[DB_SHA256_SIZE]; /* "": none so far */
};

static int search_name(const char *name, void *context, struct error *err)
{
    struct search *search = context;
    (void)err;
    if (strcmp(name, search->after) > 0 &&
        (search->least[0] == '\0' || strcmp(name, search->least) < 0))
        memcpy(search->least, name, sizeof(search->least));
    return 0;
}

static int next(void *place, const char *after, char out[DB_SHA256_SIZE], struct error *err)
{
    const struct directory *directory = place;
    struct search search = {.after = after};
    struct listing listing = {.visit = search_name, .context = &search};
    uint8_t first = 0;
    int rc = 0;
    hex_decode(after, 1, &first);
    for (int i = first; rc == 0 && i < 256 && search.least[0] == '\0'; i++)
        rc = list_folder(directory, STORE_FILES, i, &listing, err);
    if (rc == 0 && search.least[0] == '\0')
        return error_set(err, ERROR_NOT_FOUND, "there is no file after %.64s", after);
    if (rc == 0)
        memcpy(out, search.least, sizeof(search.least));
    return rc;
}

static const struct store_driver driver = {
    .destroy = free,
    .begin = upload_begin,
    .append = upload_append,
    .map = upload_map,
    .put = upload_put,
    .end = upload_end,
    .open = file_open,
    .size = file_size,
    .remove = file_remove,
    .move = file_move,
    .list = list,
    .next = next,
};

int store_create_directory(struct store **out, const char *path, const struct store_needs *needs,
                           struct error *err)
{
    struct directory *directory = calloc(1, sizeof(*directory));
    if (directory == NULL)
        return error_set_nomem(err, "the store");
    int rc = db_path(directory->path, err, "%s", path);
    if (rc != 0) {
        free(directory);
        return rc;
    }
    return store_create(out, &driver, directory, needs, err);
}
