/* The golden vectors of @NAME@: what TensorFlow Lite Micro answered, bit for bit. */
#include "@NAME@_self_test.h"

#include <string.h>

#include "@NAME@.h"
#include "@NAME@_golden.h"

int @NAME@_self_test(void)
{
    int wrong = 0;
    for (int row = 0; row < @UPPER@_GOLDEN_ROWS; ++row) {
        @NAME@_reset();
@TAKES@
        @NAME@_invoke();
@COMPARES@
    }
    return wrong;
}
