/* Opening and closing a data directory.
 *
 * DIR/lock tells more than that a server runs: its content is the process id while one does and
 * empty after a clean end. Only when it is not empty at start (a crash, or a file that could not be
 * removed) can there be files without rows, and only then are they looked for.
 */
#include "db/data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/access.h"
#include "db/store/directory.h"
#include "db/store/files.h"
#include "db/store/temporary.h"
#include "db/stored_files.h"

/* Writes into DIR/lock that a server runs; whether one did and came to no clean end is in what was
 * there before. */
static int mark_running(struct data *data, struct error *err)
{
    const int fd = data->claim.lock_fd;
    struct stat status;
    char text[32];
    if (fstat(fd, &status) != 0)
        return db_io_error(err, errno, "reading the lock of", data->directory);
    data->needs_sweep = status.st_size != 0;
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0)
        return db_io_error(err, errno, "emptying the lock of", data->directory);
    int rc = db_file_write(fd, data->directory, text, (size_t)length, err);
    /* The mark must be on the disk before the first upload is. */
    if (rc == 0 && fsync(fd) != 0)
        rc = db_io_error(err, errno, "syncing the lock of", data->directory);
    return rc;
}

static int lock_directory(struct data *data, struct error *err)
{
    int rc = db_claim_take(&data->claim, data->directory, err);
    return rc == 0 ? mark_running(data, err) : rc;
}

static int create_directories(struct data *data, struct error *err)
{
    static const char *const names[] = {"blobs", "cache", "tmp", "quarantine"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        char path[DB_PATH_SIZE];
        rc = db_path(path, err, "%s/%s", data->directory, names[i]);
        if (rc == 0)
            rc = db_directory_create(path, err);
        if (rc == 0)
            rc = db_directory_check_folders(path, err);
    }
    return rc;
}

static void note(const struct data *data, enum data_note note, const char *name)
{
    if (data->observer.note != NULL)
        data->observer.note(data->observer.context, note, name);
}

static void note_left(void *context, const char *name)
{
    note(context, DATA_NOTE_LEFT_IN_TMP, name);
}

static void note_store_event(void *context, enum store_event event, const char *sha256)
{
    static const enum data_note notes[] = {
        [STORE_SET_ASIDE] = DATA_NOTE_SET_ASIDE,
        [STORE_BROUGHT_BACK] = DATA_NOTE_BROUGHT_BACK,
        [STORE_IN_QUARANTINE] = DATA_NOTE_IN_QUARANTINE,
        [STORE_DAMAGED] = DATA_NOTE_DAMAGED,
        [STORE_HEALED] = DATA_NOTE_HEALED,
    };
    note(context, notes[event], sha256);
}

static int find_directory(struct data *data, const struct data_config *config, struct error *err)
{
    const char *directory = config->directory;
    int rc = config->purpose == DATA_TO_SERVE ? db_directory_create_all(directory, err) : 0;
    if (rc != 0)
        return rc;
    /* Absolute, so that a later chdir changes nothing and SQLite sees no "file:" name. */
    data->directory = realpath(directory, NULL);
    if (data->directory == NULL)
        return db_io_error(err, errno, "opening the directory", directory);
    rc = access_check_writers(data->directory, err);
    if (rc == 0)
        rc = access_check_owner(data->directory, err);
    if (rc != 0)
        return rc;
    /* Said here in so many words; SQLite would only be unable to open something later. */
    if (faccessat(AT_FDCWD, data->directory, W_OK | X_OK, AT_EACCESS) != 0)
        return error_set_errno(err, errno, "the data directory %s cannot be written",
                               data->directory);
    return 0;
}

/* SQLite would create the file readable for everyone; its log files take the mode of this one. */
static int create_file(const struct data *data, const char *path, struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return db_io_error(err, errno, "opening", path);
    close(fd);
    return db_directory_sync(data->directory, err);
}

/* A database that is missing is made, unless it is missed: before anything is written, since what
 * is put back must not meet the log files of another. */
static int require_database(struct data *data, const char *path, enum data_purpose purpose,
                            struct error *err)
{
    struct stat status;
    bool has_files = false;
    if (purpose == DATA_TO_ADOPT || (stat(path, &status) == 0 && status.st_size > 0))
        return 0;
    if (purpose == DATA_TO_INSPECT)
        return error_set(err, ERROR_IO, "there is no database %s", path);
    int rc = store_has_files(data->store, &has_files, err);
    return rc == 0 && has_files ? pairing_refuse_unknown_files(data->directory, err) : rc;
}

static int open_database(struct data *data, enum data_purpose purpose, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/chipshot.sqlite", data->directory);
    if (rc == 0)
        rc = require_database(data, path, purpose, err);
    if (rc == 0)
        rc = create_file(data, path, err);
    if (rc == 0)
        rc = db_open(&data->db, path, err);
    return rc;
}

static int is_needed(void *context, const char *sha256, bool *out, struct error *err)
{
    const struct data *data = context;
    return db_stored_file_is_needed(data->db, sha256, out, err);
}

/* Asked of the database, which is opened after it. */
static int open_store(struct data *data, struct error *err)
{
    const struct store_needs needs = {.is_needed = is_needed, .context = data};
    const struct store_observer observer = {.event = note_store_event, .context = data};
    int rc = store_create_directory(&data->store, data->directory, &needs, err);
    if (rc == 0)
        store_observe(data->store, &observer);
    return rc;
}

static void note_missing(void *context, const char *sha256)
{
    note(context, DATA_NOTE_MISSING, sha256);
}

static int pair(struct data *data, enum data_purpose purpose, struct error *err)
{
    struct pairing_files files;
    int rc = pairing_read(&data->pairing, data->db, data->directory, err);
    if (rc == ERROR_CORRUPT && purpose == DATA_TO_ADOPT)
        rc = 0;
    if (rc != 0 || purpose == DATA_TO_INSPECT || pairing_is_made(&data->pairing))
        return rc;
    rc = pairing_count(&files, data->db, data->store, note_missing, data, err);
    if (rc == 0 && purpose == DATA_TO_SERVE)
        rc = pairing_check(&data->pairing, &files, data->directory, err);
    if (rc == 0)
        rc = pairing_write(&data->pairing, data->db, data->directory, err);
    if (rc == 0 && files.has_files)
        note(data, DATA_NOTE_PAIRED, data->pairing.store);
    return rc;
}

/* What is only done for a server. */
static int clean_up(struct data *data, uint64_t cache_max_size, struct error *err)
{
    int rc = store_bring_back(data->store, err);
    if (rc == 0 && data->needs_sweep)
        rc = store_sweep(data->store, err);
    if (rc == 0)
        data->needs_sweep = false;
    if (rc == 0)
        rc = db_temporary_empty(data->directory, note_left, data, err);
    if (rc == 0)
        rc = cache_create(&data->cache, data->directory, cache_max_size, err);
    return rc;
}

static int open_parts(struct data *data, const struct data_config *config, struct error *err)
{
    int rc = create_directories(data, err);
    if (rc == 0)
        rc = open_store(data, err);
    if (rc == 0)
        rc = open_database(data, config->purpose, err);
    if (rc == 0)
        rc = pair(data, config->purpose, err);
    if (rc == 0 && config->purpose == DATA_TO_SERVE)
        rc = clean_up(data, config->cache_max_size, err);
    if (rc == 0)
        rc = db_claim_add(&data->claim, "chipshot.sqlite", err);
    if (rc == 0)
        rc = db_claim_add(&data->claim, "blobs", err);
    return rc;
}

int data_open(struct data **out, const struct data_config *config, struct error *err)
{
    if (config->directory == NULL || config->directory[0] == '\0')
        return error_set(err, ERROR_INVALID, "data directory: the name is empty");
    struct data *data = calloc(1, sizeof(*data));
    if (data == NULL)
        return error_set_nomem(err, "the data directory");
    data->claim = (struct db_claim){.directory_fd = -1, .lock_fd = -1};
    data->observer = config->observer;
    int rc = find_directory(data, config, err);
    if (rc == 0)
        rc = lock_directory(data, err);
    if (rc == 0)
        rc = open_parts(data, config, err);
    if (rc == 0)
        *out = data;
    else
        data_close(data);
    return rc;
}

int data_check(struct data *data, struct error *err)
{
    int rc = db_claim_check(&data->claim, err);
    atomic_store(&data->is_lost, rc != 0);
    return rc;
}

bool data_is_lost(const struct data *data)
{
    return atomic_load(&data->is_lost);
}

void data_close(struct data *data)
{
    if (data == NULL)
        return;
    const bool needs_sweep =
        data->needs_sweep || (data->store != NULL && store_needs_sweep(data->store));
    cache_destroy(data->cache);
    store_destroy(data->store);
    db_close(data->db);
    /* A failure only means that the next start looks for files without rows. */
    if (data->claim.lock_fd >= 0 && !needs_sweep && ftruncate(data->claim.lock_fd, 0) != 0)
        fdatasync(data->claim.lock_fd);
    db_claim_release(&data->claim);
    free(data->directory);
    free(data);
}
