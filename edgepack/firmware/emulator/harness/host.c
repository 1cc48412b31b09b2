/* Runs one model on this machine: reads inputs from the file named, writes outputs. */
#include <stdio.h>

#include "under_test.h"

static void write_out(const void *bytes, unsigned size)
{
    fwrite(bytes, 1, size, stdout);
}

int main(int argc, char **argv)
{
    static unsigned char row[INPUT_BYTES];
    FILE *rows = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!rows) {
        return 2;
    }
    while (fread(row, 1, sizeof row, rows) == sizeof row) {
        take_input(row);
        MODEL_INVOKE();
        give_output(write_out);
    }
    fclose(rows);
    return fflush(stdout) ? 3 : 0;
}
