"""The network. Importing this package imports Keras, and with it TensorFlow (or what KERAS_BACKEND names).

The environment is prepared here, because TensorFlow reads it once, at its own import.
"""

from crnn_weak.environment import prepare_environment

prepare_environment()
