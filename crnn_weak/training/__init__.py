"""Training. Importing this package prepares Keras' environment, as `crnn_weak.model` does."""

import crnn_weak.model  # noqa: F401
