/* Runs the real binary (CHIPSHOT_BINARY, default build/chipshot) as a server on a free port with a
 * temporary data directory. Every function fails the running test when it cannot do its work. */
#ifndef CHIPSHOT_TESTS_HTTP_SERVER_H
#define CHIPSHOT_TESTS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct server_process {
    pid_t pid;
    uint16_t port;
    char data[512]; /* data directory; made when empty, removed by server_clear */
    char log[512];  /* file with what the server wrote to stderr */
    bool mounted;   /* the data directory is a file system of its own */
};

struct server_options {
    const char *const *arguments; /* more options for `serve`, NULL-terminated; NULL: none */
    uint64_t max_file_size;       /* > 0: writing past it fails, as on a full disk */
    uint64_t max_open_files;      /* > 0: as RLIMIT_NOFILE says */
    bool no_privileges;           /* file permissions hold even for root */
};

/* Makes a data directory. */
void server_init(struct server_process *server);
/* The same, and makes it a file system of `size` ("100m"). False, with nothing to clear, where the
 * system does not allow that. */
bool server_init_small(struct server_process *server, const char *size);
/* Writes a file into the data directory until `left` bytes are free; again to take what became free
 * since. server_empty_disk removes it. */
void server_fill_disk(const struct server_process *server, uint64_t left);
void server_empty_disk(const struct server_process *server);
/* Starts and waits until it listens. Call server_init before. */
void server_start(struct server_process *server, const struct server_options *options);
/* Starts a server that is expected to refuse, and returns its exit status; `text` is what it said.
 */
int server_refusal(struct server_process *server, const struct server_options *options, char *text,
                   size_t size);
/* Sends the signal (0: none), waits for the end and returns the exit status (128 + signal when
 * killed). */
int server_stop(struct server_process *server, int signal);
/* Reads the log file as text. */
void server_read_log(const struct server_process *server, char *text, size_t size);
/* Blocks until the log contains `mark`; fails after a minute. */
void server_wait_log(const struct server_process *server, const char *mark);
/* Kills a server that still runs and removes its directory. */
void server_clear(struct server_process *server);

/* Runs `chipshot ARGUMENTS...` to its end, puts its stdout into `text` and returns the status. */
int server_run_tool(const char *const *arguments, char *text, size_t size);

/* Makes an API key for the data directory; its token. */
void server_create_key(const struct server_process *server, char *token, size_t size);

/* Files below a folder of the data directory; 0 when it is absent. */
size_t server_count_files(const struct server_process *server, const char *folder);

#endif
