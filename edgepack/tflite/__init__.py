"""What a .tflite holds, read as data from a hostile file."""
