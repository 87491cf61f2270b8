/* Runs the binary (CHIPSHOT_BINARY, default build/chipshot) as a user runs a subcommand: to its
 * end, keeping what it printed. Every function fails the running test when it cannot do its work.
 */
#ifndef CHIPSHOT_TESTS_HTTP_TOOL_H
#define CHIPSHOT_TESTS_HTTP_TOOL_H

#include <stddef.h>

enum {
    TOOL_TEXT_SIZE = 1 << 16,
    TOOL_PATH_SIZE = 600,
    TOOL_SIDE = 64, /* rows and columns of a label table */
};

struct tool_outcome {
    int status;
    char out[TOOL_TEXT_SIZE];
    char err[TOOL_TEXT_SIZE];
};

extern struct tool_outcome tool_outcome; /* of the last run */

/* A path in the program's temporary directory. Valid until many more were asked for. */
const char *tool_path(const char *name);

/* Runs the binary with a NULL-terminated list of arguments; its stdout goes to `stdout_path` when
 * that is not NULL. */
void tool_run_to(const char *stdout_path, const char *const *arguments);
#define tool_run(...) tool_run_to(NULL, (const char *const[]){__VA_ARGS__, NULL})

void tool_assert_done(void);
/* The run failed with this status and one line on stderr that holds `text`; nothing on stdout. */
void tool_assert_refused(int status, const char *text);

void tool_write_text(const char *path, const char *text);
void tool_assert_same_file(const char *a, const char *b);

/* Labels by row and column; "" where there is none. */
typedef char tool_labels[TOOL_SIDE][TOOL_SIDE][64];

/* Reads row, column and label of a CSV; returns the number of lines with a label. */
size_t tool_read_labels(const char *path, tool_labels labels);

#endif
