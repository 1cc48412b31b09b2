// The golden vectors of {{ name }}: what TensorFlow Lite Micro's reference kernels answered.
#include "{{ name }}_self_test.h"

#include <cstdint>
#include <cstring>

#include "{{ name }}_config.h"
#include "{{ name }}_golden.h"
#include "{{ name }}_model_data.h"
#include "{{ name }}_resolver.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {{ name }} {
namespace {
alignas(16) uint8_t tensor_arena[kTensorArenaSize];
}  // namespace

int self_test() {
  const tflite::Model* model = tflite::GetModel(g_{{ name }}_model_data);
  if (model->version() != 3) {
    return -1;
  }
  Resolver resolver = get_resolver();
  tflite::MicroInterpreter interpreter(model, resolver, tensor_arena, kTensorArenaSize);
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    return -1;
  }
  int wrong = 0;
  for (int row = 0; row < {{ upper }}_GOLDEN_ROWS; ++row) {
    interpreter.Reset();
{% for end in inputs %}
    std::memcpy(interpreter.input({{ loop.index0 }})->data.raw, {{ end.golden }}[row], {{ end.nbytes }});
{% endfor %}
    if (interpreter.Invoke() != kTfLiteOk) {
      return -1;
    }
{% for end in outputs %}
    wrong += std::memcmp(interpreter.output({{ loop.index0 }})->data.raw, {{ end.golden }}[row], {{ end.nbytes }}) != 0;
{% endfor %}
  }
  return wrong;
}

}  // namespace {{ name }}
