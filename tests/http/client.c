#include "tests/http/client.h"

#include "tests/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

enum { PATIENCE_MS = 60000 };

struct client {
    CURL *curl;
    uint16_t port;
};

struct client *client_create(uint16_t port)
{
    struct client *client = calloc(1, sizeof(*client));
    assert_non_null(client);
    client->curl = curl_easy_init();
    client->port = port;
    assert_non_null(client->curl);
    return client;
}

void client_destroy(struct client *client)
{
    curl_easy_cleanup(client->curl);
    free(client);
}

struct sink {
    FILE *file;
    char *text;
    size_t size;
};

static void sink_open(struct sink *sink)
{
    sink->file = open_memstream(&sink->text, &sink->size);
    assert_non_null(sink->file);
}

static size_t sink_write(char *data, size_t size, size_t n, void *context)
{
    struct sink *sink = context;
    return fwrite(data, size, n, sink->file);
}

/* Keeps the last answer's headers only: "100 Continue" comes before. */
static size_t sink_write_header(char *data, size_t size, size_t n, void *context)
{
    struct sink *sink = context;
    if (n >= 5 && strncmp(data, "HTTP/", 5) == 0)
        rewind(sink->file);
    return fwrite(data, size, n, sink->file);
}

void client_send(struct client *client, const struct client_request *request,
                 struct client_reply *reply)
{
    CURL *curl = client->curl;
    struct sink headers, body;
    char url[10240];
    struct curl_slist *list = NULL;
    sink_open(&headers);
    sink_open(&body);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", client->port, request->path);
    for (size_t i = 0; i < 8 && request->headers[i] != NULL; i++)
        list = curl_slist_append(list, request->headers[i]);
    curl_easy_reset(curl); /* keeps the connection */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, sink_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, sink_write_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
    if (request->body != NULL) {
        curl_off_t size =
            (curl_off_t)(request->body_size > 0 ? request->body_size : strlen(request->body));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    }
    if (request->method != NULL && strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (request->method != NULL)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    CURLcode code = curl_easy_perform(curl);
    fclose(headers.file);
    fclose(body.file);
    curl_slist_free_all(list);
    if (code != CURLE_OK)
        fail_msg("%s %s: %s", request->method != NULL ? request->method : "GET", request->path,
                 curl_easy_strerror(code));
    *reply =
        (struct client_reply){.headers = headers.text, .body = body.text, .body_size = body.size};
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &reply->n_connects);
}

void client_get(uint16_t port, const char *path, struct client_reply *reply)
{
    struct client *client = client_create(port);
    client_send(client, &(struct client_request){.path = path}, reply);
    client_destroy(client);
}

void client_reply_clear(struct client_reply *reply)
{
    free(reply->headers);
    free(reply->body);
    memset(reply, 0, sizeof(*reply));
}

const char *client_header(const struct client_reply *reply, const char *name, char *out,
                          size_t size)
{
    size_t length = strlen(name);
    for (const char *line = reply->headers; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *value = line + length + 1;
        value += strspn(value, " ");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
        return out;
    }
    return NULL;
}

int raw_connect(uint16_t port)
{
    return raw_connect_from("127.0.0.1", port);
}

int raw_connect_from(const char *from, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in own = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, from, &own.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void raw_write(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        data += n;
        size -= (size_t)n;
    }
}

void raw_print(int fd, const char *text)
{
    raw_write(fd, text, strlen(text));
}

/* One piece; 0 at the end of the stream. */
static size_t read_piece(int fd, char *out, size_t size)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    if (poll(&waiting, 1, PATIENCE_MS) != 1)
        fail_msg("the server neither answers nor closes");
    ssize_t n = recv(fd, out, size, 0);
    return n > 0 ? (size_t)n : 0;
}

int raw_wait(int fd, int ms)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    return poll(&waiting, 1, ms) == 1;
}

size_t raw_read_to_end(int fd, char *out, size_t size)
{
    size_t n = 0, got = 1;
    while (got > 0 && n + 1 < size) {
        got = read_piece(fd, out + n, size - 1 - n);
        n += got;
    }
    out[n] = '\0';
    return n;
}

void raw_read_until(int fd, const char *mark, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    while (strstr(out, mark) == NULL) {
        size_t got = read_piece(fd, out + n, size - 1 - n);
        n += got;
        out[n] = '\0';
        if (got == 0)
            fail_msg("the server closed after: %s", out);
    }
}

int raw_exchange(uint16_t port, const char *text, char *out, size_t size)
{
    int fd = raw_connect(port);
    raw_print(fd, text);
    raw_read_to_end(fd, out, size);
    close(fd);
    return strncmp(out, "HTTP/1.", 7) == 0 ? (int)strtol(out + 9, NULL, 10) : 0;
}

size_t raw_count_answers(const char *text)
{
    size_t n = 0;
    for (; (text = strstr(text, "HTTP/1.1 ")) != NULL; text++)
        n += text[9] >= '1' && text[9] <= '5'; /* not the version in a problem's text */
    return n;
}
