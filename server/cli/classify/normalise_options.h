/* How `chipshot classify` is told to normalise: the options that stand for a job's "normalise",
 * "flatten" and "clahe". */
#ifndef CHIPSHOT_SERVER_NORMALISE_OPTIONS_H
#define CHIPSHOT_SERVER_NORMALISE_OPTIONS_H

#include "engine/image/normalise.h"
#include "server/cli/command.h"

/* As given; NULL: not given. */
struct normalise_options {
    const char *method;   /* "percentile" */
    const char *low;      /* "0.5" */
    const char *high;     /* "99.5" */
    const char *outliers; /* "replace" */
    const char *flatten;  /* "plane", "polynomial,3", "large_scale,200" */
    const char *clahe;    /* "2", "2,8" */
};

/* Entries of a command's table. */
#define OPTIONS_NORMALISE(options)                                                                 \
    {.name = "normalise",                                                                          \
     .argument = "METHOD",                                                                         \
     .value.text = &(options).method,                                                              \
     .help = "percentile (default), minmax or none: which grey levels become black and white"},    \
        {.name = "low",                                                                            \
         .argument = "PERCENT",                                                                    \
         .value.text = &(options).low,                                                             \
         .help = "of the pixels that become black with percentile (default 0.5)"},                 \
        {.name = "high",                                                                           \
         .argument = "PERCENT",                                                                    \
         .value.text = &(options).high,                                                            \
         .help = "of the pixels that do not become white (default 99.5)"},                         \
        {.name = "outliers",                                                                       \
         .argument = "CHOICE",                                                                     \
         .value.text = &(options).outliers,                                                        \
         .help = "replace (default): hot and dead pixels by the median; keep: they have a say in " \
                 "the range"},                                                                     \
        {.name = "flatten",                                                                        \
         .argument = "METHOD",                                                                     \
         .value.text = &(options).flatten,                                                         \
         .help =                                                                                   \
             "take the background out: plane; polynomial,ORDER (2 to 4, default 2); "              \
             "large_scale,PIXELS\n                           (medians of blocks, default 256)"},   \
    {                                                                                              \
        .name = "clahe", .argument = "LIMIT[,TILES]", .value.text = &(options).clahe,              \
        .help = "contrast-limited adaptive histogram equalisation, such as 2,8"                    \
    }

/* ERROR_INVALID names the option. */
int normalise_options_parse(const struct normalise_options *options, struct normalise_params *out,
                            struct error *err);

#endif
