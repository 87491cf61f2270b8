/* The program's entry: picks the subcommand. Everything else of the process lives in cmd_*.c. */
#include <stdio.h>
#include <string.h>

#include "engine/encoder/encoder.h"
#include "engine/linear.h"
#include "server/cli/command.h"

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct subcommand subcommands[] = {
    {"serve", cmd_serve, "start the HTTP service"},
    {"classify", cmd_classify, "classify one image without a server"},
    {"embed", cmd_embed, "write the embeddings of the chips of a manifest"},
    {"evaluate", cmd_evaluate, "measure few-shot accuracy on labelled chips"},
    {"simulate", cmd_simulate, "draw a synthetic micrograph with known truth"},
    {"encoder", cmd_encoder, "describe an encoder file"},
    {"bench", cmd_bench, "measure the speed of an encoder"},
    {"key", cmd_key, "create, list or revoke API keys"},
    {"data", cmd_data, "look after a data directory, and free room in it"},
};

static void print_usage(FILE *stream)
{
    fprintf(stream, "Usage: chipshot COMMAND [OPTION]...\n"
                    "Few-shot classification of electron micrographs.\n\nCommands:\n");
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
        fprintf(stream, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
    fprintf(stream, "\nchipshot COMMAND --help describes a command's options; "
                    "chipshot --version names the version.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("chipshot %s (%s kernels, BLAS core %s)\n", CHIPSHOT_VERSION, encoder_kernels(),
               linear_core());
        return 0;
    }
    /* Now, as there is but one thread. */
    struct error err = {0};
    if (linear_load(&err) < 0) {
        fprintf(stderr, "chipshot: %s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "chipshot: '%.100s' is not a command (see chipshot --help)\n", argv[1]);
    return 2;
}
