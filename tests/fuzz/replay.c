/* Feeds files to a fuzz target without a fuzzer: to replay a finding or a corpus with any compiler.
 * Usage: PROGRAM FILE... */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

static int replay(const char *path)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        perror(path);
        return -1;
    }
    uint8_t *data = NULL;
    size_t size = 0, n_read = 0;
    do {
        uint8_t *larger = realloc(data, size + 65536);
        if (larger == NULL) {
            free(data);
            fclose(stream);
            return -1;
        }
        data = larger;
        n_read = fread(data + size, 1, 65536, stream);
        size += n_read;
    } while (n_read > 0);
    fclose(stream);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int main(int n_arguments, char **arguments)
{
    int n_failed = 0;
    for (int i = 1; i < n_arguments; i++)
        n_failed += replay(arguments[i]) != 0;
    printf("%d files replayed, %d unreadable\n", n_arguments - 1 - n_failed, n_failed);
    return n_failed == 0 && n_arguments > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
