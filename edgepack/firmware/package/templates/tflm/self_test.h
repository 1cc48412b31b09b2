#ifndef {{ upper }}_SELF_TEST_H
#define {{ upper }}_SELF_TEST_H

namespace {{ name }} {

// Returns how many of the golden outputs differ: 0 on a port that works, -1 where the model
// or its arena was not accepted. Optimised kernels may differ from the reference kernels in
// the last bit where they round once; CMSIS-NN does not.
int self_test();

}  // namespace {{ name }}

#endif
