/* An image's bytes and pictures of it: the file as uploaded, a preview, single chips. */
#include <stdlib.h>
#include <string.h>

#include "api/render.h"
#include "db/store/reader.h"
#include "engine/image/chip_grid.h"
#include "engine/image/preview.h"

static int get_image(struct api_call *call, struct db_image *out, struct error *err)
{
    const char *id = call_id(call, 0, "img_", "image", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    return db_image_get(call->api->db, id, out, err);
}

static const char *media_type(const struct db_image *image)
{
    const struct image_format *format = image_format_find(image->format);
    return format != NULL ? format->media_types[0] : "application/octet-stream";
}

static int next_content(void *reader, char *buffer, size_t size, size_t *n, struct error *err)
{
    return store_reader_read(reader, buffer, size, n, err);
}

static void close_content(void *reader)
{
    store_reader_close(reader);
}

/* The file as a stream that fails before its end when it is damaged. */
static int open_content(struct api_call *call, const struct db_image *image, struct error *err)
{
    const bool is_head = strcmp(call->request->method, "HEAD") == 0;
    struct store_reader *reader = NULL;
    struct error cause = {0};
    int rc = store_reader_open(&reader, call->api->store, image->sha256,
                               is_head ? STORE_READER_MEASURE : STORE_READER_SEND, &cause);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "the file of image %s is missing", image->id);
    if (rc != 0)
        return error_set(err, cause.code, "image %s: %.400s", image->id, cause.message);
    call->response->stream = (struct api_stream){.context = reader,
                                                 .size = store_reader_size(reader),
                                                 .next = next_content,
                                                 .close = close_content};
    return 0;
}

int image_views_content(struct api_call *call, struct error *err)
{
    struct db_image image = {0};
    int rc = get_image(call, &image, err);
    if (rc != 0)
        return rc;
    struct api_response *response = call->response;
    response_immutable(response);
    if (call_not_modified(call, "%s", image.sha256))
        goto out;
    rc = open_content(call, &image, err);
    if (rc != 0)
        goto out;
    response->status = 200;
    response->content_type = media_type(&image);
    rc = response_attachment(response, image.name, err);
out:
    db_image_clear(&image);
    return rc;
}

/* Answers with pixels in 8 bits of grey; takes them. */
static int answer(struct api_call *call, uint8_t *grey, uint32_t width, uint32_t height,
                  struct error *err)
{
    struct png_bytes png = {0};
    int rc = png_write_grey8(grey, width, height, &png, err);
    if (rc == 0)
        render_answer(call, &png);
    free(grey);
    return rc;
}

int image_views_preview(struct api_call *call, struct error *err)
{
    struct db_image image = {0};
    int rc = get_image(call, &image, err);
    if (rc != 0)
        return rc;
    uint32_t max_side = call_query(call, "max_side")->number;
    response_immutable(call->response);
    if (!call_not_modified(call, "%s-preview" RENDER_REVISION "-%u", image.sha256, max_side)) {
        uint8_t *grey = NULL;
        uint32_t width, height;
        preview_size(image.width, image.height, max_side, &width, &height);
        rc = render_preview(call, &image, &normalise_params_default, width, height, &grey, err);
        if (rc == 0)
            rc = answer(call, grey, width, height, err);
    }
    db_image_clear(&image);
    return rc;
}

/* A row or column of the path: decimal digits. */
static int read_place(const char *text, const char *what, uint32_t n, uint32_t *out,
                      struct error *err)
{
    size_t length = strlen(text);
    bool digits = length > 0 && length < 10 && strspn(text, "0123456789") == length;
    unsigned long value = digits ? strtoul(text, NULL, 10) : 0;
    if (!digits || value >= n)
        return error_set(err, ERROR_NOT_FOUND, "the grid has %ss 0 to %u, not '%.40s'", what, n - 1,
                         text);
    *out = (uint32_t)value;
    return 0;
}

/* The chip's window in the grid (stride = size) of the asked chip size and offset. */
static int find_chip(struct api_call *call, const struct db_image *image, struct chip_rect *out,
                     struct error *err)
{
    struct grid_params params = {.chip_width = call_query(call, "width")->number,
                                 .chip_height = call_query(call, "height")->number,
                                 .offset_x = call_query(call, "offset_x")->number,
                                 .offset_y = call_query(call, "offset_y")->number};
    struct grid grid;
    uint32_t row, column;
    int rc = grid_plan(&params, image->width, image->height, UINT64_MAX, &grid, err);
    if (rc == 0)
        rc = read_place(call->params[1], "row", grid.rows, &row, err);
    if (rc == 0)
        rc = read_place(call->params[2], "column", grid.columns, &column, err);
    if (rc == 0)
        *out = grid_chip(&grid, (uint64_t)row * grid.columns + column);
    return rc;
}

int image_views_chip(struct api_call *call, struct error *err)
{
    struct db_image image = {0};
    struct chip_rect chip;
    int rc = get_image(call, &image, err);
    if (rc != 0)
        return rc;
    response_immutable(call->response);
    rc = find_chip(call, &image, &chip, err);
    if (rc == 0 && !call_not_modified(call, "%s-chip" RENDER_REVISION "-%u-%u-%u-%u", image.sha256,
                                      chip.x, chip.y, chip.width, chip.height)) {
        uint8_t *grey = NULL;
        rc = render_window(call, &image, &normalise_params_default, &chip, &grey, err);
        if (rc == 0)
            rc = answer(call, grey, chip.width, chip.height, err);
    }
    db_image_clear(&image);
    return rc;
}
