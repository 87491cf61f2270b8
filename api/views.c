/* Invariant: `list` holds one view for each key that someone has open, being made or ready; one
 * that failed or is damaged is taken out at once, so that nobody finds it any more, and goes with
 * the last who has it open. Files are opened, made and closed under no lock. */
#include "api/views.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/view_make.h"
#include "base/clock.h"

enum {
    KEY_SIZE = 256,
    CANCEL_POLL_MS = 100, /* how often who waits for another's making looks whether to go on */
    WORD_SIZE = sizeof(uint32_t),
    TILE_WORDS = PYRAMID_TILE_SIZE / WORD_SIZE,
    ROW_WORDS = TILE_WORDS / CACHE_BLOCK_ROWS,
};

/* A tile is a block of the table, which is what is checked when it is read. */
_Static_assert(ROW_WORDS *CACHE_BLOCK_ROWS *WORD_SIZE == PYRAMID_TILE_SIZE,
               "a tile is a block of whole rows");

struct views {
    struct store *store;
    struct cache *cache;
    const struct image_limits *limits;
    pthread_mutex_t mutex;  /* guards what follows, and the lower part of each view */
    pthread_cond_t changed; /* a view is not being made any more */
    struct view *list;
};

enum view_state { VIEW_MAKING, VIEW_READY, VIEW_FAILED };

struct view {
    struct views *views;
    char key[KEY_SIZE];
    struct pyramid pyramid;
    struct cache_entry *entry; /* the maker's until the view is ready, then never changed */
    enum view_state state;
    bool is_listed;
    bool is_damaged;
    uint32_t n_users;
    struct error failure; /* VIEW_FAILED */
    struct view *next;    /* in the list */
};

int views_create(struct views **out, struct store *store, struct cache *cache,
                 const struct image_limits *limits, struct error *err)
{
    struct views *views = calloc(1, sizeof(*views));
    if (views == NULL)
        return error_set_nomem(err, "the images' views");
    views->store = store;
    views->cache = cache;
    views->limits = limits;
    int failed = clock_cond_init(&views->changed);
    if (failed != 0) {
        free(views);
        return error_set_errno(err, failed, "cannot create a condition variable");
    }
    pthread_mutex_init(&views->mutex, NULL);
    *out = views;
    return 0;
}

void views_destroy(struct views *views)
{
    if (views == NULL)
        return;
    assert(views->list == NULL);
    pthread_cond_destroy(&views->changed);
    pthread_mutex_destroy(&views->mutex);
    free(views);
}

/* ---- the list, under the mutex ---- */

static struct view *find(const struct views *views, const char *key)
{
    struct view *view = views->list;
    while (view != NULL && strcmp(view->key, key) != 0)
        view = view->next;
    return view;
}

static void unlist(struct view *view)
{
    if (!view->is_listed)
        return;
    struct view **link = &view->views->list;
    while (*link != view)
        link = &(*link)->next;
    *link = view->next;
    view->is_listed = false;
}

static int add(struct view **out, struct views *views, const struct db_image *image,
               const char *key, struct error *err)
{
    struct view *view = calloc(1, sizeof(*view));
    if (view == NULL)
        return error_set_nomem(err, "an image's view");
    view->views = views;
    snprintf(view->key, sizeof(view->key), "%s", key);
    pyramid_plan(&view->pyramid, image->width, image->height);
    view->n_users = 1;
    view->is_listed = true;
    view->next = views->list;
    views->list = view;
    *out = view;
    return 0;
}

/* Whether the view, to which a user is added, is ready at last; if not, `err` says why, and the
 * user is to let go of it. */
static int wait_for(struct view *view, const struct cancel *cancel, struct error *err)
{
    struct views *views = view->views;
    view->n_users++;
    while (view->state == VIEW_MAKING) {
        if (cancel_is_asked(cancel))
            return error_set(err, ERROR_CANCELLED, "stopped on request");
        clock_cond_wait(&views->changed, &views->mutex, clock_deadline_ms(CANCEL_POLL_MS));
    }
    return view->state == VIEW_READY
               ? 0
               : error_set(err, view->failure.code, "%s", view->failure.message);
}

/* ---- the entry ---- */

static int write_tiles(void *context, uint64_t first, uint64_t n, const uint8_t *tiles,
                       struct error *err)
{
    struct view *view = context;
    return cache_entry_write(view->entry, first * CACHE_BLOCK_ROWS, n * CACHE_BLOCK_ROWS, tiles,
                             err);
}

/* A new entry; whether it can be kept or not, it can be read. */
static int make_entry(struct view *view, const struct view_source *source, struct error *err)
{
    const uint64_t n_rows = view->pyramid.n_tiles * CACHE_BLOCK_ROWS;
    int rc = cache_entry_create(&view->entry, source->cache, view->key, n_rows, ROW_WORDS, err);
    if (rc == 0)
        rc = view_make(source, &view->pyramid, write_tiles, view, err);
    if (rc == 0)
        cache_entry_keep(view->entry, NULL);
    return rc;
}

static int find_or_make_entry(struct view *view, const struct view_source *source,
                              struct error *err)
{
    const uint64_t n_rows = view->pyramid.n_tiles * CACHE_BLOCK_ROWS;
    int rc = cache_entry_open(&view->entry, source->cache, view->key, n_rows, ROW_WORDS, err);
    return rc == ERROR_NOT_FOUND ? make_entry(view, source, err) : rc;
}

/* Tells those who wait. */
static void end_making(struct view *view, int rc, const struct error *failure)
{
    struct views *views = view->views;
    pthread_mutex_lock(&views->mutex);
    view->state = rc == 0 ? VIEW_READY : VIEW_FAILED;
    if (rc != 0) {
        view->failure = *failure;
        unlist(view);
    }
    pthread_cond_broadcast(&views->changed);
    pthread_mutex_unlock(&views->mutex);
}

/* ---- opening ---- */

/* All that the tiles depend on. The number in front is to be raised with what view_make makes. What
 * was found in an image follows from its bytes, once somebody has looked. */
static void write_key(const struct db_image *image, const struct normalise_params *n,
                      char out[KEY_SIZE])
{
    char flatten[FLATTEN_KEY_SIZE];
    flatten_key(&n->flatten, flatten);
    snprintf(out, KEY_SIZE, "view 1|%s#%" PRIu32 "|%s %.17g %.17g %s%s|%d %.17g %" PRIu32 "%s",
             image->sha256, image->frame, normalise_method_name(n->method), n->low, n->high,
             normalise_outliers_name(n->outliers), flatten, n->clahe.enabled, n->clahe.clip_limit,
             n->clahe.tiles, view_leaves_out(image) ? "|found" : "");
}

/* Finds the view, or adds it, which is then to be made. */
static int find_or_add(struct view **out, struct views *views, const struct db_image *image,
                       const char *key, const struct cancel *cancel, bool *is_new,
                       struct error *err)
{
    pthread_mutex_lock(&views->mutex);
    struct view *view = find(views, key);
    *is_new = view == NULL;
    int rc = view != NULL ? wait_for(view, cancel, err) : add(&view, views, image, key, err);
    pthread_mutex_unlock(&views->mutex);
    if (rc == 0)
        *out = view;
    else if (!*is_new)
        view_close(view);
    return rc;
}

int view_open(struct view **out, struct views *views, const struct db_image *image,
              const struct normalise_params *normalise, const struct cancel *cancel,
              struct error *err)
{
    const struct view_source source = {.store = views->store,
                                       .cache = views->cache,
                                       .limits = views->limits,
                                       .image = image,
                                       .normalise = normalise,
                                       .cancel = cancel};
    struct view *view = NULL;
    struct error failure = {0};
    char key[KEY_SIZE];
    bool is_new;
    int rc;
    write_key(image, normalise, key);
    /* Who made it may have been called off, which is no reason for those who waited. */
    do {
        rc = find_or_add(&view, views, image, key, cancel, &is_new, err);
    } while (rc == ERROR_CANCELLED && !cancel_is_asked(cancel));
    if (rc == 0 && is_new) {
        rc = find_or_make_entry(view, &source, &failure);
        end_making(view, rc, &failure);
        if (rc != 0) {
            view_close(view);
            return error_set(err, failure.code, "%s", failure.message);
        }
    }
    if (rc == 0)
        *out = view;
    return rc;
}

void view_close(struct view *view)
{
    struct views *views = view->views;
    pthread_mutex_lock(&views->mutex);
    const bool is_last = --view->n_users == 0;
    if (is_last)
        unlist(view);
    pthread_mutex_unlock(&views->mutex);
    if (!is_last)
        return;
    cache_entry_destroy(view->entry);
    free(view);
}

/* ---- reading ---- */

const struct pyramid *view_pyramid(const struct view *view)
{
    return &view->pyramid;
}

int view_read_tiles(void *context, uint64_t first, uint64_t n, uint8_t *tiles, struct error *err)
{
    struct view *view = context;
    int rc =
        cache_entry_read(view->entry, first * CACHE_BLOCK_ROWS, n * CACHE_BLOCK_ROWS, tiles, err);
    if (rc == 0)
        return 0;
    pthread_mutex_lock(&view->views->mutex);
    view->is_damaged = true;
    unlist(view);
    pthread_mutex_unlock(&view->views->mutex);
    return rc;
}

bool view_is_damaged(struct view *view)
{
    pthread_mutex_lock(&view->views->mutex);
    const bool is_damaged = view->is_damaged;
    pthread_mutex_unlock(&view->views->mutex);
    return is_damaged;
}
