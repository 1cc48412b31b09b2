/* Self-test of @NAME@ on a host or a board with a console. */
#include <stdio.h>

#include "@NAME@_self_test.h"

int main(void)
{
    const int wrong = @NAME@_self_test();
    printf("@NAME@: %d of the golden outputs differ\n", wrong);
    return wrong != 0;
}
