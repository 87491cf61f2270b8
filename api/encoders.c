/* Encoders: the networks that jobs can name. */
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/upload.h"
#include "db/encoders.h"
#include "engine/encoder/encoder.h"

static json_t *encoder_json(const struct db_encoder *encoder)
{
    char self[DB_ID_SIZE + 40];
    snprintf(self, sizeof(self), "/v1/encoders/%s", encoder->id);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:{s:s}}", "id",
                     encoder->id, "sha256", encoder->sha256, "name", encoder->name, "architecture",
                     encoder->architecture, "in_channels", (json_int_t)encoder->in_channels,
                     "input_size", (json_int_t)encoder->input_size, "dimension",
                     (json_int_t)encoder->dimension, "n_parameters",
                     (json_int_t)encoder->n_parameters, "byte_size", (json_int_t)encoder->byte_size,
                     "is_default", (int)encoder->is_default, "encoding", encoder->encoding,
                     "created_at", encoder->created_at, "links", "self", self);
}

/* Loads the network once to see that it is one. */
static int verify(const void *data, size_t size, struct encoder_info *info, struct error *err)
{
    struct encoder *encoder = NULL;
    int rc = encoder_create(&encoder, data, size, err);
    if (rc == 0)
        *info = *encoder_info(encoder);
    encoder_destroy(encoder);
    return rc;
}

static int fill(struct db_encoder *encoder, const struct encoder_info *info, uint64_t byte_size,
                struct error *err)
{
    encoder->name = strdup(info->name);
    if (encoder->name == NULL)
        return error_set_nomem(err, "an encoder's name");
    snprintf(encoder->architecture, sizeof(encoder->architecture), "%s", info->architecture);
    snprintf(encoder->encoding, sizeof(encoder->encoding), "%s", encoding_name(info->encoding));
    encoder->in_channels = info->in_channels;
    encoder->input_size = info->input_size;
    encoder->dimension = info->dimension;
    encoder->n_parameters = info->n_parameters;
    encoder->byte_size = byte_size;
    return 0;
}

int encoders_upload(struct api_call *call, struct error *err)
{
    struct db_encoder encoder = {0};
    struct encoder_info info;
    const void *data = NULL;
    size_t size = 0;
    bool existed = false;
    int rc = upload_open(call, encoder.sha256, &data, &size, err);
    if (rc == 0)
        rc = verify(data, size, &info, err);
    if (rc == 0)
        rc = fill(&encoder, &info, size, err);
    if (rc == 0)
        rc = store_writer_commit(call->request->upload, err);
    call_sign(call, encoder.created_by);
    if (rc == 0)
        rc = db_encoder_insert(call->api->db, call->api->store, &encoder, &existed, err);
    if (rc == 0) {
        api_response_header(call->response, "Location", "/v1/encoders/%s", encoder.id);
        rc = response_json(call->response, existed ? 200 : 201, encoder_json(&encoder), err);
    }
    db_encoder_clear(&encoder);
    return rc;
}

int encoders_list(struct api_call *call, struct error *err)
{
    struct db_encoder_list list = {0};
    struct db_page page = call_page(call);
    int rc = db_encoder_list(call->api->db, &page, &list, err);
    if (rc != 0)
        return call_page_error(call, rc, err);
    json_t *items = json_array();
    for (size_t i = 0; i < list.n_items; i++)
        json_array_append_new(items, encoder_json(&list.items[i]));
    const char *last = list.n_items > 0 ? list.items[list.n_items - 1].id : NULL;
    rc = call_list(call, items, list.more, last, list.n_damaged, err);
    db_encoder_list_clear(&list);
    return rc;
}

int encoders_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "enc_", "encoder", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_encoder encoder = {0};
    int rc = db_encoder_get(call->api->db, id, &encoder, err);
    if (rc != 0)
        return rc;
    /* The default can move to another encoder. */
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    if (!call_not_modified(call, "%s-%d", encoder.sha256, encoder.is_default))
        rc = response_json(call->response, 200, encoder_json(&encoder), err);
    db_encoder_clear(&encoder);
    return rc;
}
