#include "server/http/request_check.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

struct check {
    const struct api_request *request;
    char *detail;
    size_t detail_size;
};

static int refuse(const struct check *check, int status, const char *text)
{
    snprintf(check->detail, check->detail_size, "%s", text);
    return status;
}

/* Number of headers of that name; `*value` is the first one's. */
static size_t count_headers(const struct api_request *request, const char *name, const char **value)
{
    size_t n = 0;
    for (size_t i = 0; i < request->n_headers; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0 && n++ == 0)
            *value = request->headers[i].value;
    }
    return n;
}

const char *request_method_name(const char *method)
{
    for (size_t i = 0; method != NULL && i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(method, methods[i]) == 0)
            return methods[i];
    }
    return "other";
}

const char *request_target_path(const char *target, size_t *authority_size)
{
    *authority_size = 0;
    if (strncasecmp(target, "http://", 7) != 0)
        return target;
    const char *path = strchr(target + 7, '/');
    if (path == NULL || path == target + 7)
        return NULL;
    *authority_size = (size_t)(path - (target + 7));
    return path;
}

static int check_target(const struct check *check)
{
    const char *target = check->request->target;
    size_t size = strlen(target);
    if (size > REQUEST_MAX_TARGET_SIZE) {
        snprintf(check->detail, check->detail_size,
                 "the request target has %zu bytes, the limit is %d", size,
                 REQUEST_MAX_TARGET_SIZE);
        return 414;
    }
    bool star = strcmp(target, "*") == 0 && strcmp(check->request->method, "OPTIONS") == 0;
    if (target[0] != '/' && !star)
        return refuse(check, 400, "the request target does not begin with '/'");
    for (const char *c = target; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f)
            return refuse(check, 400,
                          "the request target has blanks, control characters or bytes "
                          "over 0x7e; they must be percent-encoded");
    }
    return 0;
}

/* tchar of RFC 9110, section 5.6.2. */
static bool is_token(const char *text)
{
    size_t n = strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return n > 0 && text[n] == '\0';
}

static int check_headers(const struct check *check, size_t headers_size)
{
    const struct api_request *request = check->request;
    if (headers_size > REQUEST_MAX_HEADERS_SIZE || request->n_headers > REQUEST_MAX_HEADERS) {
        snprintf(check->detail, check->detail_size,
                 "%zu headers of %zu bytes; the limits are %d and %d", request->n_headers,
                 headers_size, REQUEST_MAX_HEADERS, REQUEST_MAX_HEADERS_SIZE);
        return 431;
    }
    for (size_t i = 0; i < request->n_headers; i++) {
        if (!is_token(request->headers[i].name))
            return refuse(check, 400,
                          "a header's name has characters that are not allowed there "
                          "(such as a blank before the colon)");
        for (const char *c = request->headers[i].value; *c != '\0'; c++) {
            if ((*c > 0 && *c < 0x20 && *c != '\t') || *c == 0x7f)
                return refuse(check, 400, "a header's value has control characters");
        }
    }
    return 0;
}

static bool parse_length(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18 || text[n] != '\0') /* 18 digits cannot overflow */
        return false;
    for (; *text != '\0'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    *out = value;
    return true;
}

static int check_framing(const struct check *check, const char *version, struct request_facts *out)
{
    const char *length = NULL, *encoding = NULL;
    size_t n_lengths = count_headers(check->request, "Content-Length", &length);
    size_t n_encodings = count_headers(check->request, "Transfer-Encoding", &encoding);
    if (n_encodings > 0 && n_lengths > 0)
        return refuse(check, 400, "Transfer-Encoding and Content-Length stand together");
    if (n_lengths > 1)
        return refuse(check, 400, "there are several Content-Length headers");
    if (n_encodings > 1)
        return refuse(check, 400, "there are several Transfer-Encoding headers");
    if (n_encodings == 1 && strcmp(version, "HTTP/1.1") != 0)
        return refuse(check, 400, "Transfer-Encoding needs HTTP/1.1");
    if (n_encodings == 1 && strcasecmp(encoding, "chunked") != 0)
        return refuse(check, 501, "the only Transfer-Encoding understood is chunked");
    out->content_length = 0;
    if (n_lengths == 1 && !parse_length(length, &out->content_length))
        return refuse(check, 400, "Content-Length is not a number of bytes below 10^18");
    out->chunked = n_encodings == 1;
    out->has_body = out->chunked || out->content_length > 0;
    return 0;
}

static int check_host_and_expect(const struct check *check, const char *version)
{
    const char *host = NULL, *expect = NULL;
    size_t n_hosts = count_headers(check->request, "Host", &host);
    if (n_hosts > 1)
        return refuse(check, 400, "there are several Host headers");
    if (n_hosts == 0 && strcmp(version, "HTTP/1.1") == 0)
        return refuse(check, 400, "an HTTP/1.1 request needs a Host header");
    size_t n_expects = count_headers(check->request, "Expect", &expect);
    if (n_expects > 1 || (n_expects == 1 && strcasecmp(expect, "100-continue") != 0))
        return refuse(check, 417, "the only expectation understood is 100-continue");
    return 0;
}

/* Whoever stands before the server may go by the one and the server by the other. */
static int check_authorization(const struct check *check)
{
    const char *value = NULL;
    if (count_headers(check->request, "Authorization", &value) > 1)
        return refuse(check, 400, "there are several Authorization headers");
    return 0;
}

int request_check(const struct api_request *request, const char *version, size_t headers_size,
                  struct request_facts *out, char *detail, size_t detail_size)
{
    const struct check check = {request, detail, detail_size};
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return refuse(&check, 505, "the versions understood are HTTP/1.1 and HTTP/1.0");
    int status = check_headers(&check, headers_size);
    if (status == 0)
        status = check_framing(&check, version, out);
    if (status == 0)
        status = check_host_and_expect(&check, version);
    if (status == 0)
        status = check_authorization(&check);
    if (status == 0 && strcmp(request_method_name(request->method), "other") == 0)
        status = refuse(&check, 501, "the method is not known here");
    return status == 0 ? check_target(&check) : status;
}

bool request_id_is_valid(const char *id)
{
    size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n >= 1 && n <= 63 && id[n] == '\0';
}

bool request_traceparent_is_valid(const char *value)
{
    /* 00-TRACE(32)-PARENT(16)-FLAGS(2) */
    static const size_t dashes[] = {2, 35, 52};
    if (strlen(value) != 55 || strncmp(value, "00", 2) != 0)
        return false;
    for (size_t i = 0, d = 0; i < 55; i++) {
        if (d < 3 && i == dashes[d]) {
            d++;
            if (value[i] != '-')
                return false;
        } else if (strchr("0123456789abcdef", value[i]) == NULL) {
            return false;
        }
    }
    return strspn(value + 3, "0") < 32 && strspn(value + 36, "0") < 16;
}
