"""``python -m crnn_weak``: the same as ``crnn-weak``."""

import sys

from crnn_weak.cli import main

if __name__ == "__main__":
    sys.exit(main())
