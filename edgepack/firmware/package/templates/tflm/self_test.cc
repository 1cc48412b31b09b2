// The golden vectors of @NAME@: what TensorFlow Lite Micro's reference kernels answered.
#include "@NAME@_self_test.h"

#include <cstdint>
#include <cstring>

#include "@NAME@_config.h"
#include "@NAME@_golden.h"
#include "@NAME@_model_data.h"
#include "@NAME@_resolver.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace @NAME@ {
namespace {
alignas(16) uint8_t tensor_arena[kTensorArenaSize];
}  // namespace

int self_test() {
  const tflite::Model* model = tflite::GetModel(g_@NAME@_model_data);
  if (model->version() != 3) {
    return -1;
  }
  Resolver resolver = get_resolver();
  tflite::MicroInterpreter interpreter(model, resolver, tensor_arena, kTensorArenaSize);
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    return -1;
  }
  int wrong = 0;
  for (int row = 0; row < @UPPER@_GOLDEN_ROWS; ++row) {
    interpreter.Reset();
@TAKES@
    if (interpreter.Invoke() != kTfLiteOk) {
      return -1;
    }
@COMPARES@
  }
  return wrong;
}

}  // namespace @NAME@
