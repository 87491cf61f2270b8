/* Options of the subcommands that work without a server: one table a command gives parsing, range
 * errors and --help. (`chipshot serve` has its own, larger table in server/cli/config.c, because
 * its options are environment variables too.) */
#ifndef CHIPSHOT_SERVER_COMMAND_H
#define CHIPSHOT_SERVER_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum command_option_type { COMMAND_TEXT, COMMAND_INTEGER, COMMAND_FLAG };

struct command_option {
    const char *name;     /* long option without dashes */
    const char *argument; /* what --help calls the value: FILE, N, ...; NULL for a flag */
    enum command_option_type type;
    union {
        const char **text; /* COMMAND_TEXT: set to the argument (borrowed from argv) */
        uint64_t *integer; /* COMMAND_INTEGER: min..max */
        bool *flag;        /* COMMAND_FLAG: set to true */
    } value;
    uint64_t min, max;
    bool required;
    const char *help;
};

struct command {
    const char *usage;   /* the line after "Usage: chipshot " */
    const char *summary; /* one sentence */
    const struct command_option *options;
    size_t n_options;
    uint32_t min_operands; /* positional arguments */
    uint32_t max_operands;
};

enum command_action { COMMAND_RUN, COMMAND_EXIT_OK, COMMAND_EXIT_USAGE };

/* Parses argv (argv[0] is the subcommand's name). Prints help for --help (then COMMAND_EXIT_OK)
 * and, on a mistake, one line that names the option, the limit and the value on stderr
 * (COMMAND_EXIT_USAGE, for exit status 2). `operands` holds max_operands pointers into argv; those
 * not given stay as they were. */
enum command_action command_parse(const struct command *command, int argc, char **argv,
                                  const char **operands);

/* A list of numbers: an option whose text is read after command_parse. */
struct command_numbers {
    const char *name; /* of the option, for messages */
    uint64_t min, max;
    size_t n_max;
};

/* "1000,4000": *n numbers, room for n_max; of no text (NULL), none. ERROR_INVALID. */
int command_parse_numbers(const struct command_numbers *numbers, const char *text, uint64_t *out,
                          size_t *n, struct error *err);

/* Prints "chipshot: MESSAGE" on stderr and returns exit status 1. */
int command_fail(const struct error *err);
/* The same for an option that is wrong: exit status 2. */
int command_fail_usage(const struct error *err);

/* To be returned by a command whose output is what it printed: 0, or 1 with a message when stdout
 * did not take it all (a full disk). */
int command_end_output(void);

/* The subcommands; each returns the exit status. argv[0] is the subcommand's name. */
int cmd_serve(int argc, char **argv);
int cmd_classify(int argc, char **argv);
int cmd_embed(int argc, char **argv);
int cmd_evaluate(int argc, char **argv);
int cmd_simulate(int argc, char **argv);
int cmd_encoder(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_data(int argc, char **argv);

#endif
