"""The commands of ``crnn-weak``: each module has ``add_arguments(parser)`` and ``run(args) -> int``."""
