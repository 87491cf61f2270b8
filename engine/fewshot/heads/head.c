/* The table of heads. */
#include "engine/fewshot/heads/head.h"

#include <string.h>

static const struct head *const heads[] = {
    &head_prototypes,
};

const struct head *head_find(const char *name)
{
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strcmp(heads[i]->name, name) == 0)
            return heads[i];
    }
    return NULL;
}
