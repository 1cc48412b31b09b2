"""Keras files of every kind in, one tf_keras model out, checked before any of it runs."""
