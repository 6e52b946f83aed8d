# SPDX-License-Identifier: Apache-2.0
"""Turns a text file into C, so that the library carries it with it.

    embed.py FILE OUTPUT HEADER

defines `const char ldnq_page_css[]` for page.css, ended by a NUL. The bytes are written
as numbers: a string literal of more than 4095 bytes is beyond what C11 promises.
"""

import re
import sys
from pathlib import Path


def rows(data, width=24):
    for at in range(0, len(data), width):
        yield ",".join(map(str, data[at:at + width])) + ","


def main():
    source, output, header = map(Path, sys.argv[1:])
    symbol = "ldnq_" + re.sub(r"\W", "_", source.name)
    data = source.read_bytes()
    # Beyond ASCII a char may be negative, or too large to be one.
    data.decode("ascii")
    output.write_text(f'#include "{header}"\n\nconst char {symbol}[] = {{\n'
                      + "\n".join(rows(data + b"\0")) + "\n};\n")


if __name__ == "__main__":
    main()
