#include "server/cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32, HELP_VALUE = 1, FIRST_VALUE = 256 };

static void print_help(const struct command *command)
{
    printf("Usage: chipshot %s\n%s\n\nOptions:\n", command->usage, command->summary);
    for (size_t i = 0; i < command->n_options; i++) {
        const struct command_option *option = &command->options[i];
        char left[64];
        snprintf(left, sizeof(left), "--%s %s", option->name,
                 option->argument != NULL ? option->argument : "");
        printf("  %-24s %s\n", left, option->help);
    }
    printf("  %-24s %s\n", "--help", "print this help");
}

static bool set_integer(const struct command_option *option, const char *text)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < option->min ||
        value > option->max) {
        fprintf(stderr, "chipshot: --%s: '%.100s' is not a whole number within %llu..%llu\n",
                option->name, text, (unsigned long long)option->min,
                (unsigned long long)option->max);
        return false;
    }
    *option->value.integer = value;
    return true;
}

int command_parse_numbers(const struct command_numbers *numbers, const char *text, uint64_t *out,
                          size_t *n, struct error *err)
{
    *n = 0;
    while (text != NULL && *text != '\0') {
        char *end = NULL;
        errno = 0;
        const unsigned long long value = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || errno != 0 || value < numbers->min ||
            value > numbers->max || (*end != '\0' && *end != ',') ||
            (*end == ',' && end[1] == '\0'))
            return error_set(err, ERROR_INVALID,
                             "--%s: '%.100s' is not a list of numbers within %llu..%llu, "
                             "separated by commas",
                             numbers->name, text, (unsigned long long)numbers->min,
                             (unsigned long long)numbers->max);
        if (*n == numbers->n_max)
            return error_set(err, ERROR_INVALID, "--%s: more than %zu numbers", numbers->name,
                             numbers->n_max);
        out[(*n)++] = value;
        text = *end == ',' ? end + 1 : end;
    }
    return 0;
}

static bool set_option(const struct command_option *option, const char *text)
{
    switch (option->type) {
    case COMMAND_TEXT:
        *option->value.text = text;
        return true;
    case COMMAND_INTEGER:
        return set_integer(option, text);
    case COMMAND_FLAG:
        *option->value.flag = true;
        return true;
    }
    return false;
}

static enum command_action check_required(const struct command *command, const char *name)
{
    for (size_t i = 0; i < command->n_options; i++) {
        const struct command_option *option = &command->options[i];
        if (option->required && *option->value.text == NULL) {
            fprintf(stderr, "chipshot: %s needs --%s %s (see chipshot %s --help)\n", name,
                    option->name, option->argument, name);
            return COMMAND_EXIT_USAGE;
        }
    }
    return COMMAND_RUN;
}

enum command_action command_parse(const struct command *command, int argc, char **argv,
                                  const char **operands)
{
    struct option options[OPTIONS_MAX + 2] = {{0}};
    for (size_t i = 0; i < command->n_options && i < OPTIONS_MAX; i++)
        options[i] = (struct option){
            .name = command->options[i].name,
            .has_arg = command->options[i].type == COMMAND_FLAG ? no_argument : required_argument,
            .val = FIRST_VALUE + (int)i};
    options[command->n_options] = (struct option){.name = "help", .val = HELP_VALUE};
    optind = 0; /* glibc: start afresh, also for a second call in one process */
    int value;
    while ((value = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (value == HELP_VALUE) {
            print_help(command);
            return COMMAND_EXIT_OK;
        }
        if (value < FIRST_VALUE) /* getopt has printed what is wrong */
            return COMMAND_EXIT_USAGE;
        if (!set_option(&command->options[value - FIRST_VALUE], optarg))
            return COMMAND_EXIT_USAGE;
    }
    uint32_t n = (uint32_t)(argc - optind);
    if (n > command->max_operands) {
        fprintf(stderr, "chipshot: unexpected argument '%.100s' (usage: chipshot %s)\n",
                argv[optind + (int)command->max_operands], command->usage);
        return COMMAND_EXIT_USAGE;
    }
    if (n < command->min_operands) {
        fprintf(stderr, "chipshot: usage: chipshot %s\n", command->usage);
        return COMMAND_EXIT_USAGE;
    }
    for (uint32_t i = 0; i < n; i++)
        operands[i] = argv[optind + (int)i];
    return check_required(command, argv[0]);
}

int command_fail(const struct error *err)
{
    fprintf(stderr, "chipshot: %s\n", err->message);
    return 1;
}

int command_end_output(void)
{
    /* ferror: an earlier flush may have failed already. */
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    struct error err = {0};
    error_set_errno(&err, errno, "writing to the standard output");
    return command_fail(&err);
}

int command_fail_usage(const struct error *err)
{
    command_fail(err);
    return 2;
}
