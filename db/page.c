/* The one loop over the rows of a page. A page asks for one row more than it holds, which says
 * whether there are more, and for some more in case rows are damaged: a list goes past those.
 * Everything of a page is read in one transaction. */
#include "db/page.h"

#include <stdlib.h>
#include <string.h>

#include "db/sql/connection.h"
#include "db/id.h"

/* Reads the only row and finishes the statement. */
static int read_only(const struct db_kind *kind, struct db_stmt *stmt, void *item,
                     struct error *err)
{
    int rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        kind->read(stmt, item);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

/* Hands an item over when it was read (rc 0), or else clears it. Takes `item`. */
static int hand_over(const struct db_kind *kind, int rc, void *item, void *out)
{
    if (rc == 0)
        memcpy(out, item, kind->size);
    else
        kind->clear(item);
    free(item);
    return rc;
}

int db_kind_read(const struct db_kind *kind, struct db_stmt *stmt, void *out, struct error *err)
{
    void *item = calloc(1, kind->size);
    if (item != NULL)
        return hand_over(kind, read_only(kind, stmt, item, err), item, out);
    db_stmt_finish(stmt);
    return error_set_nomem(err, kind->name);
}

int db_kind_find(const struct db_kind *kind, struct db_connection *connection, const char *what,
                 const char *sql, const char *key, void *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    void *item = calloc(1, kind->size);
    if (item == NULL)
        return error_set_nomem(err, kind->name);
    int rc = db_stmt_prepare(&stmt, connection, what, sql, err);
    if (rc == 0) {
        db_bind_text(stmt, key);
        rc = read_only(kind, stmt, item, err);
    }
    if (rc == 0 && kind->complete != NULL)
        rc = kind->complete(connection, item, err);
    return hand_over(kind, rc, item, out);
}

/* ---- pages ---- */

enum {
    LIMIT_MAX = 1000,
    DAMAGED_MAX = 100, /* rows that a page passes over */
};

/* Where a page starts. */
struct cursor {
    char created_at[DB_TIME_SIZE]; /* "": from the beginning */
    const char *id;
};

int db_page_check(const struct db_page *page, struct error *err)
{
    if (page->limit >= 1 && page->limit <= LIMIT_MAX)
        return 0;
    return error_set(err, ERROR_INVALID, "limit: %u is not within 1..%d", page->limit, LIMIT_MAX);
}

/* The place follows from the id alone (db_id_time), so that a client may delete what a page listed
 * before it asks for the next one. */
static int read_cursor(const struct db_page *page, struct cursor *out, struct error *err)
{
    int rc = db_page_check(page, err);
    if (rc != 0)
        return rc;
    out->created_at[0] = '\0';
    out->id = "";
    if (page->after_id == NULL)
        return 0;
    const char *ulid = strchr(page->after_id, '_');
    if (ulid == NULL || !db_id_is(ulid + 1, ""))
        return error_set(err, ERROR_INVALID, "cursor: '%.40s' is no id", page->after_id);
    db_id_time(page->after_id, out->created_at);
    out->id = page->after_id;
    return 0;
}

static void *item_at(const struct db_kind *kind, const struct db_items *items, size_t index)
{
    return (char *)items->items + index * kind->size;
}

static void clear(const struct db_kind *kind, struct db_items *items)
{
    for (size_t i = 0; i < items->n_items; i++)
        kind->clear(item_at(kind, items, i));
    free(items->items);
}

static void leave_out(const struct db_kind *kind, struct db_items *items, size_t index)
{
    void *item = item_at(kind, items, index);
    kind->clear(item);
    items->n_items--;
    items->n_damaged++;
    memmove(item, item_at(kind, items, index + 1), (items->n_items - index) * kind->size);
    memset(item_at(kind, items, items->n_items), 0, kind->size);
}

static int read_rows(struct db_stmt *stmt, const struct db_kind *kind, uint32_t limit,
                     struct db_items *items, struct error *err)
{
    int step = 0;
    items->items = calloc(limit, kind->size);
    if (items->items == NULL)
        return error_set_nomem(err, kind->name);
    while ((step = db_stmt_step(stmt, err)) > 0) {
        if (items->n_items == limit) {
            items->more = true;
            return 0;
        }
        kind->read(stmt, item_at(kind, items, items->n_items++));
        if (db_stmt_pass_over(stmt))
            leave_out(kind, items, items->n_items - 1);
        if (items->n_damaged > DAMAGED_MAX)
            return error_set(err, ERROR_CORRUPT, "database: over %d %s in a row are damaged",
                             DAMAGED_MAX, kind->name);
    }
    return step;
}

/* Reads the rest of each item. */
static int complete(struct db_connection *reader, const struct db_kind *kind,
                    struct db_items *items, struct error *err)
{
    for (size_t i = 0; kind->complete != NULL && i < items->n_items;) {
        int rc = kind->complete(reader, item_at(kind, items, i), err);
        if (rc == 0)
            i++;
        else if (rc == ERROR_CORRUPT)
            leave_out(kind, items, i);
        else
            return rc;
    }
    /* The next page starts at the last item of this one. */
    if (items->n_items == 0 && items->more)
        return error_set(err, ERROR_CORRUPT, "database: a whole page of %s is damaged", kind->name);
    return 0;
}

static int list_from(struct db_connection *reader, const struct db_listing *listing,
                     const struct db_page *page, struct db_items *items, struct error *err)
{
    const struct db_kind *kind = listing->kind;
    struct db_stmt *stmt = NULL;
    struct cursor cursor;
    int rc = listing->owner_id == NULL ? 0 : listing->require(reader, listing->owner_id, err);
    if (rc == 0)
        rc = read_cursor(page, &cursor, err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, reader, listing->what, listing->sql, err);
    if (rc != 0)
        return rc;
    if (listing->owner_id != NULL)
        db_bind_text(stmt, listing->owner_id);
    if (listing->filter != NULL)
        db_bind_text(stmt, listing->filter);
    db_bind_text(stmt, cursor.created_at);
    db_bind_text(stmt, cursor.id);
    db_bind_uint(stmt, (uint64_t)page->limit + 1 + DAMAGED_MAX);
    rc = read_rows(stmt, kind, page->limit, items, err);
    db_stmt_finish(stmt);
    if (rc == 0)
        rc = complete(reader, kind, items, err);
    return rc != 0 || listing->complete == NULL ? rc : listing->complete(reader, items, err);
}

int db_page_read(struct db *db, const struct db_listing *listing, const struct db_page *page,
                 struct db_items *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_items items = {0};
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = list_from(reader, listing, page, &items, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = items;
    else
        clear(listing->kind, &items);
    return rc;
}
