/* The pictures that `chipshot classify` writes beside its tables. */
#ifndef CHIPSHOT_SERVER_CLI_CLASSIFY_PICTURES_H
#define CHIPSHOT_SERVER_CLI_CLASSIFY_PICTURES_H

#include <stdbool.h>

#include "engine/fewshot/map/fine_map.h"
#include "engine/fewshot/map/overlay.h"
#include "engine/image/image.h"
#include "server/cli/command.h"
#include "server/cli/support_file.h"

/* What the user asked for. */
struct pictures_choice {
    const char *style_name;
    enum overlay_style style; /* read from it by pictures_parse */
    uint64_t opacity;         /* percent */
    bool has_legend, has_scale_bar, has_probabilities;
};

/* For the command's table of options. */
#define PICTURES_OPTIONS(choice)                                                                   \
    {.name = "overlay-style",                                                                      \
     .argument = "STYLE",                                                                          \
     .value.text = &(choice).style_name,                                                           \
     .help = "tint (default) or contour: along the borders of regions"},                           \
        {.name = "opacity",                                                                        \
         .argument = "PERCENT",                                                                    \
         .type = COMMAND_INTEGER,                                                                  \
         .value.integer = &(choice).opacity,                                                       \
         .min = 5,                                                                                 \
         .max = 100,                                                                               \
         .help = "of the tint (default: 40)"},                                                     \
        {.name = "legend",                                                                         \
         .type = COMMAND_FLAG,                                                                     \
         .value.flag = &(choice).has_legend,                                                       \
         .help = "name the classes on the overlay"},                                               \
        {.name = "scale-bar",                                                                      \
         .type = COMMAND_FLAG,                                                                     \
         .value.flag = &(choice).has_scale_bar,                                                    \
         .help = "draw one on the overlay, if the file has a pixel size"},                         \
    {                                                                                              \
        .name = "probabilities", .type = COMMAND_FLAG, .value.flag = &(choice).has_probabilities,  \
        .help = "write probability-N.png and probability-N-image.png of class N, from 0 on"        \
    }

/* ERROR_INVALID: no such style. */
int pictures_parse(struct pictures_choice *choice, struct error *err);

/* Writes labels.png, labels-image.png and overlay.png into the directory, and the probabilities if
 * wanted. */
int pictures_write(const struct pictures_choice *choice, const struct fine_source *source,
                   const struct image *image, const struct support_file *support,
                   const char *directory, struct error *err);

#endif
