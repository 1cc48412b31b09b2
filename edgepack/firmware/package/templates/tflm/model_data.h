#ifndef @UPPER@_MODEL_DATA_H
#define @UPPER@_MODEL_DATA_H

// The model as a flatbuffer, aligned as TensorFlow Lite Micro wants it.
extern const unsigned char g_@NAME@_model_data[];
constexpr unsigned int g_@NAME@_model_data_size = @MODEL_BYTES@;

#endif
