/* Runs a target on the files that are named: for compilers without libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 1024 * 1024 };

int main(int argc, char **argv)
{
    uint8_t *bytes = malloc(MAX_BYTES);
    if (bytes == NULL)
        return 1;
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        size_t len;
        if (file == NULL) {
            perror(argv[i]);
            return 1;
        }
        len = fread(bytes, 1, MAX_BYTES, file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, len);
    }
    free(bytes);
    return 0;
}
