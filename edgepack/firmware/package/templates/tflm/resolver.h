#ifndef @UPPER@_RESOLVER_H
#define @UPPER@_RESOLVER_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace @NAME@ {

// Only the operators that the model uses, so that the linker drops all other kernels.
using Resolver = tflite::MicroMutableOpResolver<@OP_COUNT@>;

inline Resolver get_resolver() {
  Resolver resolver;
@ADDS@
  return resolver;
}

}  // namespace @NAME@

#endif
