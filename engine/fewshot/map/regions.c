/* Union-find over the cells (Galler and Fischer 1964; path halving). Nothing is labelled: a class
 * has as many regions as cells minus the unions that joined two trees. Unions over the edges give
 * the 4-neighbour count; unions over the diagonals on top of them give the 8-neighbour count. Cells
 * without a class are joined to nothing.
 */
#include "engine/fewshot/map/regions.h"

#include <stdbool.h>
#include <stdlib.h>

static uint32_t find_root(uint32_t *parents, uint32_t cell)
{
    while (parents[cell] != cell) {
        parents[cell] = parents[parents[cell]];
        cell = parents[cell];
    }
    return cell;
}

/* Joins two cells of one label; the smaller root wins. False when they were one region already. */
static bool join(uint32_t *parents, uint32_t a, uint32_t b)
{
    uint32_t root_a = find_root(parents, a);
    uint32_t root_b = find_root(parents, b);
    if (root_a == root_b)
        return false;
    if (root_a < root_b)
        parents[root_b] = root_a;
    else
        parents[root_a] = root_b;
    return true;
}

static void join_edges(const uint16_t *labels, uint32_t rows, uint32_t columns, uint32_t n_classes,
                       uint32_t *parents, uint64_t *n_regions)
{
    for (uint32_t y = 0; y < rows; y++) {
        for (uint32_t x = 0; x < columns; x++) {
            uint32_t i = y * columns + x;
            if (labels[i] >= n_classes)
                continue;
            if (x > 0 && labels[i] == labels[i - 1])
                n_regions[labels[i]] -= join(parents, i, i - 1);
            if (y > 0 && labels[i] == labels[i - columns])
                n_regions[labels[i]] -= join(parents, i, i - columns);
        }
    }
}

static void join_diagonals(const uint16_t *labels, uint32_t rows, uint32_t columns,
                           uint32_t n_classes, uint32_t *parents, uint64_t *n_regions)
{
    for (uint32_t y = 1; y < rows; y++) {
        for (uint32_t x = 0; x < columns; x++) {
            uint32_t i = y * columns + x;
            if (labels[i] >= n_classes)
                continue;
            if (x > 0 && labels[i] == labels[i - columns - 1])
                n_regions[labels[i]] -= join(parents, i, i - columns - 1);
            if (x + 1 < columns && labels[i] == labels[i - columns + 1])
                n_regions[labels[i]] -= join(parents, i, i - columns + 1);
        }
    }
}

int regions_count(const uint16_t *labels, uint32_t rows, uint32_t columns, uint32_t n_classes,
                  uint64_t *n_regions_4, uint64_t *n_regions_8, struct error *err)
{
    uint32_t n_cells = rows * columns;
    uint32_t *parents = calloc(n_cells, sizeof(*parents));
    if (parents == NULL && n_cells > 0)
        return error_set_nomem(err, "the regions of the label map");
    for (uint32_t k = 0; k < n_classes; k++)
        n_regions_4[k] = 0;
    for (uint32_t i = 0; i < n_cells; i++) {
        parents[i] = i;
        if (labels[i] < n_classes)
            n_regions_4[labels[i]]++;
    }
    join_edges(labels, rows, columns, n_classes, parents, n_regions_4);
    for (uint32_t k = 0; k < n_classes; k++)
        n_regions_8[k] = n_regions_4[k];
    join_diagonals(labels, rows, columns, n_classes, parents, n_regions_8);
    free(parents);
    return 0;
}
