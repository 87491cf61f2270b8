/* The file is read as a whole and cut in place: fields are NUL-terminated where they stand, so rows
 * point into the text and a manifest of millions of rows is one allocation for it and one for them.
 * The reader is ours because libcsv has no line numbers, passes over empty lines without a word and
 * trims blanks around a field, so that neither our messages nor our labels would stay as they are.
 */
#include "server/cli/manifest.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/chip_grid.h"
#include "server/cli/files.h"

enum { MANIFEST_MAX_SIZE = 256 << 20, COLUMNS_MAX = 32 };

enum column {
    COLUMN_IMAGE,
    COLUMN_X,
    COLUMN_Y,
    COLUMN_SIZE,
    COLUMN_LABEL,
    COLUMN_GROUP,
    N_COLUMNS
};

static const char *const column_names[N_COLUMNS] = {
    [COLUMN_IMAGE] = "image", [COLUMN_X] = "x",         [COLUMN_Y] = "y",
    [COLUMN_SIZE] = "size",   [COLUMN_LABEL] = "label", [COLUMN_GROUP] = "group"};

/* Cuts one field off *text in place, its quotes removed; NULL when a quote is not closed or is
 * followed by more than a separator. */
static char *cut_field(char **text, bool *line_ends)
{
    char *field = *text;
    char *read = field, *write = field;
    if (*read == '"') {
        read++;
        while (*read != '\0' && !(*read == '"' && read[1] != '"')) {
            if (*read == '"') /* the first of a doubled quote */
                read++;
            *write++ = *read++;
        }
        if (*read == '\0')
            return NULL;
        read++;
    } else {
        while (*read != '\0' && *read != ',' && *read != '\n' && *read != '\r')
            *write++ = *read++;
    }
    if (*read == '\r' && read[1] == '\n')
        read++;
    char separator = *read; /* read before the next line may overwrite it */
    if (separator != ',' && separator != '\n' && separator != '\0')
        return NULL;
    *write = '\0';
    *line_ends = separator != ',';
    *text = separator == '\0' ? read : read + 1;
    return field;
}

/* Cuts one line; returns the number of fields, 0 at the end of the text, -1 when it is malformed.
 */
static int cut_line(char **text, const char *fields[COLUMNS_MAX])
{
    if (**text == '\0')
        return 0;
    bool line_ends = false;
    int n = 0;
    while (!line_ends) {
        if (n == COLUMNS_MAX)
            return -1;
        fields[n] = cut_field(text, &line_ends);
        if (fields[n++] == NULL)
            return -1;
    }
    return n;
}

static int find_columns(const char *path, const char *const *fields, int n, int places[N_COLUMNS],
                        struct error *err)
{
    for (int c = 0; c < N_COLUMNS; c++) {
        places[c] = -1;
        for (int i = 0; i < n; i++) {
            if (strcmp(fields[i], column_names[c]) == 0)
                places[c] = i;
        }
        if (places[c] < 0)
            return error_set(err, ERROR_INVALID, "%s: the header has no column '%s'", path,
                             column_names[c]);
    }
    return 0;
}

static int read_number(const char *path, size_t line, enum column column, const char *text,
                       uint32_t *out, struct error *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > UINT32_MAX / 2)
        return error_set(err, ERROR_INVALID, "%s line %zu: %s '%.40s' is not a whole number", path,
                         line, column_names[column], text);
    *out = (uint32_t)value;
    return 0;
}

static int read_row(const char *path, size_t line, const char *const *fields,
                    const int places[N_COLUMNS], struct manifest_row *row, struct error *err)
{
    row->image = fields[places[COLUMN_IMAGE]];
    row->label = fields[places[COLUMN_LABEL]];
    row->group = fields[places[COLUMN_GROUP]];
    if (row->image[0] == '\0' || row->image[0] == '/' || strstr(row->image, "..") != NULL)
        return error_set(err, ERROR_INVALID,
                         "%s line %zu: image '%.100s' is not a path below the root", path, line,
                         row->image);
    int rc = read_number(path, line, COLUMN_X, fields[places[COLUMN_X]], &row->x, err);
    if (rc == 0)
        rc = read_number(path, line, COLUMN_Y, fields[places[COLUMN_Y]], &row->y, err);
    if (rc == 0)
        rc = read_number(path, line, COLUMN_SIZE, fields[places[COLUMN_SIZE]], &row->size, err);
    if (rc == 0 && (row->size < CHIP_SIDE_MIN || row->size > CHIP_SIDE_MAX))
        rc = error_set(err, ERROR_INVALID, "%s line %zu: size %u is not within %d..%d", path, line,
                       row->size, CHIP_SIDE_MIN, CHIP_SIDE_MAX);
    return rc;
}

static int add_row(struct manifest *manifest, size_t *capacity, struct error *err)
{
    if (manifest->n_rows < *capacity)
        return 0;
    size_t wanted = *capacity == 0 ? 1024 : 2 * *capacity;
    struct manifest_row *rows = realloc(manifest->rows, wanted * sizeof(rows[0]));
    if (rows == NULL)
        return error_set_nomem(err, "a manifest");
    manifest->rows = rows;
    *capacity = wanted;
    return 0;
}

static int read_rows(const char *path, char *text, struct manifest *manifest, struct error *err)
{
    const char *fields[COLUMNS_MAX];
    int places[N_COLUMNS];
    int n_header = cut_line(&text, fields);
    if (n_header <= 0)
        return error_set(err, ERROR_INVALID, "%s: no well-formed header line", path);
    int rc = find_columns(path, fields, n_header, places, err);
    size_t capacity = 0;
    for (size_t line = 2; rc == 0; line++) {
        int n = cut_line(&text, fields);
        if (n == 0)
            break;
        if (n == 1 && fields[0][0] == '\0') /* an empty line */
            continue;
        if (n < 0)
            return error_set(err, ERROR_INVALID, "%s line %zu: malformed CSV", path, line);
        if (n != n_header)
            return error_set(err, ERROR_INVALID, "%s line %zu: %d fields, but the header has %d",
                             path, line, n, n_header);
        rc = add_row(manifest, &capacity, err);
        if (rc == 0)
            rc = read_row(path, line, fields, places, &manifest->rows[manifest->n_rows++], err);
    }
    if (rc == 0 && manifest->n_rows == 0)
        rc = error_set(err, ERROR_INVALID, "%s: no rows", path);
    return rc;
}

int manifest_read(const char *path, struct manifest *out, struct error *err)
{
    struct file_bytes bytes = {0};
    int rc = file_read(path, MANIFEST_MAX_SIZE, &bytes, err);
    if (rc < 0)
        return rc;
    struct manifest manifest = {.text = bytes.data};
    if (memchr(bytes.data, '\0', bytes.size) != NULL)
        rc = error_set(err, ERROR_INVALID, "%s: not a text file", path);
    else
        rc = read_rows(path, manifest.text, &manifest, err);
    if (rc < 0)
        manifest_clear(&manifest);
    else
        *out = manifest;
    return rc;
}

void manifest_clear(struct manifest *manifest)
{
    free(manifest->rows);
    free(manifest->text);
    *manifest = (struct manifest){0};
}

static const char *column_text(const struct manifest_row *row, size_t column)
{
    const char *text;
    memcpy(&text, (const char *)row + column, sizeof(text));
    return text;
}

/* A distinct string of a column, in a search tree. */
struct numbered {
    const char *text;
    uint32_t id;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(((const struct numbered *)a)->text, ((const struct numbered *)b)->text);
}

static void keep_item(void *item)
{
    (void)item; /* all of them are one allocation */
}

/* A balanced tree, and not a hash table: whoever writes a manifest cannot make it slow. */
int manifest_number(const struct manifest *manifest, size_t column, uint32_t *ids, uint32_t *n,
                    struct error *err)
{
    void *tree = NULL;
    uint32_t n_found = 0;
    int rc = 0;
    struct numbered *found = calloc(manifest->n_rows, sizeof(found[0]));
    if (found == NULL)
        return error_set_nomem(err, "the names of a manifest");
    for (size_t i = 0; i < manifest->n_rows && rc == 0; i++) {
        struct numbered *next = &found[n_found];
        *next = (struct numbered){column_text(&manifest->rows[i], column), n_found};
        struct numbered *const *place = tsearch(next, &tree, compare_texts);
        if (place == NULL) {
            rc = error_set_nomem(err, "the names of a manifest");
            break;
        }
        n_found += *place == next;
        ids[i] = (*place)->id;
    }
    tdestroy(tree, keep_item);
    free(found);
    if (rc == 0)
        *n = n_found;
    return rc;
}
