/* chipshot key create|list|revoke: API keys of a data directory, also while a server runs on it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/keys.h"
#include "server/cli/command.h"
#include "server/cli/common_options.h"
#include "server/cli/config.h"

static int create(const char *directory, const char *name)
{
    struct error err = {0};
    struct db_key key;
    char token[DB_KEY_TOKEN_SIZE];
    if (db_key_create(directory, name, &key, token, &err) < 0)
        return command_fail(&err);
    fprintf(stderr, "chipshot: created %s; its token is shown this once:\n", key.id);
    printf("%s\n", token);
    int rc = command_end_output();
    /* A key whose token nobody has seen is of no use. */
    if (rc != 0 && db_key_revoke(directory, key.id, &err) < 0)
        command_fail(&err);
    return rc;
}

static int list(const char *directory)
{
    struct error err = {0};
    struct db_key_list keys = {0};
    if (db_key_list(directory, &keys, &err) < 0)
        return command_fail(&err);
    for (size_t i = 0; i < keys.n_items; i++)
        printf("%s  %s  %s\n", keys.items[i].id, keys.items[i].created_at, keys.items[i].name);
    db_key_list_clear(&keys);
    return command_end_output();
}

static int revoke(const char *directory, const char *id)
{
    struct error err = {0};
    if (db_key_revoke(directory, id, &err) < 0)
        return command_fail(&err);
    fprintf(stderr, "chipshot: revoked %s\n", id);
    return 0;
}

int cmd_key(int argc, char **argv)
{
    const char *directory = NULL;
    const struct command_option options[] = {
        OPTION_DATA(&directory),
    };
    const struct command command = {
        .usage = "key create NAME | list | revoke ID [--data DIR]",
        .summary = "Manages the API keys (bearer tokens) of a data directory. Only a hash of a "
                   "token is stored.",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
        .min_operands = 1,
        .max_operands = 2,
    };
    const char *operands[2] = {NULL};
    enum command_action action = command_parse(&command, argc, argv, operands);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    char buffer[4096];
    if (directory == NULL)
        directory = config_default_data(buffer, sizeof(buffer));
    if (strcmp(operands[0], "create") == 0 && operands[1] != NULL)
        return create(directory, operands[1]);
    if (strcmp(operands[0], "list") == 0 && operands[1] == NULL)
        return list(directory);
    if (strcmp(operands[0], "revoke") == 0 && operands[1] != NULL)
        return revoke(directory, operands[1]);
    fprintf(stderr, "chipshot: key %.100s%s: usage: chipshot %s\n", operands[0],
            operands[1] != NULL ? " ..." : "", command.usage);
    return 2;
}
