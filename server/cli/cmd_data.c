/* chipshot data ACTION: what an administrator does with a data directory whose server is stopped.
 * One row of the table an action. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include <string.h>

#include "db/data.h"
#include "db/data/inspect.h"
#include "server/cli/command.h"
#include "server/cli/common_options.h"
#include "server/cli/config.h"
#include "server/cli/data_room.h"

/* Prints what opening found, a line each. */
static void print_note(void *context, enum data_note note, const char *name)
{
    static const char *const texts[DATA_NOTE_COUNT] = {
        [DATA_NOTE_PAIRED] = "paired with the store",
        [DATA_NOTE_MISSING] = "missing",
        [DATA_NOTE_LEFT_IN_TMP] = "not ours, in tmp",
        [DATA_NOTE_GIVEN_UP] = "given up",
        [DATA_NOTE_SET_ASIDE] = "set aside",
        [DATA_NOTE_BROUGHT_BACK] = "brought back",
        [DATA_NOTE_IN_QUARANTINE] = "in quarantine",
        [DATA_NOTE_DAMAGED] = "damaged",
        [DATA_NOTE_HEALED] = "healed",
    };
    (void)context;
    printf("%s %s\n", texts[note], name);
}

/* `note` NULL: what opening finds is not printed. */
static int open_data(struct data **out, const char *directory, enum data_purpose purpose,
                     void (*note)(void *context, enum data_note note, const char *name))
{
    struct error err = {0};
    const struct data_config config = {
        .directory = directory, .purpose = purpose, .observer = {.note = note}};
    return data_open(out, &config, &err) == 0 ? 0 : command_fail(&err);
}

static int adopt(const char *directory)
{
    struct data *data = NULL;
    int status = open_data(&data, directory, DATA_TO_ADOPT, print_note);
    if (status != 0)
        return status;
    printf("%s: database and files belong to the store %s\n", data->directory, data->pairing.store);
    data_close(data);
    return command_end_output();
}

static void print_finding(void *context, enum inspect_finding finding, const char *sha256)
{
    static const char *const texts[] = {
        [INSPECT_MISSING] = "missing",           [INSPECT_DAMAGED] = "damaged",
        [INSPECT_UNREADABLE] = "unreadable",     [INSPECT_UNKNOWN] = "unknown",
        [INSPECT_IN_QUARANTINE] = "quarantined",
    };
    (void)context;
    printf("%s %s\n", texts[finding], sha256);
}

static void print_pairing(const struct data *data)
{
    const struct pairing *pairing = &data->pairing;
    if (pairing_is_made(pairing))
        printf("store %s\n", pairing->store);
    else
        printf("not paired: the database names the store '%s', the files '%s'\n", pairing->database,
               pairing->store);
}

/* Whether all that should be there is there and whole. */
static bool print_summary(const struct inspection *found)
{
    const uint64_t n_bad = found->n_damaged + found->n_missing + found->n_unreadable;
    printf("database: %s\n", found->database.code == 0 ? "ok" : found->database.message);
    printf("files: %" PRIu64 " whole, %" PRIu64 " damaged, %" PRIu64 " missing, %" PRIu64
           " unreadable, %" PRIu64 " unknown, %" PRIu64 " in quarantine\n",
           found->n_whole, found->n_damaged, found->n_missing, found->n_unreadable,
           found->n_unknown, found->n_in_quarantine);
    return n_bad == 0 && found->database.code == 0;
}

/* A directory that is opened is made where it is absent; a check of the wrong one changes nothing.
 */
static int require_database(const char *directory, struct error *err)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/chipshot.sqlite", directory);
    if (length < 0 || (size_t)length >= sizeof(path))
        return error_set(err, ERROR_INVALID, "data directory: the name is too long");
    if (access(path, F_OK) != 0)
        return error_set_errno(err, errno, "%s is no data directory: %s", directory, path);
    return 0;
}

static int check(const char *directory)
{
    static const struct inspect_observer observer = {.found = print_finding};
    struct data *data = NULL;
    struct inspection found;
    struct error err = {0};
    if (require_database(directory, &err) != 0)
        return command_fail(&err);
    int status = open_data(&data, directory, DATA_TO_INSPECT, NULL);
    if (status != 0)
        return status;
    print_pairing(data);
    const bool is_paired = pairing_is_made(&data->pairing);
    if (data_inspect(&found, data->db, data->store, &observer, &err) != 0)
        status = command_fail(&err);
    else if (!print_summary(&found) || !is_paired)
        status = 1;
    data_close(data);
    return status != 0 ? status : command_end_output();
}

static bool chosen[UPKEEP_PARTS]; /* by the options of free */

static int free_chosen(const char *directory)
{
    return data_room_free(directory, chosen);
}

static const struct {
    const char *name;
    int (*run)(const char *directory);
} actions[] = {
    {"adopt", adopt},
    {"check", check},
    {"usage", data_room_usage},
    {"free", free_chosen},
};

/* free is told what, and nothing else is. */
static bool is_well_called(int (*run)(const char *directory))
{
    bool any = false;
    for (int i = 0; i < UPKEEP_PARTS; i++)
        any = any || chosen[i];
    return any == (run == free_chosen);
}

int cmd_data(int argc, char **argv)
{
    const char *directory = NULL;
    const struct command_option options[] = {
        OPTION_DATA(&directory),
        OPTION_FLAG("tmp", &chosen[UPKEEP_TMP], "free what a crash left in tmp"),
        OPTION_FLAG("cache", &chosen[UPKEEP_CACHE],
                    "free embeddings and views, which are made again when they are needed"),
        OPTION_FLAG(
            "quarantine", &chosen[UPKEEP_QUARANTINE],
            "delete for good the files set aside at a start that the database does not know"),
        OPTION_FLAG("database", &chosen[UPKEEP_DATABASE],
                    "give back what deleted rows leave free in the database's file"),
    };
    const struct command command = {
        .usage = "data adopt|check|usage|free [--data DIR] [--tmp] [--cache] [--quarantine] "
                 "[--database]",
        .summary =
            "Looks after a data directory while no server runs on it.\n"
            "adopt pairs the database and the files that are there, whatever they are, when a "
            "start was refused\nbecause they were not known to belong together; it deletes "
            "nothing.\n"
            "check reads the database and every file and prints what is missing, damaged, unknown "
            "or in\nquarantine.\n"
            "usage prints how many bytes of the disk its parts take, and what each project has; "
            "also beside a server.\n"
            "free frees what its options name, and prints how much that was. It works on a full "
            "disk; only a\ndatabase that an older version made is copied for --database, once, "
            "which takes as much room as its\nrows do.",
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
        if (strcmp(operands[0], actions[i].name) == 0 && is_well_called(actions[i].run))
            return actions[i].run(directory);
    }
    fprintf(stderr, "chipshot: data %.100s: usage: chipshot %s\n", operands[0], command.usage);
    return 2;
}
