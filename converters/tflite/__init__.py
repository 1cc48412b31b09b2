"""The .tflite file: the converter in a process of its own, rewrites, what a file holds."""
