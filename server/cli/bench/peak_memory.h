/* The peak of this process's memory, for `chipshot bench`. */
#ifndef CHIPSHOT_SERVER_PEAK_MEMORY_H
#define CHIPSHOT_SERVER_PEAK_MEMORY_H

#include <stdint.h>

/* Linux forgets the peak so far (man 5 proc_pid_clear_refs), so that what came before does not
 * count. Where that is not allowed it does. */
void peak_memory_forget(void);
/* Resident bytes. */
uint64_t peak_memory(void);

#endif
