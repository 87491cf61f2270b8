/* What every kind of store does alike, and the race between storing and removing the same bytes.
 *
 * A writer pins its bytes before it puts them, until it is destroyed. Who removes a file marks it
 * as one that is being removed, unless it is pinned, then asks who needs it, then removes it; a
 * writer that wants to pin it waits for that. A row is committed before its writer is destroyed.
 * So an upload is seen by the remover as a pin or as a row, or it has not been put yet and then
 * puts its own copy.
 *
 * Invariant: no bytes are pinned and being removed at once.
 *
 * A file is removed by those only who know that it is theirs to remove: who deleted its row, or
 * uploaded it under a name that nothing had. If the bytes are pinned then, the pins inherit that
 * knowledge. Any other file that nobody needs is set aside.
 */
#include "db/store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "db/store/content_hash.h"
#include "db/store/inside.h"
#include "db/store/room.h"

struct store_writer {
    struct store *store;
    void *upload; /* the driver's */
    struct sha256_ctx hash;
    char sha256[DB_SHA256_SIZE]; /* "" until the hash has ended */
    uint64_t size;
    bool failed;     /* what is stored is not what was written */
    bool pinned;     /* `pin` is in store->pins */
    struct hold pin; /* guarded by store->mutex */
};

int store_create(struct store **out, const struct store_driver *driver, void *place,
                 const struct store_needs *needs, struct error *err)
{
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        driver->destroy(place);
        return error_set_nomem(err, "the store");
    }
    int rc = verdicts_create(&store->verdicts, err);
    if (rc != 0) {
        driver->destroy(place);
        free(store);
        return rc;
    }
    store->driver = driver;
    store->place = place;
    store->needs = *needs;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->removed, NULL);
    *out = store;
    return 0;
}

void store_destroy(struct store *store)
{
    if (store == NULL)
        return;
    assert(store->removals == NULL);
    store->driver->destroy(store->place);
    verdicts_destroy(store->verdicts);
    pthread_cond_destroy(&store->removed);
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

void store_observe(struct store *store, const struct store_observer *observer)
{
    store->observer = *observer;
}

void store_keep_room(struct store *store, struct room *room)
{
    store->room = room;
}

/* ---- pins and removals, under the mutex ---- */

static bool is_held(const struct hold *list, const char *sha256)
{
    for (; list != NULL; list = list->next) {
        if (strcmp(list->sha256, sha256) == 0)
            return true;
    }
    return false;
}

static void hold_add(struct hold **list, struct hold *hold, const char *sha256)
{
    memcpy(hold->sha256, sha256, DB_SHA256_SIZE);
    hold->is_ours = false;
    hold->next = *list;
    *list = hold;
}

static void hold_remove(struct hold **list, const struct hold *hold)
{
    while (*list != hold)
        list = &(*list)->next;
    *list = hold->next;
}

/* The invariant; for assert. */
static bool holds_check(const struct store *store)
{
    for (const struct hold *pin = store->pins; pin != NULL; pin = pin->next) {
        if (is_held(store->removals, pin->sha256))
            return false;
    }
    return true;
}

static void pin(struct store_writer *writer)
{
    struct store *store = writer->store;
    pthread_mutex_lock(&store->mutex);
    while (is_held(store->removals, writer->sha256))
        pthread_cond_wait(&store->removed, &store->mutex);
    hold_add(&store->pins, &writer->pin, writer->sha256);
    assert(holds_check(store));
    pthread_mutex_unlock(&store->mutex);
    writer->pinned = true;
}

/* Its file is this writer's to remove. */
static void own(struct store_writer *writer)
{
    pthread_mutex_lock(&writer->store->mutex);
    writer->pin.is_ours = true;
    pthread_mutex_unlock(&writer->store->mutex);
}

/* Whoever still pins the file may remove it. */
static void give_to_pins(struct store *store, const char *sha256)
{
    for (struct hold *pin = store->pins; pin != NULL; pin = pin->next) {
        if (strcmp(pin->sha256, sha256) == 0)
            pin->is_ours = true;
    }
}

/* Whether the file is this writer's to remove. */
static bool unpin(struct store_writer *writer)
{
    struct store *store = writer->store;
    pthread_mutex_lock(&store->mutex);
    hold_remove(&store->pins, &writer->pin);
    const bool is_ours = writer->pin.is_ours;
    if (is_ours)
        give_to_pins(store, writer->sha256);
    pthread_mutex_unlock(&store->mutex);
    return is_ours;
}

/* What becomes of a file that nobody needs. */
enum disposal { REMOVE, SET_ASIDE };

/* Marks a file as being removed; false when it is pinned. */
static bool removal_begin(struct store *store, struct hold *removal, const char *sha256,
                          enum disposal disposal)
{
    pthread_mutex_lock(&store->mutex);
    bool free_to_go = !is_held(store->pins, sha256);
    if (!free_to_go && disposal == REMOVE)
        give_to_pins(store, sha256);
    if (free_to_go)
        hold_add(&store->removals, removal, sha256);
    assert(holds_check(store));
    pthread_mutex_unlock(&store->mutex);
    return free_to_go;
}

static void removal_end(struct store *store, const struct hold *removal)
{
    pthread_mutex_lock(&store->mutex);
    hold_remove(&store->removals, removal);
    pthread_cond_broadcast(&store->removed);
    pthread_mutex_unlock(&store->mutex);
}

/* ---- removing ---- */

static int set_aside(struct store *store, const char *sha256, struct error *err)
{
    bool moved = false;
    int rc = store->driver->move(store->place, STORE_FILES, sha256, &moved, err);
    if (moved)
        store_tell(store, STORE_SET_ASIDE, sha256);
    return rc;
}

static int collect(struct store *store, const char *sha256, enum disposal disposal,
                   struct error *err)
{
    struct hold removal;
    bool is_needed = true;
    if (!removal_begin(store, &removal, sha256, disposal))
        return 0;
    int rc = store->needs.is_needed(store->needs.context, sha256, &is_needed, err);
    if (rc == 0 && !is_needed) {
        rc = disposal == REMOVE ? store->driver->remove(store->place, sha256, err)
                                : set_aside(store, sha256, err);
        verdicts_forget(store->verdicts, sha256);
    }
    removal_end(store, &removal);
    return rc;
}

enum sweep_state { SWEPT, NEEDS_SWEEP };

static void set_sweep_state(struct store *store, enum sweep_state state)
{
    pthread_mutex_lock(&store->mutex);
    store->needs_sweep = state == NEEDS_SWEEP;
    pthread_mutex_unlock(&store->mutex);
}

static void try_to_collect(struct store *store, const char *sha256, enum disposal disposal)
{
    if (collect(store, sha256, disposal, NULL) != 0)
        set_sweep_state(store, NEEDS_SWEEP);
}

void store_collect(struct store *store, const char *sha256)
{
    try_to_collect(store, sha256, REMOVE);
}

static int sweep_file(const char *sha256, void *store, struct error *err)
{
    return collect(store, sha256, SET_ASIDE, err);
}

int store_sweep(struct store *store, struct error *err)
{
    int rc = store->driver->list(store->place, STORE_FILES, sweep_file, store, err);
    if (rc == 0)
        set_sweep_state(store, SWEPT);
    return rc;
}

static int bring_back_file(const char *sha256, void *context, struct error *err)
{
    struct store *store = context;
    bool is_needed = false, moved = false;
    int rc = store->needs.is_needed(store->needs.context, sha256, &is_needed, err);
    if (rc == 0 && is_needed)
        rc = store->driver->move(store->place, STORE_QUARANTINE, sha256, &moved, err);
    if (rc == 0)
        store_tell(store, moved ? STORE_BROUGHT_BACK : STORE_IN_QUARANTINE, sha256);
    return rc;
}

int store_bring_back(struct store *store, struct error *err)
{
    return store->driver->list(store->place, STORE_QUARANTINE, bring_back_file, store, err);
}

int store_visit_quarantine(struct store *store, store_visit *visit, void *context,
                           struct error *err)
{
    return store->driver->list(store->place, STORE_QUARANTINE, visit, context, err);
}

/* Its error only ends the list. */
static int find_file(const char *sha256, void *found, struct error *err)
{
    (void)sha256;
    (void)err;
    *(bool *)found = true;
    return ERROR_CANCELLED;
}

int store_has_files(struct store *store, bool *out, struct error *err)
{
    static const enum store_shelf shelves[] = {STORE_FILES, STORE_QUARANTINE};
    bool found = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(shelves) / sizeof(shelves[0]); i++)
        rc = store->driver->list(store->place, shelves[i], find_file, &found, err);
    if (rc == 0 || found)
        *out = found;
    return found ? 0 : rc;
}

bool store_needs_sweep(struct store *store)
{
    pthread_mutex_lock(&store->mutex);
    bool needs_sweep = store->needs_sweep;
    pthread_mutex_unlock(&store->mutex);
    return needs_sweep;
}

int store_next(struct store *store, const char *after, char out[DB_SHA256_SIZE], struct error *err)
{
    return store->driver->next(store->place, after, out, err);
}

/* ---- writing ---- */

int store_writer_create(struct store_writer **out, struct store *store, struct error *err)
{
    struct store_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return error_set_nomem(err, "an upload");
    writer->store = store;
    sha256_init(&writer->hash);
    int rc = store->driver->begin(store->place, &writer->upload, err);
    if (rc != 0) {
        free(writer);
        return rc;
    }
    *out = writer;
    return 0;
}

/* What is written is counted by the file system already. */
static int require_room(const struct store_writer *writer, size_t size, struct error *err)
{
    const bool is_due = writer->size / STORE_ROOM_PART != (writer->size + size) / STORE_ROOM_PART;
    return writer->store->room == NULL || !is_due
               ? 0
               : room_require(writer->store->room, ROOM_NEW, 0, err);
}

int store_writer_write(struct store_writer *writer, const void *data, size_t size,
                       struct error *err)
{
    if (writer->failed || writer->sha256[0] != '\0')
        return error_set(err, ERROR_IO, "the upload has ended and takes no more bytes");
    int rc = require_room(writer, size, err);
    if (rc == 0)
        rc = writer->store->driver->append(writer->upload, data, size, err);
    if (rc != 0) {
        writer->failed = true;
        return rc;
    }
    sha256_update(&writer->hash, size, data);
    writer->size += size;
    return 0;
}

uint64_t store_writer_size(const struct store_writer *writer)
{
    return writer->size;
}

void store_writer_sha256(struct store_writer *writer, char out[DB_SHA256_SIZE])
{
    if (writer->sha256[0] == '\0')
        db_hash_text(&writer->hash, writer->sha256);
    memcpy(out, writer->sha256, DB_SHA256_SIZE);
}

int store_writer_map(struct store_writer *writer, const void **data, size_t *size,
                     struct error *err)
{
    if (writer->failed)
        return error_set(err, ERROR_IO, "the upload is incomplete");
    return writer->store->driver->map(writer->upload, data, size, err);
}

int store_writer_commit(struct store_writer *writer, struct error *err)
{
    char sha256[DB_SHA256_SIZE];
    if (writer->failed)
        return error_set(err, ERROR_IO, "the upload is incomplete");
    if (writer->pinned)
        return 0;
    store_writer_sha256(writer, sha256);
    enum store_put how = STORE_PUT_KEPT;
    pin(writer);
    int rc = writer->store->driver->put(writer->upload, sha256, &how, err);
    writer->failed = rc != 0;
    if (how == STORE_PUT_NEW)
        own(writer);
    if (how == STORE_PUT_HEALED) {
        verdicts_forget(writer->store->verdicts, sha256);
        store_tell(writer->store, STORE_HEALED, sha256);
    }
    return rc;
}

void store_writer_destroy(struct store_writer *writer)
{
    if (writer == NULL)
        return;
    writer->store->driver->end(writer->upload);
    if (writer->pinned) {
        const bool is_ours = unpin(writer);
        try_to_collect(writer->store, writer->sha256, is_ours ? REMOVE : SET_ASIDE);
    }
    free(writer);
}
