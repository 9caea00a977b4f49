"""python -m dotk: the command line."""

import sys

from dotk import _dotk


def main() -> int:
    """Runs the command with the arguments of this process and returns its exit code."""
    command = getattr(_dotk, "command", None)
    if command is None:
        print(
            "dotk: this build lacks the command line, which needs the headers of utf8proc, jansson "
            "and zlib.\nInstall them (Debian: apt-get install libutf8proc-dev libjansson-dev "
            "zlib1g-dev pkg-config)\nand then dotk again: pip install --force-reinstall "
            "--no-cache-dir .",
            file=sys.stderr,
        )
        return 1
    code: int = command(["dotk", *sys.argv[1:]])
    return code


if __name__ == "__main__":
    sys.exit(main())
