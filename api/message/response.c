#include "api/message/response.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api/message/target.h"

void api_response_init(struct api_response *response)
{
    *response = (struct api_response){.operation_id = "", .route = ""};
}

void response_reset(struct api_response *response)
{
    free(response->body);
    if (response->stream.next != NULL)
        response->stream.close(response->stream.context);
    for (size_t i = 0; i < response->n_headers; i++)
        free(response->headers[i].value);
    struct api_response empty = {.operation_id = response->operation_id, .route = response->route};
    *response = empty;
}

void api_response_clear(struct api_response *response)
{
    response_reset(response);
    api_response_init(response);
}

void api_response_header(struct api_response *response, const char *name, const char *format, ...)
{
    assert(response->n_headers < API_RESPONSE_HEADERS_MAX);
    if (response->n_headers == API_RESPONSE_HEADERS_MAX)
        return;
    va_list arguments;
    va_start(arguments, format);
    char *value = NULL;
    int n = vasprintf(&value, format, arguments);
    va_end(arguments);
    if (n < 0)
        return;
    /* A client's text must not end the header line. */
    for (char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            *c = ' ';
    }
    response->headers[response->n_headers].name = name;
    response->headers[response->n_headers].value = value;
    response->n_headers++;
}

void response_bytes(struct api_response *response, int status, const char *content_type, void *body,
                    size_t size)
{
    response->status = status;
    response->content_type = content_type;
    response->body = body;
    response->body_size = size;
}

int response_json(struct api_response *response, int status, json_t *json, struct error *err)
{
    /* 15 digits show 0.1 as 0.1; what must be exact is stored, not read back from here. */
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(json);
    if (text == NULL)
        return error_set_nomem(err, "a JSON answer");
    response_bytes(response, status, "application/json", text, strlen(text));
    return 0;
}

int response_attachment(struct api_response *response, const char *file_name, struct error *err)
{
    char *encoded = target_encode(file_name);
    char *plain = strdup(file_name);
    if (encoded == NULL || plain == NULL) {
        free(encoded);
        free(plain);
        return error_set_nomem(err, "a file name");
    }
    for (char *c = plain; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7F || strchr("\"\\/%;:*?<>|", *c) != NULL)
            *c = '_';
    }
    api_response_header(response, "Content-Disposition",
                        "attachment; filename=\"%s\"; filename*=UTF-8''%s", plain, encoded);
    free(encoded);
    free(plain);
    return 0;
}

void response_immutable(struct api_response *response)
{
    api_response_header(response, "Cache-Control", "private, max-age=31536000, immutable");
}
