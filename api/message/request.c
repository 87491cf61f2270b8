/* What handlers and the router ask of a request. */
#include <strings.h>

#include "api/api.h"

const char *api_request_header(const struct api_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_headers; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    }
    return NULL;
}
