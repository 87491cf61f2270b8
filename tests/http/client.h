/* Two clients: libcurl for requests as clients send them, and bare sockets for those that no client
 * should send. Every function fails the running test when it cannot do its work. */
#ifndef CHIPSHOT_TESTS_HTTP_CLIENT_H
#define CHIPSHOT_TESTS_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct client_request {
    const char *method; /* NULL: GET */
    const char *path;
    const char *headers[8]; /* "Name: value" */
    const char *body;       /* NULL: none */
    size_t body_size;       /* 0 with a body: strlen */
};

struct client_reply {
    long status;
    char *headers; /* of the last answer, as received */
    char *body;    /* NUL-terminated; not decompressed */
    size_t body_size;
    long n_connects; /* new connections this request took; 0: an old one was used again */
};

struct client; /* keeps its connection alive between requests */
struct client *client_create(uint16_t port);
void client_destroy(struct client *client);
void client_send(struct client *client, const struct client_request *request,
                 struct client_reply *reply);
/* GET on a connection of its own. */
void client_get(uint16_t port, const char *path, struct client_reply *reply);
void client_reply_clear(struct client_reply *reply);
/* A header's value in `out`, or NULL when absent. */
const char *client_header(const struct client_reply *reply, const char *name, char *out,
                          size_t size);

/* A connected socket. */
int raw_connect(uint16_t port);
/* The same, from an address of this machine such as "127.0.0.2". */
int raw_connect_from(const char *from, uint16_t port);
/* Writes it all; a reset by the server is no failure (it may answer and close before). */
void raw_write(int fd, const char *data, size_t size);
void raw_print(int fd, const char *text);
/* 1 when there is something to read or the end of it within `ms`, else 0. */
int raw_wait(int fd, int ms);
/* Reads until the server closes, at most `size` - 1 bytes; fails after a minute. */
size_t raw_read_to_end(int fd, char *out, size_t size);
/* Reads until `mark` has come; fails when the server closes before or after a minute. */
void raw_read_until(int fd, const char *mark, char *out, size_t size);
/* Sends `text` on a connection of its own, reads to the end, and returns the first status, 0 when
 * the server closed without an answer. */
int raw_exchange(uint16_t port, const char *text, char *out, size_t size);
/* Number of status lines in what was read. */
size_t raw_count_answers(const char *text);

#endif
