/* chipshot data ACTION: what an administrator does with a data directory whose server is stopped.
 * One row of the table an action. */
#include <stdio.h>
#include <string.h>

#include "db/data.h"
#include "server/cli/command.h"
#include "server/cli/config.h"

/* Prints what opening found, a line each. */
static void print_note(void *context, enum data_note note, const char *name)
{
    static const char *const texts[DATA_NOTE_COUNT] = {
        [DATA_NOTE_PAIRED] = "paired with the store",
        [DATA_NOTE_MISSING] = "missing",
        [DATA_NOTE_LEFT_IN_TMP] = "not ours, in tmp",
        [DATA_NOTE_SET_ASIDE] = "set aside",
        [DATA_NOTE_BROUGHT_BACK] = "brought back",
        [DATA_NOTE_IN_QUARANTINE] = "in quarantine",
        [DATA_NOTE_DAMAGED] = "damaged",
        [DATA_NOTE_HEALED] = "healed",
    };
    (void)context;
    printf("%s %s\n", texts[note], name);
}

static int open_data(struct data **out, const char *directory, enum data_purpose purpose)
{
    struct error err = {0};
    const struct data_config config = {
        .directory = directory, .purpose = purpose, .observer = {.note = print_note}};
    return data_open(out, &config, &err) == 0 ? 0 : command_fail(&err);
}

static int adopt(const char *directory)
{
    struct data *data = NULL;
    int status = open_data(&data, directory, DATA_TO_ADOPT);
    if (status != 0)
        return status;
    printf("%s: database and files belong to the store %s\n", data->directory, data->pairing.store);
    data_close(data);
    return command_end_output();
}

static const struct {
    const char *name;
    int (*run)(const char *directory);
} actions[] = {
    {"adopt", adopt},
};

int cmd_data(int argc, char **argv)
{
    const char *directory = NULL;
    const struct command_option options[] = {
        {.name = "data",
         .argument = "DIR",
         .value.text = &directory,
         .help = "data directory (default: CHIPSHOT_DATA, else the server's default)"},
    };
    const struct command command = {
        .usage = "data adopt [--data DIR]",
        .summary = "Looks after a data directory while no server runs on it. adopt pairs the "
                   "database and the files\nthat are there, whatever they are, when a start was "
                   "refused because they were not known to belong\ntogether; it deletes nothing.",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
        .min_operands = 1,
        .max_operands = 1,
    };
    const char *operands[1] = {NULL};
    enum command_action action = command_parse(&command, argc, argv, operands);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    char buffer[4096];
    if (directory == NULL)
        directory = config_default_data(buffer, sizeof(buffer));
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(operands[0], actions[i].name) == 0)
            return actions[i].run(directory);
    }
    fprintf(stderr, "chipshot: data %.100s: usage: chipshot %s\n", operands[0], command.usage);
    return 2;
}
