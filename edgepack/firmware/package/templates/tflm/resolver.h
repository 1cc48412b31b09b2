#ifndef {{ upper }}_RESOLVER_H
#define {{ upper }}_RESOLVER_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {{ name }} {

// Only the operators that the model uses, so that the linker drops all other kernels.
using Resolver = tflite::MicroMutableOpResolver<{{ op_count }}>;

inline Resolver get_resolver() {
  Resolver resolver;
{% for method in resolver_methods %}
  resolver.{{ method }}();
{% endfor %}
  return resolver;
}

}  // namespace {{ name }}

#endif
