/* Reading rows alike for all kinds of things: one row, and a page of a list. Each kind says once
 * how its row is read, and brings its own SQL. */
#ifndef CHIPSHOT_DB_PAGE_H
#define CHIPSHOT_DB_PAGE_H

#include "db/db.h"
#include "db/sql/stmt.h"

/* How the rows of one kind become structs; `item` is one of `size` bytes, zeroed before. */
struct db_kind {
    const char *name; /* of several, for messages: "images" */
    size_t size;
    /* Reads the present row; its faults stay in the statement. */
    void (*read)(struct db_stmt *stmt, void *item);
    /* Reads what other tables hold of an item that was read. NULL: nothing. */
    int (*complete)(struct db_connection *connection, void *item, struct error *err);
    void (*clear)(void *item);
};

/* Runs a statement of which every placeholder is bound, and finishes it: the only row becomes
 * `out`, not completed. ERROR_NOT_FOUND. */
int db_kind_read(const struct db_kind *kind, struct db_stmt *stmt, void *out, struct error *err);

/* The row that `sql` selects by `key`, its only placeholder, completed. ERROR_NOT_FOUND. */
int db_kind_find(const struct db_kind *kind, struct db_connection *connection, const char *what,
                 const char *sql, const char *key, void *out, struct error *err);

struct db_items {
    void *items; /* n_items of the kind's size; owned */
    size_t n_items;
    bool more;        /* there is at least one item after the last */
    size_t n_damaged; /* rows among them that cannot be read and are left out */
};

/* A list: `sql` selects rows with the placeholders of what follows, then those of the page:
 * "... AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?". */
struct db_listing {
    const struct db_kind *kind;
    const char *what; /* is being done, for messages */
    const char *sql;
    const char *owner_id; /* NULL: the list is nobody's */
    /* ERROR_NOT_FOUND unless the owner exists, in the list's own transaction. */
    int (*require)(struct db_connection *connection, const char *owner_id, struct error *err);
    const char *filter; /* NULL: none */
    /* Adds what is cheaper to find for a page at once. NULL: nothing. */
    int (*complete)(struct db_connection *connection, const struct db_items *items,
                    struct error *err);
};

/* ERROR_INVALID: the limit is out of range. */
int db_page_check(const struct db_page *page, struct error *err);

/* ERROR_NOT_FOUND: no such owner. ERROR_INVALID: the page is none. ERROR_CORRUPT: so many rows are
 * damaged that the list does not come past them. */
int db_page_read(struct db *db, const struct db_listing *listing, const struct db_page *page,
                 struct db_items *out, struct error *err);

#endif
