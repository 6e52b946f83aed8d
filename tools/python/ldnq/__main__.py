# SPDX-License-Identifier: Apache-2.0
"""python -m ldnq: the program ldnq."""

import os
import shutil
import sys

from ._errors import FileError
from ._library import PACKAGE


def find_program() -> str:
    """LDNQ_PROGRAM, else the package's own program, else that on the path."""
    own = PACKAGE / "ldnq"
    found = os.environ.get("LDNQ_PROGRAM") or (str(own) if own.exists() else shutil.which("ldnq"))
    if not found:
        raise FileError("the program ldnq is not installed")
    return found


def main() -> None:
    """Becomes the program."""
    program = find_program()
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
