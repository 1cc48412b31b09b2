"""Keras models in, .tflite bytes out; knows no device."""
