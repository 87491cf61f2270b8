/* How work that takes long is told that nobody wants it any more: it asks again and again, and ends
 * with ERROR_CANCELLED soon after the answer was yes. Who waits for the work, and how it is called
 * off, is the business of whoever fills the struct. */
#ifndef CHIPSHOT_BASE_CANCEL_H
#define CHIPSHOT_BASE_CANCEL_H

#include <stdbool.h>
#include <stddef.h>

struct cancel {
    /* Called by the threads that work, many times a second: it neither blocks nor takes long. Once
     * true, it stays so. */
    bool (*is_asked)(void *context);
    void *context; /* borrowed for as long as the work takes */
};

/* NULL: never. */
static inline bool cancel_is_asked(const struct cancel *cancel)
{
    return cancel != NULL && cancel->is_asked(cancel->context);
}

#endif
