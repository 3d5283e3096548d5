"""The network; importing it registers the layers and losses: ``keras.saving.load_model`` then opens model files."""

from crnn_weak.environment import prepare_environment

prepare_environment()  # TensorFlow reads its settings once, at its own import

from crnn_weak.model import fast, heads, level, losses  # noqa: E402, F401
