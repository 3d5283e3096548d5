"""``crnn-weak completion``: print a script that completes commands, options and file names in a shell."""

from __future__ import annotations

import argparse

from crnn_weak.errors import DependencyError

_SHELLS = ("bash", "zsh", "tcsh")
_EPILOG = """examples:
  crnn-weak completion bash > ~/.local/share/bash-completion/completions/crnn-weak
  crnn-weak completion zsh > ~/.zfunc/_crnn-weak    # with fpath+=~/.zfunc before compinit

The script is static: completing starts no Python. Write it again after an update."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=_SHELLS)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from crnn_weak.cli import COMMANDS, build_parser

    try:
        import shtab
    except ImportError:
        raise DependencyError("completion scripts need shtab: pip install 'crnn-weak[completion]'.") from None
    print(shtab.complete(build_parser(COMMANDS), shell=args.shell))
    return 0
