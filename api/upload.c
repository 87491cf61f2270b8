#include "api/upload.h"

#include "api/message/digest.h"

int upload_open(struct api_call *call, char sha256[DB_SHA256_SIZE], const void **data, size_t *size,
                struct error *err)
{
    struct store_writer *upload = call->request->upload;
    if (upload == NULL || store_writer_size(upload) == 0)
        return error_set(err, ERROR_INVALID, "the body is empty; the file's bytes are wanted");
    store_writer_sha256(upload, sha256);
    const char *digest = api_request_header(call->request, "Content-Digest");
    struct error cause = {0};
    if (digest_check(digest, sha256, &cause) != 0) {
        field_errors_add(&call->errors, FIELD_HEADER, "Content-Digest", "%s", cause.message);
        return error_set(err, ERROR_INVALID, "%s", cause.message);
    }
    return store_writer_map(upload, data, size, err);
}
