"""The network. TensorFlow reads the environment once, at its own import, so it is prepared before Keras is imported."""

from crnn_weak.environment import prepare_environment

prepare_environment()
