#include "api/results/labels_csv.h"

#include <stdio.h>

#include "engine/fewshot/labels.h"

void labels_csv_write_header(struct body_writer *writer, enum labels_csv_form form,
                             uint32_t n_classes, const char *const *names)
{
    body_write_text(writer, "row,column,x,y,label,probability,margin");
    for (uint32_t i = 0; i < n_classes; i++) {
        char title[512];
        snprintf(title, sizeof(title), "probability of %s", names[i]);
        body_write(writer, ",", 1);
        body_write_csv(writer, title);
    }
    body_write_text(writer, form == LABELS_CSV_WITH_RAW ? ",raw_label\n" : "\n");
}

static void write_chip(struct body_writer *writer, const struct grid *grid, uint64_t first,
                       const struct classification *chips, const char *const *names, uint64_t i)
{
    const uint64_t chip = first + i;
    struct chip_rect rect = grid_chip(grid, chip);
    const float *probabilities = &chips->probabilities[i * chips->n_classes];
    const uint64_t places[] = {chip / grid->columns, chip % grid->columns, rect.x, rect.y};
    for (int k = 0; k < 4; k++) {
        body_write_uint(writer, places[k]);
        body_write(writer, ",", 1);
    }
    body_write_csv(writer, label_name(chips->labels[i], names));
    body_write(writer, ",", 1);
    body_write_fraction(writer, classification_probability(chips, i));
    body_write(writer, ",", 1);
    body_write_fraction(writer, classification_margin(chips, i));
    for (uint32_t c = 0; c < chips->n_classes; c++) {
        body_write(writer, ",", 1);
        body_write_fraction(writer, probabilities[c]);
    }
    if (chips->raw_labels != NULL) {
        body_write(writer, ",", 1);
        body_write_csv(writer, label_name(chips->raw_labels[i], names));
    }
    body_write(writer, "\n", 1);
}

void labels_csv_write_chips(struct body_writer *writer, const struct grid *grid, uint64_t first,
                            const struct classification *chips, const char *const *names)
{
    for (uint64_t i = 0; i < chips->n_chips; i++)
        write_chip(writer, grid, first, chips, names, i);
}
