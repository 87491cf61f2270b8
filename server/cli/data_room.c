#include "server/cli/data_room.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/cli/command.h"

static void print_project(void *context, const struct upkeep_project *project)
{
    (void)context;
    printf("%15" PRIu64 "  project %s, %" PRIu64 " images and results: %s\n",
           project->image_size + project->result_size, project->id, project->n_images,
           project->name);
}

int data_room_usage(const char *directory)
{
    struct error err = {0};
    for (enum upkeep_part part = 0; part < UPKEEP_PARTS; part++) {
        struct upkeep_use use = {0};
        if (upkeep_measure(directory, part, &use, &err) != 0)
            return command_fail(&err);
        printf("%15" PRIu64 "  %s, %" PRIu64 " files\n", use.size, upkeep_part_name(part),
               use.n_files);
    }
    /* On a disk that is full to the last byte it may be unreadable; the rest is worth knowing. */
    if (upkeep_visit_projects(directory, print_project, NULL, &err) != 0)
        printf("%15s  projects are not known: %s\n", "", err.message);
    return command_end_output();
}

static int free_part(const struct upkeep *upkeep, enum upkeep_part part, struct error *err)
{
    struct upkeep_use gone = {0};
    struct db_shrunk shrunk = {0};
    if (part == UPKEEP_DATABASE) {
        int rc = upkeep_shrink(upkeep, &shrunk, err);
        if (rc == 0)
            printf("%s: of %" PRIu64 " bytes %" PRIu64 " are left\n", upkeep_part_name(part),
                   shrunk.before, shrunk.after);
        return rc;
    }
    int rc = upkeep_empty(upkeep, part, &gone, err);
    printf("%s: %" PRIu64 " files removed, %" PRIu64 " bytes\n", upkeep_part_name(part),
           gone.n_files, gone.size);
    if (gone.n_kept > 0)
        printf("%s: %" PRIu64
               " files stay: the database knows them, and a start brings them back\n",
               upkeep_part_name(part), gone.n_kept);
    return rc;
}

int data_room_free(const char *directory, const bool chosen[UPKEEP_PARTS])
{
    /* The database last: copying it takes room. */
    static const enum upkeep_part order[] = {UPKEEP_TMP, UPKEEP_CACHE, UPKEEP_QUARANTINE,
                                             UPKEEP_DATABASE};
    struct error err = {0};
    struct upkeep upkeep;
    int rc = upkeep_begin(&upkeep, directory, &err);
    if (rc != 0)
        return command_fail(&err);
    for (size_t i = 0; rc == 0 && i < sizeof(order) / sizeof(order[0]); i++) {
        if (chosen[order[i]])
            rc = free_part(&upkeep, order[i], &err);
    }
    upkeep_end(&upkeep);
    return rc != 0 ? command_fail(&err) : command_end_output();
}
