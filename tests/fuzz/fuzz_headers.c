/* Fuzz target: header values that are taken apart by hand: media types, entity tags, preferences,
 * digests, codings, keys, hosts and origins, and the checks of a whole head.
 *
 * Input: lines, each the value that all of them get; the head is made of "Name: value" lines. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/message/digest.h"
#include "api/message/negotiate.h"
#include "server/http/auth.h"
#include "server/http/content_coding.h"
#include "server/http/request_check.h"

enum { HEADERS_MAX = 8 };

static const char *const offered[] = {"application/json", "text/csv", "image/png", NULL};

static void use_value(const char *value)
{
    uint32_t seconds = 0;
    bool changed = false;
    int index = negotiate_accept(value, offered);
    fuzz_expect(index >= -1 && index < 3);
    negotiate_content_type(value, offered);
    negotiate_etag(value, "\"0123abcd\"", ETAG_STRONG);
    negotiate_etag(value, "\"0123abcd\"", ETAG_WEAK);
    negotiate_wait(value, &seconds);
    digest_check(value, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", NULL);
    content_coding_accepts_gzip(value);
    content_coding_is_text(value);
    char *added = content_coding_add_suffix(value);
    char *dropped = content_coding_drop_suffix(value, &changed);
    fuzz_expect(added != NULL && dropped != NULL);
    free(added);
    free(dropped);
    const char *token = auth_bearer_token(value);
    fuzz_expect(token == NULL || *token != '\0');
    auth_host_is_loopback(value);
    auth_origin_is_own(AUTH_LOOPBACK, value, "localhost:8080", 8080);
    auth_origin_is_own(AUTH_OPEN, value, value, 8080);
    request_id_is_valid(value);
    request_traceparent_is_valid(value);
    size_t authority = 0;
    request_target_path(value, &authority);
}

static void use_head(struct api_header *headers, size_t n, const char *target)
{
    static const char *const methods[] = {"GET", "POST", "PRI"};
    static const char *const versions[] = {"HTTP/1.1", "HTTP/1.0", "HTTP/2.0"};
    for (size_t i = 0; i < 3; i++) {
        const struct api_request request = {
            .method = methods[i], .target = target, .headers = headers, .n_headers = n};
        struct request_facts facts = {0};
        char detail[256] = "";
        int status = request_check(&request, versions[i], 200, &facts, detail, sizeof(detail));
        fuzz_expect(status == 0 || (status >= 400 && status < 600 && detail[0] != '\0'));
        fuzz_expect(status != 0 || !facts.chunked || facts.content_length == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct api_header headers[HEADERS_MAX];
    size_t n = 0;
    fuzz_expect(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL && n < HEADERS_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        use_value(line);
        char *colon = strchr(line, ':');
        if (colon != NULL)
            *colon = '\0';
        const char *value = colon == NULL ? "" : colon + 1 + strspn(colon + 1, " ");
        use_value(value);
        headers[n++] = (struct api_header){line, value};
    }
    use_head(headers, n, n > 0 ? headers[0].value : "/");
    free(text);
    return 0;
}
