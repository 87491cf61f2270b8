/* Filling responses: what api.h's callers do not need. */
#ifndef CHIPSHOT_API_RESPONSE_H
#define CHIPSHOT_API_RESPONSE_H

#include <jansson.h>

#include "api/api.h"

/* Drops body and headers; operation id and route stay. */
void response_reset(struct api_response *response);

/* Takes `json` (NULL: it could not be built). ERROR_NOMEM. */
int response_json(struct api_response *response, int status, json_t *json, struct error *err);

/* Takes malloc'd `body`. `content_type` is static. */
void response_bytes(struct api_response *response, int status, const char *content_type, void *body,
                    size_t size);

/* "attachment" with the client's own file name made safe: an ASCII form and the exact one (RFC
 * 6266, RFC 8187). ERROR_NOMEM. */
int response_attachment(struct api_response *response, const char *file_name, struct error *err);

/* Cache-Control of what can never change under its URL; belongs on the 304, too. */
void response_immutable(struct api_response *response);

#endif
