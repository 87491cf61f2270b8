/* What the results of a job say together, class by class: a table of quantities over its images,
 * made from the quantities that are stored with each result. No map is read. */
#ifndef CHIPSHOT_API_POPULATION_TABLE_H
#define CHIPSHOT_API_POPULATION_TABLE_H

#include <stdbool.h>

#include "base/cancel.h"
#include "db/db.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/population.h"
#include "engine/fewshot/statistics.h"

enum population_quantity {
    POPULATION_CHIPS,                 /* an image */
    POPULATION_FRACTION,              /* of the analysed area */
    POPULATION_FRACTION_ESTIMATE,     /* of the chips with a class, by probabilities */
    POPULATION_PROBABILITY,           /* a chip */
    POPULATION_REGIONS,               /* an image */
    POPULATION_DENSITY,               /* regions over analysed area */
    POPULATION_REGION_AREA,           /* mean */
    POPULATION_REGIONS_BORDER,        /* share of the regions that are cut off, maybe */
    POPULATION_NN_DISTANCE,           /* mean over regions */
    POPULATION_NN_RATIO,              /* over that of points at random */
    POPULATION_INTERFACE_POSITION,    /* of the images with the commonest interface of the class */
    POPULATION_INTERFACE_TILT,        /* pixels over pixels, or nm over nm */
    POPULATION_INTERFACE_ROUGHNESS,   /* */
    POPULATION_INTERFACE_CORRELATION, /* */
    POPULATION_QUANTITIES,
};

/* "n_chips", ... */
const char *population_quantity_name(enum population_quantity quantity);

/* Of a class. */
struct population_class {
    struct population_summary summaries[POPULATION_QUANTITIES];
    uint64_t sizes[STATISTIC_REGION_SIZES]; /* regions by octave of their area in pixels */
    uint32_t next; /* the class on the other side of the interface; n_classes: there is none */
    bool interface_along_y;
};

struct population_flag {
    char image_id[DB_ID_SIZE];
    double distance, limit;
};

struct population_table {
    uint32_t n_classes;
    uint64_t uncounted; /* bit k: class k is in no fraction, and its area in no total */
    size_t n_images;
    bool in_nm;        /* lengths and areas; false: pixels, since an image has no known size */
    double pixel_nm2;  /* of all images; NaN: unknown, or not the same */
    double total_area; /* analysed: nm2 or pixels */
    struct population_class *classes; /* n_classes; owned */
    /* Images that lie far from the examples' images; owned. */
    struct population_flag *flagged;
    size_t n_flagged, n_measured;
};

/* "nm2", "px", ..., "" for counts and shares. */
const char *population_quantity_unit(const struct population_table *table,
                                     enum population_quantity quantity);

/* Deterministic. ERROR_CORRUPT: a result with another number of classes. ERROR_NOMEM,
 * ERROR_CANCELLED. */
int population_table_read(struct db *db, const char *job_id, uint32_t n_classes, uint64_t uncounted,
                          const struct cancel *cancel, struct population_table *out,
                          struct error *err);
void population_table_clear(struct population_table *table);

#endif
