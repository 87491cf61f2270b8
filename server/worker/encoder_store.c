/* An entry is one encoder at one choice of input sizes, encoding and precision; entries of one
 * encoder share its weights, which go with the last of them. One mutex guards the list and is held
 * while an encoder loads, so that two jobs that want the same one load it once.
 */
#include "server/worker/encoder_store.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "db/store/store.h"
#include "server/worker/stored_file.h"

/* An encoder's weights, shared by its entries. */
struct weights {
    struct encoder *encoder;
    uint32_t n_entries;
};

/* One encoder at one choice of input sizes, encoding and precision. */
struct entry {
    struct loaded_encoder loaded; /* first: a loaded_encoder pointer is an entry pointer */
    struct input_sizes sizes;     /* as asked for */
    enum encoding encoding;       /* as asked for */
    enum precision precision;
    struct weights *weights;
    uint32_t n_users;
    uint64_t last_used; /* value of the store's clock */
    struct entry *next;
};

struct encoder_store {
    struct db *db;
    struct store *files;
    struct pool *pool;
    size_t max_idle;
    pthread_mutex_t mutex; /* guards all below, and is held while an encoder loads */
    struct entry *entries;
    uint64_t clock;
};

int encoder_store_create(struct encoder_store **out, struct db *db, struct store *files,
                         struct pool *pool, size_t max_idle, struct error *err)
{
    struct encoder_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return error_set_nomem(err, "the encoder store");
    store->db = db;
    store->files = files;
    store->pool = pool;
    store->max_idle = max_idle;
    pthread_mutex_init(&store->mutex, NULL);
    *out = store;
    return 0;
}

static void weights_release(struct weights *weights)
{
    if (weights == NULL || --weights->n_entries > 0)
        return;
    encoder_destroy(weights->encoder);
    free(weights);
}

static void entry_destroy(struct entry *entry)
{
    if (entry == NULL)
        return;
    embedder_destroy(entry->loaded.embedder);
    weights_release(entry->weights);
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

/* Reads the weights of `row`. */
static int load_weights(struct encoder_store *store, const struct db_encoder *row, const char *what,
                        const struct cancel *cancel, struct entry *entry, struct error *err)
{
    struct store_file blob = {0};
    struct error inner = {0};
    entry->weights = calloc(1, sizeof(*entry->weights));
    if (entry->weights == NULL)
        return error_set_nomem(err, "an encoder");
    entry->weights->n_entries = 1;
    int rc = stored_file_open(store->files, what, row->sha256, cancel, &blob, err);
    if (rc < 0)
        return rc;
    rc = encoder_create(&entry->weights->encoder, blob.data, blob.size, &inner);
    if (rc < 0)
        error_set(err, inner.code, "%s: %.400s", what, inner.message);
    store_file_close(&blob);
    return rc;
}

/* Takes the weights that another entry has loaded, or loads them, and plans the memory of the input
 * sizes; messages name the encoder. */
static int fill_entry(struct encoder_store *store, const struct db_encoder *row,
                      const struct cancel *cancel, struct entry *entry, struct error *err)
{
    struct error inner = {0};
    char what[DB_ID_SIZE + 16];
    snprintf(what, sizeof(what), "encoder %s", row->id);
    for (struct entry *other = store->entries; other != NULL; other = other->next) {
        if (strcmp(other->loaded.id, row->id) == 0)
            entry->weights = other->weights;
    }
    if (entry->weights != NULL) {
        entry->weights->n_entries++;
    } else {
        int rc = load_weights(store, row, what, cancel, entry, err);
        if (rc < 0)
            return rc;
    }
    if (cancel_is_asked(cancel))
        return error_set(err, ERROR_CANCELLED, "%s: loading it was called off", what);
    int rc = embedder_create(&entry->loaded.embedder, store->pool, entry->weights->encoder,
                             &entry->sizes, entry->encoding, entry->precision, cancel, &inner);
    if (rc < 0)
        error_set(err, inner.code, "%s: %.400s", what, inner.message);
    return rc;
}

static int load_entry(struct encoder_store *store, const char *id, const struct input_sizes *sizes,
                      enum encoding encoding, enum precision precision, const struct cancel *cancel,
                      struct entry **out, struct error *err)
{
    struct db_encoder row = {0};
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return error_set_nomem(err, "an encoder");
    entry->sizes = *sizes;
    entry->encoding = encoding;
    entry->precision = precision;
    int rc = db_encoder_get(store->db, id, &row, err);
    if (rc == 0)
        rc = fill_entry(store, &row, cancel, entry, err);
    if (rc == 0) {
        memcpy(entry->loaded.id, row.id, sizeof(entry->loaded.id));
        memcpy(entry->loaded.sha256, row.sha256, sizeof(entry->loaded.sha256));
        *out = entry;
    } else {
        entry_destroy(entry);
    }
    db_encoder_clear(&row);
    return rc;
}

static struct entry *find_entry(struct encoder_store *store, const char *id,
                                const struct input_sizes *sizes, enum encoding encoding,
                                enum precision precision)
{
    struct entry *entry = store->entries;
    while (entry != NULL &&
           (strcmp(entry->loaded.id, id) != 0 || entry->encoding != encoding ||
            entry->precision != precision || entry->sizes.n != sizes->n ||
            memcmp(entry->sizes.sides, sizes->sides, sizes->n * sizeof(sizes->sides[0])) != 0))
        entry = entry->next;
    return entry;
}

int encoder_store_acquire(struct encoder_store *store, const char *id,
                          const struct input_sizes *sizes, enum encoding encoding,
                          enum precision precision, const struct cancel *cancel,
                          const struct loaded_encoder **out, struct error *err)
{
    static const struct input_sizes own = {0};
    int rc = 0;
    if (sizes == NULL)
        sizes = &own;
    pthread_mutex_lock(&store->mutex);
    struct entry *entry = find_entry(store, id, sizes, encoding, precision);
    if (entry == NULL) {
        rc = load_entry(store, id, sizes, encoding, precision, cancel, &entry, err);
        if (rc == 0) {
            entry->next = store->entries;
            store->entries = entry;
        }
    }
    if (rc == 0) {
        entry->n_users++;
        entry->last_used = ++store->clock;
        *out = &entry->loaded;
    }
    pthread_mutex_unlock(&store->mutex);
    return rc;
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
    entry_destroy(take_surplus(store));
    pthread_mutex_unlock(&store->mutex);
}

static int insert_default(struct db *db, struct store *files, struct store_writer *writer,
                          struct encoder *encoder, struct error *err)
{
    const struct encoder_info *info = encoder_info(encoder);
    struct db_encoder row = {
        .name = strdup(info->name),
        .in_channels = info->in_channels,
        .input_size = info->input_size,
        .dimension = info->dimension,
        .n_parameters = info->n_parameters,
        .byte_size = store_writer_size(writer),
        .is_default = true,
        .created_by = PRINCIPAL_SYSTEM,
    };
    snprintf(row.architecture, sizeof(row.architecture), "%s", info->architecture);
    snprintf(row.encoding, sizeof(row.encoding), "%s", encoding_name(info->encoding));
    store_writer_sha256(writer, row.sha256);
    int rc = row.name == NULL ? error_set_nomem(err, "an encoder's name")
                              : store_writer_commit(writer, err);
    bool existed = false;
    if (rc == 0)
        rc = db_encoder_insert(db, files, &row, &existed, err);
    db_encoder_clear(&row);
    return rc;
}

int encoder_store_register_default(struct db *db, struct store *files, const void *data,
                                   size_t size, struct error *err)
{
    struct encoder *encoder = NULL;
    struct store_writer *writer = NULL;
    int rc = encoder_create(&encoder, data, size, err);
    if (rc == 0)
        rc = store_writer_create(&writer, files, err);
    if (rc == 0)
        rc = store_writer_write(writer, data, size, err);
    if (rc == 0)
        rc = insert_default(db, files, writer, encoder, err);
    store_writer_destroy(writer);
    encoder_destroy(encoder);
    return rc;
}
