#ifndef {{ upper }}_MODEL_DATA_H
#define {{ upper }}_MODEL_DATA_H

// The model as a flatbuffer, aligned as TensorFlow Lite Micro wants it.
extern const unsigned char g_{{ name }}_model_data[];
constexpr unsigned int g_{{ name }}_model_data_size = {{ model_bytes }};

#endif
