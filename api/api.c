/* Creation of the API object. */
#include <stdlib.h>
#include <nettle/sha2.h>

#include "api/call.h"
#include "base/clock.h"
#include "base/hex.h"

static void tag_openapi(struct api *api)
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    sha256_update(&context, api->hooks.openapi_size, (const uint8_t *)api->hooks.openapi);
    sha256_digest(&context, sizeof(digest), digest);
    hex_encode(digest, sizeof(api->openapi_etag) / 2, api->openapi_etag);
}

int api_create(struct api **out, struct data *data, const struct api_limits *limits,
               const struct api_hooks *hooks, struct error *err)
{
    struct api *api = calloc(1, sizeof(*api));
    if (api == NULL)
        return error_set_nomem(err, "the API");
    api->data = data;
    api->db = data->db;
    api->store = data->store;
    api->cache = data->cache;
    api->limits = *limits;
    api->hooks = *hooks;
    if (api->hooks.openapi != NULL)
        tag_openapi(api);
    int rc = pthread_mutex_init(&api->probe.mutex, NULL);
    if (rc != 0) {
        free(api);
        return error_set_errno(err, rc, "cannot create a mutex");
    }
    rc = clock_cond_init(&api->probe.first);
    if (rc != 0) {
        pthread_mutex_destroy(&api->probe.mutex);
        free(api);
        return error_set_errno(err, rc, "cannot create a condition variable");
    }
    rc = views_create(&api->views, api->store, api->cache, &api->limits.image, err);
    if (rc != 0) {
        api_destroy(api);
        return rc;
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
    views_destroy(api->views);
    pthread_cond_destroy(&api->probe.first);
    pthread_mutex_destroy(&api->probe.mutex);
    free(api);
}
