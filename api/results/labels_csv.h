/* The chips of a classified image as CSV: row, column, x, y, label, probability, margin, then the
 * probability of each class and, where later steps changed labels, the
 * classifier's own. One line a chip, row by row. */
#ifndef CHIPSHOT_API_LABELS_CSV_H
#define CHIPSHOT_API_LABELS_CSV_H

#include "api/message/body_writer.h"
#include "engine/fewshot/classifier.h"
#include "engine/image/chip_grid.h"

enum labels_csv_form {
    LABELS_CSV_PLAIN,
    LABELS_CSV_WITH_RAW, /* a last column: raw_label */
};

/* `names`: the classes'. All borrowed. */
void labels_csv_write_header(struct body_writer *writer, enum labels_csv_form form,
                             uint32_t n_classes, const char *const *names);
/* Lines of the chips of `grid` from `first` on, which is where `chips` begins. Chips without a
 * class are "unknown" or "not analysed" (labels.h), with probability and margin 0. Of chips with
 * raw labels the last column is written. */
void labels_csv_write_chips(struct body_writer *writer, const struct grid *grid, uint64_t first,
                            const struct classification *chips, const char *const *names);

#endif
