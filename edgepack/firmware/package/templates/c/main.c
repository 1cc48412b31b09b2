/* Self-test of {{ name }} on a host or a board with a console. */
#include <stdio.h>

#include "{{ name }}_self_test.h"

int main(void)
{
    const int wrong = {{ name }}_self_test();
    printf("{{ name }}: %d of the golden outputs differ\n", wrong);
    return wrong != 0;
}
