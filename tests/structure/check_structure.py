# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of the tree that no compiler checks: which room may include which,
what library code and tests may not call, and that the build knows every file.

    check_structure.py ROOT       the tree at ROOT, one TAP subtest a rule
    check_structure.py --self-test ROOT
                                  breaks each rule in a small tree of its own, and
                                  expects that rule, and only that one, to fail
"""

import re
import sys
import tempfile
from pathlib import Path

# The one place for this table. A room may always include itself. None stands for all
# rooms.
ALLOWED = {
    "base": "",
    "linalg": "base",
    "ir": "base",
    "onnx": "base ir",
    "ops": "base linalg ir",
    "passes": "base ir ops",
    "exec": "base ir ops",
    "calib": "base ir onnx",  # onnx for its TensorProto reader only
    "quant": "base linalg",
    "metric": "base ir ops exec calib",
    "target": "base ir ops",
    "layer": "base ir ops quant",
    "pipeline": "base linalg ir ops exec calib metric quant layer target",
    "emit": "base onnx layer target ops",
    "compare": "base ir ops layer passes exec onnx calib metric",
    "report": "base compare",  # of compare its data only
    "api": None,
    "cli": "",  # beyond ldnq.h
}
# Of calib's files, those that may include from onnx.
CALIB_ONNX_FILES = {"src/calib/source_protos.c"}
# Of compare's headers, those that report may include.
COMPARE_DATA = {"compare/comparison.h"}

LICENCE = "SPDX-License-Identifier: Apache-2.0"
TOP_LEVEL = {"meson.build", "README.md", "LICENSE", "proto", "src", "include", "tests", "testdata",
             "tools"}

MOST_LINES = 600
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
NOT_IN_LIBRARY = re.compile(
    r"(?<![\w.>])(?:v?f?printf|v?dprintf|puts|putchar|fputs|fputc|putc|perror|"
    r"exit|_exit|_Exit|quick_exit|abort|psignal|err|errx|warn|warnx)\s*\(")
FLAG = re.compile(r'"(?:[^"\\\n]|\\.)*?(?<![\w-])(--[a-z][a-z-]*)(?![\w:-])')
STREAMS = re.compile(r"\b(?:stdout|stderr|stdin)\b")
BLAS = re.compile(
    r"\b(?:cblas_\w+|LAPACKE_\w+|openblas_\w+|[sdcz](?:gemm|gemv|syrk|symm|trsm|ger|dot|axpy|"
    r"potr[fsi]|posv|getr[fsi]|gesv|geqrf|sy(?:ev|evd|trf)|gesdd|gesvd)_)\s*\(")


def without_comments_and_strings(text):
    """The code alone, with as many lines as before."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: "\n" * m.group().count("\n") or " ", text)


def without_comments(text):
    """The code with its strings, with as many lines as before."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*")', re.S)
    return pattern.sub(lambda m: m.group(1) or "\n" * m.group().count("\n") or " ", text)


class Tree:
    def __init__(self, root):
        self.root = Path(root)
        self.files = {}
        for path in sorted(self.root.glob("src/**/*")):
            if path.suffix in (".c", ".h"):
                self.files[path.relative_to(self.root).as_posix()] = path.read_text()
        self.tests = {path.relative_to(self.root).as_posix(): path.read_text()
                      for path in sorted(self.root.glob("tests/**/*.[ch]"))}
        self.code = {name: without_comments_and_strings(t) for name, t in self.files.items()}

    def sources(self):
        return [name for name in self.files if name.startswith("src/")]

    def library(self):
        return [name for name in self.sources() if room_of(name) != "cli"]

    def includes(self):
        """(file, line number, what) for each #include of the tree."""
        for name, text in self.files.items():
            for match in INCLUDE.finditer(text):
                yield name, text.count("\n", 0, match.start()) + 1, match.group(2)


def room_of(name):
    """The room of a file, or None where it has none."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 else None


def included_room(tree, what):
    """The room that an included name belongs to; None for what is not ours."""
    return what.split("/")[0] if "src/" + what in tree.files else None


# ---- the rules: each yields what breaks it -------------------------------------


def every_file_should_be_in_a_room(tree):
    for name in tree.files:
        if room_of(name) not in ALLOWED:
            yield f"{name}: its room is not in the table"


def rooms_should_include_only_what_the_table_allows(tree):
    for name, line, what in tree.includes():
        room, other = room_of(name), included_room(tree, what)
        allowed = ALLOWED.get(room, "")
        if other in (None, room) or allowed is None:
            continue
        if other not in allowed.split():
            yield f"{name}:{line}: {room} may not include {what}"
        elif (room, other) == ("calib", "onnx") and name not in CALIB_ONNX_FILES:
            yield f"{name}:{line}: of calib only the TensorProto reader may include {what}"
        elif (room, other) == ("report", "compare") and what not in COMPARE_DATA:
            yield f"{name}:{line}: report sees the comparison's data alone, not {what}"


def permissions_of_the_table_should_be_used(tree):
    used = {(room_of(name), included_room(tree, what)) for name, _, what in tree.includes()}
    for room, allowed in ALLOWED.items():
        for other in (allowed or "").split():
            if (room, other) not in used:
                yield f"the table lets {room} include {other}, which no file of {room} does"


def own_headers_should_be_included_by_their_path(tree):
    names = {Path(name).name for name in tree.files}
    for name, line, what in tree.includes():
        if what.startswith("sys/"):
            continue
        if Path(what).name in names and included_room(tree, what) is None:
            yield f"{name}:{line}: {what} is not the path of a header below src/"


def only_onnx_should_know_protobuf(tree):
    for name, line, what in tree.includes():
        if ("pb-c" in what or what.startswith("protobuf-c")) and room_of(name) != "onnx":
            yield f"{name}:{line}: {what} belongs to the room onnx"


def only_linalg_should_call_blas_and_lapack(tree):
    for name, line, what in tree.includes():
        if re.search(r"cblas|lapack|openblas", what) and room_of(name) != "linalg":
            yield f"{name}:{line}: {what} belongs to the room linalg"
    for name, code in tree.code.items():
        for match in BLAS.finditer(code):
            if room_of(name) != "linalg":
                line = code.count("\n", 0, match.start()) + 1
                yield f"{name}:{line}: {match.group()}) belongs to the room linalg"


def library_code_should_not_print_or_exit(tree):
    for name in tree.library():
        for pattern in (NOT_IN_LIBRARY, STREAMS):
            for match in pattern.finditer(tree.code[name]):
                line = tree.code[name].count("\n", 0, match.start()) + 1
                yield f"{name}:{line}: {match.group()} in library code"


def linking_the_library_should_run_nothing(tree):
    for name in tree.library():
        for match in re.finditer(r"\b_*(?:con|de)structor_*\b", tree.code[name]):
            line = tree.code[name].count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: {match.group()} in library code"


def library_messages_should_not_name_flags(tree):
    for name in tree.library():
        text = without_comments(tree.files[name])
        for match in FLAG.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: {match.group(1)} is a flag of the program"


def file_names_should_be_unique(tree):
    seen = {}
    for name in tree.sources():
        other = seen.setdefault(Path(name).name, name)
        if other != name:
            yield f"{name} has the name of {other}"


def struct_tags_should_be_unique(tree):
    seen = {}
    for name in tree.sources():
        for tag in re.findall(r"\b(?:struct|union|enum)\s+(\w+)\s*\{", tree.code[name]):
            other = seen.setdefault(tag, name)
            if other != name:
                yield f"{name} defines the tag {tag}, as {other} does"


def files_should_be_short(tree):
    for name, text in tree.files.items():
        lines = text.count("\n")
        if lines > MOST_LINES:
            yield f"{name} has {lines} lines, {MOST_LINES} is the most"


def tests_should_compare_numbers_so_that_nan_fails(tree):
    for name, text in tree.tests.items():
        code = without_comments_and_strings(text)
        for match in re.finditer(r"\bassert_(?:float|double)_(?:not_)?equal\b", code):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: {match.group()} lets NaN pass, use assert_within"


def tests_should_not_skip_by_cmocka(tree):
    for name, text in tree.tests.items():
        code = without_comments_and_strings(text)
        for match in re.finditer(r"\bskip\(\)", code):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: cmocka reports skip() to meson as a failure, return instead"


def lists_of_the_build_should_be_complete(tree):
    listed = {}
    for build in tree.root.glob("src/**/meson.build"):
        folder = build.parent.relative_to(tree.root).as_posix()
        text = re.sub(r"#[^\n]*|output: '[^']*'", "", build.read_text())
        for item in re.findall(r"'([\w./-]+\.[ch])'", text):
            listed[f"{folder}/{item}"] = build
    for name in tree.files:
        if name not in listed and name.endswith(".c"):
            yield f"{name} is in no meson.build"
    for name in listed:
        if not (tree.root / name).exists():
            yield f"{listed[name].relative_to(tree.root)} lists {name}, which does not exist"


def the_top_level_should_have_its_entries_alone(tree):
    for path in sorted(tree.root.iterdir()):
        is_of_a_build = path.name.startswith("build") and path.is_dir()
        if path.name not in TOP_LEVEL and not path.name.startswith(".") and not is_of_a_build:
            yield f"{path.name}: the top level has {' '.join(sorted(TOP_LEVEL))}"


def sources_should_name_their_licence(tree):
    for name, text in (tree.files | tree.tests).items():
        if not text.startswith(f"/* {LICENCE} */\n"):
            yield f"{name} does not begin with /* {LICENCE} */"


RULES = [
    the_top_level_should_have_its_entries_alone,
    sources_should_name_their_licence,
    every_file_should_be_in_a_room,
    rooms_should_include_only_what_the_table_allows,
    permissions_of_the_table_should_be_used,
    own_headers_should_be_included_by_their_path,
    only_onnx_should_know_protobuf,
    only_linalg_should_call_blas_and_lapack,
    library_code_should_not_print_or_exit,
    linking_the_library_should_run_nothing,
    library_messages_should_not_name_flags,
    file_names_should_be_unique,
    struct_tags_should_be_unique,
    files_should_be_short,
    tests_should_compare_numbers_so_that_nan_fails,
    tests_should_not_skip_by_cmocka,
    lists_of_the_build_should_be_complete,
]


# ---- the self-test ---------------------------------------------------------------

def licence_of(name):
    return f"/* {LICENCE} */\n" if Path(name).suffix in (".c", ".h") else ""


SMALL_TREE = {
    "src/base/base.h": "#include <stdio.h>\nstruct text { int a; };\n",
    "src/ir/meson.build": "\n",
    "src/ir/ir.h": '#include "base/base.h"\n',
    "src/base/meson.build": "files('text.c') # 'old.c'\n",
    "src/base/text.h": "/* printf(stderr) is fine in a comment */\n",
    "src/base/text.c": '#include "base/text.h"\n#include "base/base.h"\n'
                       'const char *t = "exit(1); stdout";\nint f(void) { snprintf(0, 0, ""); }\n',
    "src/linalg/meson.build": "files('blas.c')\n",
    "src/linalg/blas.c": "#include <cblas.h>\nvoid f(void) { cblas_sgemm(); }\n",
    "src/onnx/meson.build": "files('load.c')\n",
    "src/onnx/load.c": '#include "onnx.pb-c.h"\n#include "ir/ir.h"\n',
    "src/calib/meson.build": "files('source_protos.c', 'npy.c')\n",
    "src/calib/source_protos.c": '#include "onnx/model.h"\n',
    "src/calib/npy.c": '#include "base/text.h"\n',
    "src/onnx/model.h": "",
    "src/compare/comparison.h": "",
    "src/compare/measure.h": "",
    "src/report/report.h": '#include "compare/comparison.h"\n',
    "src/api/meson.build": "files('job.c')\n",
    "src/api/job.c": '#include "ldnq.h"\n#include "onnx/model.h"\n',
    "src/api/job.h": '#include "base/base.h"\n',
    "src/cli/meson.build": "files('main.c')\n",
    "src/cli/line.h": '#include "ldnq.h"\n',
    "src/cli/main.c": '#include "cli/line.h"\nint main(void) { printf("x"); exit(0); }\n',
}

# The small tree uses all permissions of the table: what the files above do not include is
# included by ROOM_uses.h.
for _room, _allowed in ALLOWED.items():
    _used = {what.split("/")[0] for name, text in SMALL_TREE.items() if room_of(name) == _room
             for _, what in INCLUDE.findall(text)}
    SMALL_TREE[f"src/{_room}/{_room}_uses.h"] = "".join(
        f'#include "{other}/{other}_uses.h"\n'
        for other in (_allowed or "").split() if other not in _used)

SMALL_TREE = {name: licence_of(name) + text for name, text in SMALL_TREE.items()}

# What to put where (after what is there; None removes the file), and the rules that must
# notice.
BREAKS = [
    ("src/base/text.h", "/* text */", [sources_should_name_their_licence]),
    ("meson.options", "", [the_top_level_should_have_its_entries_alone]),
    ("src/attic/x.h", "", [every_file_should_be_in_a_room]),
    ("src/loose.h", "", [every_file_should_be_in_a_room]),
    ("src/base/text.c", '#include "ir/ir.h"', [rooms_should_include_only_what_the_table_allows]),
    ("src/base/base.h", '#include "ir/ir.h"',
     [rooms_should_include_only_what_the_table_allows]),
    ("src/linalg/blas.c", '#  include  "onnx/model.h"',
     [rooms_should_include_only_what_the_table_allows]),
    ("src/calib/npy.c", '#include "onnx/model.h"',
     [rooms_should_include_only_what_the_table_allows]),
    ("src/report/report.h", '#include "compare/measure.h"',
     [rooms_should_include_only_what_the_table_allows]),
    ("src/passes/passes_uses.h", None, [permissions_of_the_table_should_be_used]),
    ("src/report/report.h", None, [permissions_of_the_table_should_be_used]),
    ("src/cli/main.c", '#include "base/text.h"', [rooms_should_include_only_what_the_table_allows]),
    ("src/cli/line.h", '#include "api/job.h"', [rooms_should_include_only_what_the_table_allows]),
    ("src/onnx/load.c", '#include "api/job.h"', [rooms_should_include_only_what_the_table_allows]),
    ("src/onnx/load.c", '#include "model.h"', [own_headers_should_be_included_by_their_path]),
    ("src/onnx/load.c", '#include "../base/text.h"',
     [own_headers_should_be_included_by_their_path]),
    ("src/cli/main.c", '#include "onnx.pb-c.h"', [only_onnx_should_know_protobuf]),
    ("src/ir/ir.h", "#include <protobuf-c/protobuf-c.h>", [only_onnx_should_know_protobuf]),
    ("src/cli/main.c", "#include <cblas.h>", [only_linalg_should_call_blas_and_lapack]),
    ("src/onnx/load.c", "void g(void) { dpotrf_(0); }", [only_linalg_should_call_blas_and_lapack]),
    ("src/cli/main.c", "void g(void) { openblas_set_num_threads(1); }",
     [only_linalg_should_call_blas_and_lapack]),
    ("src/onnx/load.c", 'void g(void) { printf("x"); }', [library_code_should_not_print_or_exit]),
    ("src/onnx/load.c", "void g(void) { abort(); }", [library_code_should_not_print_or_exit]),
    ("src/onnx/load.c", "void g(void) { exit (1); }", [library_code_should_not_print_or_exit]),
    ("src/base/text.h", "void g(FILE *f); void h(void) { g(stderr); }",
     [library_code_should_not_print_or_exit]),
    ("src/linalg/blas.c", "__attribute__((constructor)) static void start(void) { }",
     [linking_the_library_should_run_nothing]),
    ("src/base/text.c", 'const char *hint = "use --weights int4";',
     [library_messages_should_not_name_flags]),
    ("src/linalg/text.h", "", [file_names_should_be_unique]),
    ("src/ir/ir.h", "struct text\n{ int b; };", [struct_tags_should_be_unique]),
    ("src/onnx/model.h", "enum text { A };", [struct_tags_should_be_unique]),
    ("src/base/text.h", "\n" * MOST_LINES, [files_should_be_short]),
    ("tests/base/test_x.c", "void f(void) { assert_float_equal(1, 1, 0); }",
     [tests_should_compare_numbers_so_that_nan_fails]),
    ("tests/base/test_x.c", "void f(void) { skip(); }", [tests_should_not_skip_by_cmocka]),
    ("src/base/old.c", "", [lists_of_the_build_should_be_complete]),
    ("src/base/meson.build", "files('gone.c')", [lists_of_the_build_should_be_complete]),
]


def broken_rules(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return [rule.__name__ for rule in RULES if list(rule(Tree(folder)))]


def self_tests():
    """(name, what is wrong) for each."""
    yield "a_tree_that_keeps_all_rules_should_pass", broken_rules(SMALL_TREE)
    for number, (name, text, rules) in enumerate(BREAKS):
        first = SMALL_TREE.get(name, licence_of(name))
        if rules == [sources_should_name_their_licence]:
            first = ""
        changed = SMALL_TREE | {name: first + (text or "") + "\n"}
        if text is None:
            del changed[name]
        broken = broken_rules(changed)
        wanted = sorted(rule.__name__ for rule in rules)
        wrong = [] if sorted(broken) == wanted else [f"failed: {broken}; expected: {wanted}"]
        yield f"break_{number}_of_{name}_should_be_noticed", wrong
    never = {rule for rule in RULES} - {rule for _, _, rules in BREAKS for rule in rules}
    yield "every_rule_should_have_a_break", [rule.__name__ for rule in never]


def main():
    if sys.argv[1] == "--self-test":
        results = list(self_tests())
    else:
        tree = Tree(sys.argv[1])
        results = [(rule.__name__, list(rule(tree))) for rule in RULES]
        results.append(("the_tree_should_have_been_found",
                        [] if len(tree.files) > 50 else [f"{len(tree.files)} files"]))
    print(f"1..{len(results)}")
    for number, (name, wrong) in enumerate(results, 1):
        print(f"{'not ok' if wrong else 'ok'} {number} - {name}")
        for line in wrong:
            print(f"# {line}", file=sys.stderr)
            print(f"# {line}")
    return any(wrong for _, wrong in results)


if __name__ == "__main__":
    sys.exit(main())
