/* main.c - runs a fuzz target over the files named on the command line, for
 * compilers without libFuzzer and to repeat a finding:
 *
 *     gcc -fsanitize=address,undefined -Iinclude -Isrc fuzz/main.c fuzz/table.c libgenet.a ...
 *     clang -fsanitize=fuzzer,address -Iinclude -Isrc fuzz/table.c libgenet.a ...      (without this file) */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int n, char **path)
{
    for (int i = 1; i < n; i++) {
        FILE *f = fopen(path[i], "rb");
        if (!f) {
            perror(path[i]);
            return 1;
        }
        fseek(f, 0, SEEK_END);
        long size = ftell(f);
        rewind(f);
        uint8_t *data = malloc((size_t)size + 1);
        size_t got = data ? fread(data, 1, (size_t)size, f) : 0;
        fclose(f);
        LLVMFuzzerTestOneInput(data, got);
        free(data);
    }
    return 0;
}
