"""Faster forms of three Keras layers on a CPU under TensorFlow, with the same weights and values."""
