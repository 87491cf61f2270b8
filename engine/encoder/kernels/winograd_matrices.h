/* The matrices of F(m x m, 3 x 3): outputs = A^T [(G g G^T) . (B^T d B)] A for weights g and inputs
 * d (Lavin and Gray, CVPR 2016, section 4.1). Their points are 0, infinity, and for m = 2: 1, -1;
 * for m = 3: 1, -1, 2; for m = 4: 1, -1, 2, -2; for m = 6: 1, -1, 2, -2, 1/2, -1/2. */
#ifndef CHIPSHOT_ENGINE_ENCODER_KERNELS_WINOGRAD_MATRICES_H
#define CHIPSHOT_ENGINE_ENCODER_KERNELS_WINOGRAD_MATRICES_H

#include "engine/encoder/kernels/kernels.h"

enum { WINOGRAD_SIDE_MAX = 8, WINOGRAD_OUTPUTS_MAX = 6 };

struct winograd_matrices {
    float input[WINOGRAD_SIDE_MAX][WINOGRAD_SIDE_MAX];     /* B^T */
    double weights[WINOGRAD_SIDE_MAX][3];                  /* G */
    float output[WINOGRAD_OUTPUTS_MAX][WINOGRAD_SIDE_MAX]; /* A^T */
};

extern const struct winograd_matrices winograd_matrices[WINOGRAD_TILES];

#endif
