/* Creation of the API object, and the slots that bound how many images are decoded at once. */
#include <stdlib.h>
#include <nettle/sha2.h>

#include "api/call.h"
#include "base/clock.h"
#include "base/hex.h"

enum { RENDER_SLOTS = 2, RENDER_WAIT_S = 30 };

static void tag_openapi(struct api *api)
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    sha256_update(&context, api->hooks.openapi_size, (const uint8_t *)api->hooks.openapi);
    sha256_digest(&context, sizeof(digest), digest);
    hex_encode(digest, sizeof(api->openapi_etag) / 2, api->openapi_etag);
}

int api_create(struct api **out, const struct data *data, const struct api_limits *limits,
               const struct api_hooks *hooks, struct error *err)
{
    struct api *api = calloc(1, sizeof(*api));
    if (api == NULL)
        return error_set_nomem(err, "the API");
    api->db = data->db;
    api->store = data->store;
    api->cache = data->cache;
    api->limits = *limits;
    api->hooks = *hooks;
    if (api->hooks.openapi != NULL)
        tag_openapi(api);
    int rc = pthread_mutex_init(&api->mutex, NULL);
    if (rc != 0) {
        free(api);
        return error_set_errno(err, rc, "cannot create a mutex");
    }
    rc = clock_cond_init(&api->slot_free);
    if (rc != 0) {
        pthread_mutex_destroy(&api->mutex);
        free(api);
        return error_set_errno(err, rc, "cannot create a condition variable");
    }
    /* Jansson seeds its hash at the first object otherwise, which is not safe in many threads. */
    json_object_seed(0);
    *out = api;
    return 0;
}

void api_destroy(struct api *api)
{
    if (api == NULL)
        return;
    pthread_cond_destroy(&api->slot_free);
    pthread_mutex_destroy(&api->mutex);
    free(api);
}

int api_render_begin(struct api *api, struct error *err)
{
    const int64_t deadline = clock_deadline_ms(RENDER_WAIT_S * 1000);
    pthread_mutex_lock(&api->mutex);
    while (api->n_rendering == RENDER_SLOTS &&
           clock_cond_wait(&api->slot_free, &api->mutex, deadline))
        continue;
    bool granted = api->n_rendering < RENDER_SLOTS;
    if (granted)
        api->n_rendering++;
    pthread_mutex_unlock(&api->mutex);
    if (!granted)
        return error_set(err, ERROR_BUSY,
                         "%d images are being decoded for other requests; none ended within %d s",
                         RENDER_SLOTS, RENDER_WAIT_S);
    return 0;
}

void api_render_end(struct api *api)
{
    pthread_mutex_lock(&api->mutex);
    api->n_rendering--;
    pthread_cond_signal(&api->slot_free);
    pthread_mutex_unlock(&api->mutex);
}
