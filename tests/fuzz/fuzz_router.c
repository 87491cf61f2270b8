/* Fuzz target: the request target and what the router makes of it, for every method.
 *
 * Input: lines. The first is the raw target, the others are header lines "Name: value" as the HTTP
 * layer gives them on. Nothing is handled: only api_begin runs, which decides from the head alone.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/message/target.h"

enum { HEADERS_MAX = 16 };

static struct api *the_api(void)
{
    static struct api *api;
    static const struct api_hooks hooks = {.openapi = "openapi: 3.1.0\n", .openapi_size = 15};
    static struct data data; /* but for the room never asked: nothing is handled */
    if (api == NULL)
        fuzz_expect(room_create(&data.room, ".", 0, NULL) == 0 &&
                    api_create(&api, &data, &api_limits_default, &hooks, NULL) == 0);
    return api;
}

static void split_headers(char *text, struct api_header *headers, size_t *n)
{
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL && *n < HEADERS_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        char *colon = strchr(line, ':');
        if (colon == NULL)
            continue;
        *colon = '\0';
        headers[(*n)++] = (struct api_header){line, colon + 1 + strspn(colon + 1, " ")};
    }
}

static void parse(const char *text)
{
    struct target target = {0};
    struct error err = {0};
    if (target_parse(&target, text, &err) != 0) {
        fuzz_expect(err.message[0] != '\0');
        return;
    }
    fuzz_expect(target.n_segments <= TARGET_SEGMENTS_MAX + 1);
    for (size_t i = 0; i < target.n_segments && i < TARGET_SEGMENTS_MAX; i++) {
        char *encoded = target_encode(target.segments[i]);
        fuzz_expect(encoded != NULL);
        free(encoded);
    }
    target_clear(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET",   "HEAD",   "POST",    "PUT",
                                          "PATCH", "DELETE", "OPTIONS", "BREW"};
    char *text = malloc(size + 1);
    struct api_header headers[HEADERS_MAX];
    size_t n_headers = 0;
    fuzz_expect(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    char *rest = text + strcspn(text, "\n");
    if (*rest != '\0') {
        *rest = '\0';
        split_headers(rest + 1, headers, &n_headers);
    }
    parse(text);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        const struct api_request request = {.method = methods[i],
                                            .target = text,
                                            .headers = headers,
                                            .n_headers = n_headers,
                                            .request_id = "fuzz",
                                            .principal = {.id = PRINCIPAL_ANONYMOUS}};
        struct api_response response;
        struct api_plan plan = {0};
        api_response_init(&response);
        bool goes_on = api_begin(the_api(), &request, &plan, &response);
        fuzz_expect(goes_on || (response.status >= 200 && response.status < 500));
        api_response_clear(&response);
    }
    free(text);
    return 0;
}
