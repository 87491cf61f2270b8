/* Typed queries for support sets. A version is a row of support_set_versions with its classes and
 * examples; none of them is ever changed once stored. */
#include "db/support_sets.h"

#include "db/sql/connection.h"
#include "db/events.h"
#include "db/id.h"
#include "db/page.h"

enum { COLOR_MAX = 0xffffff };

/* ---- inserting ---- */

static int insert_set(struct db_connection *writer, const struct db_support_set *set,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a support set",
                             "INSERT INTO support_sets (id, project_id, latest_version, created_at)"
                             " VALUES (?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, set->id);
    db_bind_text(stmt, set->project_id);
    db_bind_uint(stmt, set->version);
    db_bind_text(stmt, set->created_at);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_version(struct db_connection *writer, const struct db_support_set *set,
                          struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a support set's version",
                             "INSERT INTO support_set_versions (support_set_id, version, name,"
                             " chip_width, chip_height, created_at, created_by)"
                             " VALUES (?, ?, ?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, set->id);
    db_bind_uint(stmt, set->version);
    db_bind_name(stmt, set->name);
    db_bind_uint(stmt, set->chip_width);
    db_bind_uint(stmt, set->chip_height);
    db_bind_text(stmt, set->created_at);
    db_bind_text(stmt, set->created_by);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_class(struct db_connection *writer, const struct db_support_set *set,
                        size_t index, struct error *err)
{
    const struct db_class *class = &set->classes[index];
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, writer, "storing a class",
                        "INSERT INTO classes (support_set_id, version, class_index, name, color,"
                        " counted, n_examples) VALUES (?, ?, ?, ?, ?, ?, ?)",
                        err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, set->id);
    db_bind_uint(stmt, set->version);
    db_bind_uint(stmt, index);
    db_bind_name(stmt, class->name);
    db_bind_int(stmt, (int64_t) class->color[0] << 16 | class->color[1] << 8 | class->color[2]);
    db_bind_int(stmt, class->is_uncounted ? 0 : 1);
    db_bind_uint(stmt, class->n_examples);
    return db_stmt_run(stmt, NULL, err);
}

static int require_image(struct db_connection *writer, const struct db_support_set *set,
                         size_t class_index, size_t example_index, struct error *err)
{
    const char *image_id = set->classes[class_index].examples[example_index].image_id;
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "finding an example's image",
                             "SELECT 1 FROM images WHERE id = ? AND project_id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, image_id);
    db_bind_text(stmt, set->project_id);
    rc = db_stmt_step_one(stmt, err);
    db_stmt_finish(stmt);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_INVALID,
                       "classes/%zu/examples/%zu/image_id: %.40s is no image of project %s",
                       class_index, example_index, image_id, set->project_id);
    return rc;
}

static int insert_example(struct db_connection *writer, const struct db_support_set *set,
                          size_t class_index, size_t example_index, struct error *err)
{
    const struct db_example *example = &set->classes[class_index].examples[example_index];
    struct db_stmt *stmt = NULL;
    int rc = require_image(writer, set, class_index, example_index, err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, writer, "storing an example",
                             "INSERT INTO examples (support_set_id, version, class_index,"
                             " example_index, image_id, x, y) VALUES (?, ?, ?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, set->id);
    db_bind_uint(stmt, set->version);
    db_bind_uint(stmt, class_index);
    db_bind_uint(stmt, example_index);
    db_bind_text(stmt, example->image_id);
    db_bind_uint(stmt, example->x);
    db_bind_uint(stmt, example->y);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_classes(struct db_connection *writer, const struct db_support_set *set,
                          struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < set->n_classes; i++) {
        rc = insert_class(writer, set, i, err);
        for (size_t k = 0; rc == 0 && k < set->classes[i].n_examples; k++)
            rc = insert_example(writer, set, i, k, err);
    }
    return rc;
}

static int append_event(struct db_connection *writer, enum db_event_type type,
                        const struct db_support_set *set, struct error *err)
{
    const struct db_event_head head = {type, set->project_id, set->id, set->created_by};
    return db_event_append(writer, &head, err, "{\"version\":%u}", set->version);
}

static int insert_in(struct db_connection *writer, struct db_support_set *set, struct error *err)
{
    int rc = db_project_require(writer, set->project_id, err);
    if (rc != 0)
        return rc;
    db_id_create("sup_", set->id);
    db_id_time(set->id, set->created_at);
    set->version = 1;
    set->latest_version = 1;
    rc = insert_set(writer, set, err);
    if (rc == 0)
        rc = insert_version(writer, set, err);
    if (rc == 0)
        rc = insert_classes(writer, set, err);
    return rc != 0 ? rc : append_event(writer, DB_EVENT_SUPPORT_SET_CREATED, set, err);
}

int db_support_set_insert(struct db *db, struct db_support_set *set, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_support_set stored = *set;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, insert_in(writer, &stored, err), err);
    if (rc == 0)
        *set = stored;
    return rc;
}

static int not_found(const char *id, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "there is no support set %.40s", id);
}

/* Reads project_id and latest_version of set->id. */
static int read_owner(struct db_connection *connection, const char *id, struct db_support_set *set,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, connection, "reading a support set",
                        "SELECT project_id, latest_version FROM support_sets WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_id(stmt, "project_id", "prj_", set->project_id);
        set->latest_version = db_column_uint32(stmt, "latest_version");
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc == ERROR_NOT_FOUND ? not_found(id, err) : rc;
}

static int update_latest(struct db_connection *writer, const struct db_support_set *set,
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a support set's latest version",
                             "UPDATE support_sets SET latest_version = ? WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_uint(stmt, set->version);
    db_bind_text(stmt, set->id);
    return db_stmt_run(stmt, NULL, err);
}

static int add_version_in(struct db_connection *writer, struct db_support_set *set,
                          uint32_t expected_version, struct error *err)
{
    int rc = read_owner(writer, set->id, set, err);
    if (rc != 0)
        return rc;
    if (expected_version != 0 && expected_version != set->latest_version)
        return error_set(err, ERROR_CONFLICT,
                         "support set %s is at version %u and not at the expected %u", set->id,
                         set->latest_version, expected_version);
    if (set->latest_version == UINT32_MAX)
        return error_set(err, ERROR_CONFLICT, "support set %s has no version numbers left",
                         set->id);
    set->version = ++set->latest_version;
    db_time_now(set->created_at);
    rc = insert_version(writer, set, err);
    if (rc == 0)
        rc = insert_classes(writer, set, err);
    if (rc == 0)
        rc = update_latest(writer, set, err);
    return rc != 0 ? rc : append_event(writer, DB_EVENT_SUPPORT_SET_UPDATED, set, err);
}

int db_support_set_add_version(struct db *db, struct db_support_set *set, uint32_t expected_version,
                               struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_support_set stored = *set;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, add_version_in(writer, &stored, expected_version, err), err);
    if (rc == 0)
        *set = stored;
    return rc;
}

/* ---- reading ---- */

static int read_version(struct db_connection *reader, struct db_support_set *set, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, reader, "reading a support set's version",
                             "SELECT name, chip_width, chip_height, created_at, created_by"
                             " FROM support_set_versions WHERE support_set_id = ? AND version = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, set->id);
    db_bind_uint(stmt, set->version);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        set->name = db_column_text(stmt, "name", DB_NAME_MAX);
        set->chip_width = db_column_uint32(stmt, "chip_width");
        set->chip_height = db_column_uint32(stmt, "chip_height");
        db_column_time(stmt, "created_at", set->created_at);
        db_column_copy(stmt, "created_by", set->created_by, sizeof(set->created_by));
        rc = db_stmt_fault(stmt, err);
    } else if (rc == ERROR_NOT_FOUND && set->version <= set->latest_version) {
        rc = error_set(err, ERROR_CORRUPT, "database: support set %s lacks its version %u", set->id,
                       set->version);
    } else if (rc == ERROR_NOT_FOUND) {
        rc = error_set(err, ERROR_NOT_FOUND, "support set %s has no version %u (the latest is %u)",
                       set->id, set->version, set->latest_version);
    }
    db_stmt_finish(stmt);
    return rc;
}

/* Room for one more item of `size` bytes; capacities are the powers of two. */
static int grow(void *items, size_t n_items, size_t size, struct error *err)
{
    void **array = items;
    if ((n_items & (n_items - 1)) != 0)
        return 0;
    void *larger = reallocarray(*array, n_items == 0 ? 1 : n_items * 2, size);
    if (larger == NULL)
        return error_set_nomem(err, "a support set");
    memset((char *)larger + n_items * size, 0, (n_items == 0 ? 1 : n_items) * size);
    *array = larger;
    return 0;
}

static int read_class(struct db_stmt *stmt, struct db_support_set *set, struct error *err)
{
    void *items = set->classes;
    int rc = grow(&items, set->n_classes, sizeof(*set->classes), err);
    if (rc != 0)
        return rc;
    set->classes = items;
    struct db_class *class = &set->classes[set->n_classes];
    uint64_t index = db_column_uint(stmt, "class_index", UINT32_MAX);
    uint32_t color = (uint32_t)db_column_uint(stmt, "color", COLOR_MAX);
    if (index != set->n_classes)
        return error_set(err, ERROR_CORRUPT, "database: support set %s lacks class %zu", set->id,
                         set->n_classes);
    class->name = db_column_text(stmt, "name", DB_NAME_MAX);
    class->color[0] = (uint8_t)(color >> 16);
    class->color[1] = (uint8_t)(color >> 8);
    class->color[2] = (uint8_t)color;
    class->is_uncounted = db_column_uint(stmt, "counted", 1) == 0;
    set->n_classes++;
    return db_stmt_fault(stmt, err);
}

static int read_counted_class(struct db_stmt *stmt, struct db_support_set *set, struct error *err)
{
    const uint64_t n_examples = db_column_uint(stmt, "n_examples", UINT32_MAX);
    int rc = read_class(stmt, set, err);
    if (rc == 0)
        set->classes[set->n_classes - 1].n_examples = n_examples;
    return rc;
}

static int read_example(struct db_stmt *stmt, struct db_support_set *set, struct error *err)
{
    uint64_t index = db_column_uint(stmt, "class_index", UINT32_MAX);
    if (index >= set->n_classes)
        return error_set(err, ERROR_CORRUPT,
                         "database: support set %s has an example of class %llu"
                         " of %zu",
                         set->id, (unsigned long long)index, set->n_classes);
    struct db_class *class = &set->classes[index];
    void *items = class->examples;
    int rc = grow(&items, class->n_examples, sizeof(*class->examples), err);
    if (rc != 0)
        return rc;
    class->examples = items;
    struct db_example *example = &class->examples[class->n_examples++];
    db_column_id(stmt, "image_id", "img_", example->image_id);
    example->x = db_column_uint32(stmt, "x");
    example->y = db_column_uint32(stmt, "y");
    return db_stmt_fault(stmt, err);
}

typedef int (*read_set)(struct db_connection *reader, void *set, struct error *err);
typedef int (*read_row)(struct db_stmt *stmt, struct db_support_set *set, struct error *err);

static int read_rows(struct db_connection *reader, const char *what, const char *sql, read_row read,
                     struct db_support_set *set, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, reader, what, sql, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, set->id);
    db_bind_uint(stmt, set->version);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = read(stmt, set, err);
    db_stmt_finish(stmt);
    return rc != 0 ? rc : step;
}

/* Reads what belongs to set->id and set->version, but for the examples. */
static int read_classes(struct db_connection *reader, void *item, struct error *err)
{
    struct db_support_set *set = item;
    int rc = read_version(reader, set, err);
    if (rc == 0)
        rc = read_rows(reader, "reading classes",
                       "SELECT class_index, name, color, counted, n_examples FROM classes"
                       " WHERE support_set_id = ? AND version = ? ORDER BY class_index",
                       read_counted_class, set, err);
    return rc;
}

/* The same with the examples, which are counted as they come. */
static int read_content(struct db_connection *reader, void *item, struct error *err)
{
    struct db_support_set *set = item;
    int rc = read_version(reader, set, err);
    if (rc == 0)
        rc = read_rows(reader, "reading classes",
                       "SELECT class_index, name, color, counted FROM classes"
                       " WHERE support_set_id = ? AND version = ? ORDER BY class_index",
                       read_class, set, err);
    if (rc == 0)
        rc = read_rows(reader, "reading examples",
                       "SELECT class_index, image_id, x, y FROM examples"
                       " WHERE support_set_id = ? AND version = ?"
                       " ORDER BY class_index, example_index",
                       read_example, set, err);
    return rc;
}

static int get_from(struct db_connection *reader, const char *id, uint32_t version, read_set read,
                    struct db_support_set *set, struct error *err)
{
    int rc = read_owner(reader, id, set, err);
    if (rc != 0)
        return rc;
    snprintf(set->id, sizeof(set->id), "%s", id);
    set->version = version != 0 ? version : set->latest_version;
    return read(reader, set, err);
}

static int get(struct db *db, const char *id, uint32_t version, read_set read,
               struct db_support_set *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_support_set set = {0};
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = get_from(reader, id, version, read, &set, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = set;
    else
        db_support_set_clear(&set);
    return rc;
}

int db_support_set_get(struct db *db, const char *id, uint32_t version, struct db_support_set *out,
                       struct error *err)
{
    return get(db, id, version, read_content, out, err);
}

int db_support_set_get_classes(struct db *db, const char *id, uint32_t version,
                               struct db_support_set *out, struct error *err)
{
    return get(db, id, version, read_classes, out, err);
}

/* The latest version of a set. */
static void read_latest(struct db_stmt *stmt, void *item)
{
    struct db_support_set *set = item;
    db_column_id(stmt, "id", "sup_", set->id);
    db_column_id(stmt, "project_id", "prj_", set->project_id);
    set->latest_version = db_column_uint32(stmt, "latest_version");
    set->version = set->latest_version;
}

static void clear_set(void *item)
{
    db_support_set_clear(item);
}

static const struct db_kind support_sets = {.name = "support sets",
                                            .size = sizeof(struct db_support_set),
                                            .read = read_latest,
                                            .complete = read_classes,
                                            .clear = clear_set};

int db_support_set_list(struct db *db, const char *project_id, const struct db_page *page,
                        struct db_support_set_list *out, struct error *err)
{
    const struct db_listing listing = {
        .kind = &support_sets,
        .what = "listing support sets",
        .sql = "SELECT id, project_id, latest_version FROM support_sets WHERE project_id = ?"
               " AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?",
        .owner_id = project_id,
        .require = db_project_require};
    struct db_items found;
    int rc = db_page_read(db, &listing, page, &found, err);
    if (rc == 0)
        *out =
            (struct db_support_set_list){found.items, found.n_items, found.more, found.n_damaged};
    return rc;
}

uint64_t db_support_set_uncounted(const struct db_support_set *set)
{
    uint64_t bits = 0;
    for (size_t k = 0; k < set->n_classes && k < 64; k++)
        bits |= (uint64_t)set->classes[k].is_uncounted << k;
    return bits;
}

void db_support_set_clear(struct db_support_set *set)
{
    for (size_t i = 0; i < set->n_classes; i++) {
        free(set->classes[i].name);
        free(set->classes[i].examples);
    }
    free(set->classes);
    free(set->name);
    *set = (struct db_support_set){0};
}

void db_support_set_list_clear(struct db_support_set_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_support_set_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_support_set_list){0};
}
