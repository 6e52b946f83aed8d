"""Compiles each public header alone, included twice, as strict C11: a program may
include any one of them first, and only them.

    check_headers.py INCLUDE_FOLDER COMPILER...
"""

import subprocess
import sys
from pathlib import Path

FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror",
         "-fsyntax-only", "-x", "c", "-"]


def compile_alone(header, folder, compiler):
    """The compiler's complaints; "" when there are none."""
    source = f"#include <ldnq/{header}>\n" * 2 + "int ldnq_alone;\n"
    run = subprocess.run([*compiler, "-I", str(folder), *FLAGS], input=source, text=True,
                         stderr=subprocess.PIPE, check=False)
    return run.stderr if run.returncode else ""


def main():
    folder, compiler = Path(sys.argv[1]), sys.argv[2:]
    headers = sorted(path.name for path in folder.glob("ldnq/*.h"))
    print(f"1..{len(headers)}")
    failed = not headers
    for number, header in enumerate(headers, 1):
        complaints = compile_alone(header, folder, compiler)
        print(f"{'not ok' if complaints else 'ok'} {number} - "
              f"{header.removesuffix('.h')}_should_compile_alone")
        print(complaints, end="", file=sys.stderr)
        failed = failed or bool(complaints)
    return failed


if __name__ == "__main__":
    sys.exit(main())
