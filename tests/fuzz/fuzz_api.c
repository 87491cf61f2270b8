/* Fuzz target: requests with all that belongs to them through api/, over a data directory with a
 * project, an image, a support set, an encoder and a finished job.
 *
 * Input: up to REQUESTS_MAX requests, separated by a line "----":
 *
 *     POST /v1/projects/$p/jobs
 *     Content-Type: application/json
 *
 *     {"support_set_id": "$s"}
 *
 * where $p, $i, $s, $e, $j and $v (a verification) stand for the ids of what is there. What the
 * first requests make, the later ones find; after an input that changed something everything is
 * made anew. */
#include "tests/fuzz/fuzz.h"

#include <strings.h>

#include "tests/api/rig.h"

enum { REQUESTS_MAX = 4, HEADERS_MAX = 12, TEXT_MAX = 1 << 16 };

static struct rig *rig;
static char job[DB_ID_SIZE], verification[DB_ID_SIZE];
static bool changed;

static void make_things(void)
{
    fuzz_expect(rig_setup((void **)&rig) == 0);
    rig->limits.image.max_side = 512;
    rig->limits.image.max_pixels = 1 << 16;
    rig_restart_api(rig);
    rig_fill(rig);
    rig_add_job(rig, job);
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
    fuzz_expect(rig_send(rig, "POST", "{\"n\":3}", "/v1/jobs/%s/verifications", job) == 201);
    snprintf(verification, sizeof(verification), "%s", rig_text(rig, "/id"));
    changed = false;
}

static const char *id_of(char letter)
{
    switch (letter) {
    case 'p':
        return rig->project;
    case 'i':
        return rig->image;
    case 's':
        return rig->set;
    case 'e':
        return rig->encoder;
    case 'j':
        return job;
    case 'v':
        return verification;
    }
    return NULL;
}

/* The input with the ids put in; *size is what it has then. */
static char *expand(const uint8_t *data, size_t size, size_t *expanded_size)
{
    char *out = malloc(size * DB_ID_SIZE + 1);
    size_t n = 0;
    fuzz_expect(out != NULL);
    for (size_t i = 0; i < size; i++) {
        const char *id = data[i] == '$' && i + 1 < size ? id_of((char)data[i + 1]) : NULL;
        if (id == NULL) {
            out[n++] = (char)data[i];
            continue;
        }
        memcpy(out + n, id, strlen(id));
        n += strlen(id);
        i++;
    }
    out[n] = '\0';
    *expanded_size = n;
    return out;
}

static void read_stream(struct api_response *response)
{
    char buffer[4096];
    size_t n = 1;
    struct error err = {0};
    while (n > 0) {
        n = 0;
        fuzz_expect(
            response->stream.next(response->stream.context, buffer, sizeof(buffer), &n, &err) == 0);
        fuzz_expect(n <= sizeof(buffer));
    }
}

/* A fault of the client's is its own, and every answer is whole. */
static void check_answer(struct api_response *response)
{
    fuzz_expect(response->status >= 200 && response->status < 600);
    fuzz_expect(response->status < 500 || response->status == 501 || response->status == 503);
    fuzz_expect(response->n_headers <= API_RESPONSE_HEADERS_MAX);
    if (response->stream.next != NULL)
        read_stream(response);
    if (response->body == NULL || response->content_type == NULL ||
        strstr(response->content_type, "json") == NULL)
        return;
    json_t *json = json_loadb(response->body, response->body_size, JSON_REJECT_DUPLICATES, NULL);
    fuzz_expect(json != NULL);
    fuzz_expect(response->status < 400 || json_object_get(json, "detail") != NULL);
    json_decref(json);
}

static void handle(struct api_request *request, const char *body_bytes, size_t body_size)
{
    struct api_response response;
    struct store_writer *upload = NULL;
    struct api_plan plan = {0};
    struct api_wait wait = {0};
    api_response_init(&response);
    if (api_begin(rig->api, request, &plan, &response)) {
        if (plan.body == API_BODY_UPLOAD) {
            fuzz_expect(store_writer_create(&upload, rig->data->store, NULL) == 0);
            fuzz_expect(store_writer_write(upload, body_bytes, body_size, NULL) == 0);
            request->upload = upload;
        } else if (plan.body == API_BODY_JSON) {
            request->body = body_bytes;
            request->body_size = body_size;
        }
        if (api_handle(rig->api, request, &wait, &response) == API_WAITS) {
            wait.timeout_ms = 0;
            fuzz_expect(api_resume(rig->api, request, &wait, &response) == API_ANSWERED);
        }
        store_writer_destroy(upload);
    }
    bool reads =
        strcasecmp(request->method, "GET") == 0 || strcasecmp(request->method, "HEAD") == 0;
    changed = changed || (!reads && response.status < 300);
    check_answer(&response);
    api_response_clear(&response);
}

/* Takes one line off the text; NULL at its end. */
static char *next_line(char **rest, char *end)
{
    char *line = *rest;
    if (line >= end)
        return NULL;
    char *stop = memchr(line, '\n', (size_t)(end - line));
    *rest = stop == NULL ? end : stop + 1;
    if (stop != NULL)
        *stop = '\0';
    return line;
}

static void use_request(char *text, char *end)
{
    struct api_header headers[HEADERS_MAX];
    size_t n_headers = 0;
    char *rest = text;
    char *line = next_line(&rest, end);
    char *target = line == NULL ? NULL : strchr(line, ' ');
    if (target == NULL)
        return;
    *target++ = '\0';
    while ((line = next_line(&rest, end)) != NULL && *line != '\0') {
        char *colon = strchr(line, ':');
        if (colon == NULL || n_headers == HEADERS_MAX)
            continue;
        *colon = '\0';
        headers[n_headers++] = (struct api_header){line, colon + 1 + strspn(colon + 1, " ")};
    }
    struct api_request request = {.method = text,
                                  .target = target,
                                  .headers = headers,
                                  .n_headers = n_headers,
                                  .request_id = "fuzz",
                                  .principal = {.id = RIG_PRINCIPAL}};
    handle(&request, rest, (size_t)(end - rest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char separator[] = "\n----\n";
    size_t expanded_size = 0;
    if (size > TEXT_MAX)
        return 0;
    if (rig == NULL)
        make_things();
    char *text = expand(data, size, &expanded_size);
    char *at = text, *end = text + expanded_size;
    for (int i = 0; i < REQUESTS_MAX && at < end; i++) {
        char *stop = memmem(at, (size_t)(end - at), separator, sizeof(separator) - 1);
        char *next = stop == NULL ? end : stop + sizeof(separator) - 1;
        stop = stop == NULL ? end : stop;
        *stop = '\0';
        use_request(at, stop);
        at = next;
    }
    free(text);
    if (changed) {
        rig_teardown((void **)&rig);
        make_things();
    }
    return 0;
}
