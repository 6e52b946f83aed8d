# SPDX-License-Identifier: Apache-2.0
"""Compiles each header of src/ alone, included twice, as strict C11: a file may include
any of them first. Left out are the headers without an include guard, which are parts of
other files, and the inner ones of the room onnx, which need the code that protoc-c generates.

    check_headers.py SOURCE_FOLDER COMPILER...
"""

import subprocess
import sys
from pathlib import Path

FLAGS = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic",
         "-Wstrict-prototypes", "-Werror", "-fsyntax-only", "-x", "c", "-"]


def compile_alone(header, folder, compiler):
    """The compiler's complaints; "" when there are none."""
    source = f'#include "{header}"\n' * 2 + "int ldnq_alone;\n"
    run = subprocess.run([*compiler, "-I", str(folder), *FLAGS], input=source, text=True,
                         stderr=subprocess.PIPE, check=False)
    return run.stderr if run.returncode else ""


def needs_generated_code(path):
    return path.parent.name == "onnx" and path.name != "onnx.h"


def main():
    folder, compiler = Path(sys.argv[1]), sys.argv[2:]
    headers = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/**/*.h")
                     if "#ifndef LDNQ_" in path.read_text() and not needs_generated_code(path))
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
