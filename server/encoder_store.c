#include "server/encoder_store.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "db/blobs.h"
#include "server/stored_file.h"

struct entry {
    struct loaded_encoder loaded; /* first: a loaded_encoder pointer is an entry pointer */
    struct encoder *encoder;
    uint32_t n_users;
    uint64_t last_used; /* value of the store's clock */
    struct entry *next;
};

struct encoder_store {
    struct db *db;
    struct pool *pool;
    size_t max_idle;
    pthread_mutex_t mutex; /* guards all below, and is held while an encoder loads */
    struct entry *entries;
    uint64_t clock;
};

int encoder_store_create(struct encoder_store **out, struct db *db, struct pool *pool,
                         size_t max_idle, struct error *err)
{
    struct encoder_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return error_set_nomem(err, "the encoder store");
    store->db = db;
    store->pool = pool;
    store->max_idle = max_idle;
    pthread_mutex_init(&store->mutex, NULL);
    *out = store;
    return 0;
}

static void entry_destroy(struct entry *entry)
{
    embedder_destroy(entry->loaded.embedder);
    encoder_destroy(entry->encoder);
    free(entry);
}

void encoder_store_destroy(struct encoder_store *store)
{
    if (store == NULL)
        return;
    while (store->entries != NULL) {
        struct entry *entry = store->entries;
        assert(entry->n_users == 0);
        store->entries = entry->next;
        entry_destroy(entry);
    }
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

/* Loads the weights of `row` into `entry`; messages name the encoder. */
static int load_weights(struct encoder_store *store, const struct db_encoder *row,
                        struct entry *entry, struct error *err)
{
    struct db_blob blob = {0};
    struct error inner = {0};
    char what[DB_ID_SIZE + 16];
    snprintf(what, sizeof(what), "encoder %s", row->id);
    int status = stored_file_open(store->db, what, row->sha256, &blob, err);
    if (status < 0)
        return status;
    status = encoder_create(&entry->encoder, blob.data, blob.size, &inner);
    if (status == 0)
        status = embedder_create(&entry->loaded.embedder, store->pool, entry->encoder, NULL, &inner);
    if (status < 0)
        error_set(err, inner.code, "%s: %.400s", what, inner.message);
    db_blob_close(&blob);
    return status;
}

static int load_entry(struct encoder_store *store, const char *id, struct entry **out,
                      struct error *err)
{
    struct db_encoder row = {0};
    struct entry *entry = calloc(1, sizeof(*entry));
    int status = entry == NULL ? error_set_nomem(err, "an encoder") : 0;
    if (status == 0)
        status = db_encoder_get(store->db, id, &row, err);
    if (status == 0)
        status = load_weights(store, &row, entry, err);
    if (status == 0) {
        memcpy(entry->loaded.id, row.id, sizeof(entry->loaded.id));
        memcpy(entry->loaded.sha256, row.sha256, sizeof(entry->loaded.sha256));
        *out = entry;
    } else if (entry != NULL) {
        entry_destroy(entry);
    }
    db_encoder_clear(&row);
    return status;
}

int encoder_store_acquire(struct encoder_store *store, const char *id,
                          const struct loaded_encoder **out, struct error *err)
{
    int status = 0;
    pthread_mutex_lock(&store->mutex);
    struct entry *entry = store->entries;
    while (entry != NULL && strcmp(entry->loaded.id, id) != 0)
        entry = entry->next;
    if (entry == NULL) {
        status = load_entry(store, id, &entry, err);
        if (status == 0) {
            entry->next = store->entries;
            store->entries = entry;
        }
    }
    if (status == 0) {
        entry->n_users++;
        entry->last_used = ++store->clock;
        *out = &entry->loaded;
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

/* Unlinks the idle entry that was used longest ago when there are too many idle ones. */
static struct entry *take_surplus(struct encoder_store *store)
{
    size_t n_idle = 0;
    struct entry **oldest = NULL;
    for (struct entry **link = &store->entries; *link != NULL; link = &(*link)->next) {
        if ((*link)->n_users > 0)
            continue;
        n_idle++;
        if (oldest == NULL || (*link)->last_used < (*oldest)->last_used)
            oldest = link;
    }
    if (n_idle <= store->max_idle)
        return NULL;
    struct entry *entry = *oldest;
    *oldest = entry->next;
    return entry;
}

void encoder_store_release(struct encoder_store *store, const struct loaded_encoder *encoder)
{
    if (encoder == NULL)
        return;
    pthread_mutex_lock(&store->mutex);
    ((struct entry *)encoder)->n_users--;
    struct entry *surplus = take_surplus(store);
    pthread_mutex_unlock(&store->mutex);
    if (surplus != NULL)
        entry_destroy(surplus);
}

static int insert_default(struct db *db, struct db_blob_writer *writer, struct encoder *encoder,
                          struct error *err)
{
    const struct encoder_info *info = encoder_info(encoder);
    struct db_encoder row = {
        .name = strdup(info->name),
        .in_channels = info->in_channels,
        .input_size = info->input_size,
        .dimension = info->dimension,
        .n_parameters = info->n_parameters,
        .byte_size = db_blob_writer_size(writer),
        .is_default = true,
    };
    snprintf(row.architecture, sizeof(row.architecture), "%s", info->architecture);
    db_blob_writer_sha256(writer, row.sha256);
    int status = row.name == NULL ? error_set_nomem(err, "an encoder's name")
                                  : db_blob_writer_commit(writer, err);
    bool existed = false;
    if (status == 0)
        status = db_encoder_insert(db, &row, &existed, err);
    db_encoder_clear(&row);
    return status;
}

int encoder_store_register_default(struct db *db, const void *data, size_t size, struct error *err)
{
    struct encoder *encoder = NULL;
    struct db_blob_writer *writer = NULL;
    int status = encoder_create(&encoder, data, size, err);
    if (status == 0)
        status = db_blob_writer_create(&writer, db, err);
    if (status == 0)
        status = db_blob_write(writer, data, size, err);
    if (status == 0)
        status = insert_default(db, writer, encoder, err);
    db_blob_writer_destroy(writer);
    encoder_destroy(encoder);
    return status;
}
