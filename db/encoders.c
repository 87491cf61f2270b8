/* Typed queries for encoders. */
#include "db/encoders.h"

#include "db/sql/connection.h"
#include "db/events.h"
#include "db/id.h"
#include "db/page.h"
#include "db/stored_files.h"

#define COLUMNS                                                                                    \
    "id, sha256, name, architecture, in_channels, input_size, dimension, n_parameters, "           \
    "byte_size, is_default, created_at, created_by, encoding"

static void read_encoder(struct db_stmt *stmt, void *item)
{
    struct db_encoder *out = item;
    db_column_id(stmt, "id", "enc_", out->id);
    db_column_sha256(stmt, "sha256", out->sha256);
    out->name = db_column_text(stmt, "name", DB_NAME_MAX);
    db_column_copy(stmt, "architecture", out->architecture, sizeof(out->architecture));
    out->in_channels = db_column_uint32(stmt, "in_channels");
    out->input_size = db_column_uint32(stmt, "input_size");
    out->dimension = db_column_uint32(stmt, "dimension");
    out->n_parameters = db_column_uint(stmt, "n_parameters", INT64_MAX);
    out->byte_size = db_column_uint(stmt, "byte_size", INT64_MAX);
    out->is_default = db_column_int(stmt, "is_default", 0, 1) != 0;
    db_column_time(stmt, "created_at", out->created_at);
    db_column_copy(stmt, "created_by", out->created_by, sizeof(out->created_by));
    db_column_copy(stmt, "encoding", out->encoding, sizeof(out->encoding));
}

static void clear_encoder(void *item)
{
    db_encoder_clear(item);
}

static const struct db_kind encoders = {.name = "encoders",
                                        .size = sizeof(struct db_encoder),
                                        .read = read_encoder,
                                        .clear = clear_encoder};

/* ---- inserting ---- */

static int insert_row(struct db_connection *writer, const struct db_encoder *encoder,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(
        &stmt, writer, "storing an encoder",
        "INSERT INTO encoders (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, encoder->id);
    db_bind_text(stmt, encoder->sha256);
    db_bind_name(stmt, encoder->name);
    db_bind_text(stmt, encoder->architecture);
    db_bind_uint(stmt, encoder->in_channels);
    db_bind_uint(stmt, encoder->input_size);
    db_bind_uint(stmt, encoder->dimension);
    db_bind_uint(stmt, encoder->n_parameters);
    db_bind_uint(stmt, encoder->byte_size);
    db_bind_int(stmt, encoder->is_default ? 1 : 0);
    db_bind_text(stmt, encoder->created_at);
    db_bind_text(stmt, encoder->created_by);
    db_bind_text(stmt, encoder->encoding);
    return db_stmt_run(stmt, NULL, err);
}

static int move_default(struct db_connection *writer, const char *id, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, writer, "moving the default encoder",
                        "UPDATE encoders SET is_default = CASE WHEN id = ? THEN 1 ELSE 0 END", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    return db_stmt_run(stmt, NULL, err);
}

/* Makes the encoder that exists already the default. */
static int promote(struct db_connection *writer, struct db_encoder *found, const char *principal,
                   struct error *err)
{
    if (found->is_default)
        return 0;
    found->is_default = true;
    const struct db_event_head head = {DB_EVENT_ENCODER_UPDATED, "", found->id, principal};
    int rc = move_default(writer, found->id, err);
    return rc != 0 ? rc : db_event_append(writer, &head, err, "{\"is_default\":true}");
}

static int insert_new(struct db_connection *writer, struct db_encoder *encoder, struct error *err)
{
    db_id_create("enc_", encoder->id);
    db_id_time(encoder->id, encoder->created_at);
    const struct db_event_head head = {DB_EVENT_ENCODER_CREATED, "", encoder->id,
                                       encoder->created_by};
    int rc = insert_row(writer, encoder, err);
    if (rc == 0 && encoder->is_default)
        rc = move_default(writer, encoder->id, err);
    if (rc != 0)
        return rc;
    return db_event_append(writer, &head, err, "{\"sha256\":\"%s\",\"is_default\":%s}",
                           encoder->sha256, encoder->is_default ? "true" : "false");
}

/* `found` becomes the encoder that exists already, if there is one. */
static int insert_in(struct db_connection *writer, struct store *store, struct db_encoder *stored,
                     struct db_encoder *found, bool *existed, struct error *err)
{
    int rc = db_stored_file_require(store, stored->sha256, err);
    if (rc != 0)
        return rc;
    rc = db_kind_find(&encoders, writer, "looking for an encoder with the same bytes",
                      "SELECT " COLUMNS " FROM encoders WHERE sha256 = ?", stored->sha256, found,
                      err);
    *existed = rc == 0;
    if (rc == ERROR_NOT_FOUND)
        return insert_new(writer, stored, err);
    return rc == 0 && stored->is_default ? promote(writer, found, stored->created_by, err) : rc;
}

int db_encoder_insert(struct db *db, struct store *store, struct db_encoder *encoder, bool *existed,
                      struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_encoder stored = *encoder, found = {0};
    bool was_there = false;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, insert_in(writer, store, &stored, &found, &was_there, err), err);
    if (rc != 0) {
        db_encoder_clear(&found);
        return rc;
    }
    if (was_there)
        db_encoder_clear(encoder);
    *encoder = was_there ? found : stored;
    *existed = was_there;
    return 0;
}

/* ---- reading ---- */

int db_encoder_get(struct db *db, const char *id, struct db_encoder *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_kind_find(&encoders, reader, "reading an encoder",
                      "SELECT " COLUMNS " FROM encoders WHERE id = ?", id, out, err);
    db_read_end(db, reader);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_NOT_FOUND, "there is no encoder %.40s", id);
    return rc;
}

int db_encoder_get_default(struct db *db, struct db_encoder *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_stmt *stmt = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, reader, "reading the default encoder",
                         "SELECT " COLUMNS " FROM encoders WHERE is_default = 1"
                         " ORDER BY created_at DESC, id DESC LIMIT 1",
                         err);
    if (rc == 0)
        rc = db_kind_read(&encoders, stmt, out, err);
    db_read_end(db, reader);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_NOT_FOUND, "no default encoder was set");
    return rc;
}

int db_encoder_list(struct db *db, const struct db_page *page, struct db_encoder_list *out,
                    struct error *err)
{
    static const struct db_listing listing = {
        .kind = &encoders,
        .what = "listing encoders",
        .sql = "SELECT " COLUMNS " FROM encoders WHERE (created_at, id) > (?, ?)"
               " ORDER BY created_at, id LIMIT ?"};
    struct db_items found;
    int rc = db_page_read(db, &listing, page, &found, err);
    if (rc == 0)
        *out = (struct db_encoder_list){found.items, found.n_items, found.more, found.n_damaged};
    return rc;
}

void db_encoder_clear(struct db_encoder *encoder)
{
    free(encoder->name);
    *encoder = (struct db_encoder){0};
}

void db_encoder_list_clear(struct db_encoder_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_encoder_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_encoder_list){0};
}
