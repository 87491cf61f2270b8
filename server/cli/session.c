#include "server/cli/session.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/pool.h"
#include "server/cli/assets.h"
#include "server/cli/files.h"

static const size_t max_file_size = (size_t)2 << 30;

/* The engine sees bytes: which file they came from is said here. */
static int name_file(const char *path, const struct error *inner, struct error *err)
{
    return error_set(err, inner->code, "%.200s: %.300s", path, inner->message);
}

int session_load_encoder(const char *path, struct encoder **out, struct error *err)
{
    if (path == NULL)
        return encoder_create(out, asset_encoder, (size_t)(asset_encoder_end - asset_encoder), err);
    struct file_bytes bytes = {0};
    struct error inner = {0};
    int rc = file_read(path, max_file_size, &bytes, err);
    if (rc < 0)
        return rc;
    rc = encoder_create(out, bytes.data, bytes.size, &inner);
    file_bytes_clear(&bytes);
    return rc < 0 ? name_file(path, &inner, err) : 0;
}

int session_create(struct session *out, const char *encoder_path, uint64_t n_threads,
                   const struct input_sizes *input_sizes, enum encoding encoding,
                   enum precision precision, struct error *err)
{
    struct session session = {0};
    uint32_t n = n_threads != 0 ? (uint32_t)n_threads : pool_n_workers_default();
    int rc = session_load_encoder(encoder_path, &session.encoder, err);
    if (rc == 0)
        rc = pool_create(&session.pool, n, POOL_LANE_LIMIT, err);
    if (rc == 0)
        rc = pool_lane_create(&session.lane, session.pool, err);
    if (rc == 0)
        rc = embedder_create(&session.embedder, session.pool, session.encoder, input_sizes,
                             encoding, precision, NULL, err);
    if (rc < 0)
        session_clear(&session);
    else
        *out = session;
    return rc;
}

void session_clear(struct session *session)
{
    pool_lane_destroy(session->lane);
    embedder_destroy(session->embedder);
    pool_destroy(session->pool);
    encoder_destroy(session->encoder);
    *session = (struct session){0};
}

static int normalise_image(const struct normalise_params *params, struct image *image,
                           struct normalise_range *range, struct error *err)
{
    const struct image_info *info = &image->info;
    int rc = flatten_apply(&params->flatten, image->pixels, info->width, info->height, NULL, err);
    if (rc == 0)
        rc = normalise_find_range(params, image->pixels, info->width, info->height,
                                  &info->full_scale, NULL, range, err);
    return rc < 0 ? rc
                  : normalise_apply_range(params, range, image->pixels, info->width, info->height,
                                          NULL, err);
}

int session_decode_image(const char *path, struct image *out, struct error *err)
{
    struct file_bytes bytes = {0};
    struct error inner = {0};
    int rc = file_read(path, max_file_size, &bytes, err);
    if (rc < 0)
        return rc;
    const struct image_request request = {
        .data = bytes.data, .size = bytes.size, .limits = &image_limits_default};
    rc = image_decode(&request, out, &inner);
    file_bytes_clear(&bytes);
    return rc < 0 ? name_file(path, &inner, err) : 0;
}

int session_normalise_image(const char *path, const struct normalise_params *normalise,
                            struct image *image, uint64_t *n_outliers, struct error *err)
{
    struct normalise_range range = {0};
    struct error inner = {0};
    if (normalise_image(normalise, image, &range, &inner) < 0)
        return name_file(path, &inner, err);
    if (range.n_outliers > 0)
        fprintf(stderr,
                "%s: %" PRIu64 " pixels are outliers and were replaced: %g to %g was stretched\n",
                path, range.n_outliers, range.low, range.high);
    if (n_outliers != NULL)
        *n_outliers = range.n_outliers;
    return 0;
}

int session_load_image(const char *path, const struct normalise_params *normalise,
                       struct image *out, uint64_t *n_outliers, struct error *err)
{
    struct image image = {0};
    int rc = session_decode_image(path, &image, err);
    if (rc == 0)
        rc = session_normalise_image(path, normalise, &image, n_outliers, err);
    if (rc < 0)
        image_clear(&image);
    else
        *out = image;
    return rc;
}
