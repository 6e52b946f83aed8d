# SPDX-License-Identifier: Apache-2.0
"""Installs into a prefix, and builds tools/examples/quantize.c against what is there, as C and
as C++, shared and static. Speaks TAP.

    test_install.py SOURCE BUILD WORK C_COMPILER CPP_COMPILER
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCE, BUILD, WORK = (Path(word).resolve() for word in sys.argv[1:4])
COMPILERS = {"c": sys.argv[4], "c++": sys.argv[5]}
SCHEMAS = {"candidates", "diff", "dry-run", "eval", "events", "inspect", "lint", "quantize", "run"}
COMMANDS = ["diff", "eval", "inspect", "lint", "quantize", "run"]
DIGITS = SOURCE / "testdata" / "digits"


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def install():
    prefix = WORK / "prefix"
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", prefix)
    return prefix


def find(prefix, pattern):
    found = sorted(prefix.rglob(pattern))
    assert found, f"nothing like {pattern} is installed"
    return found


def pkg_config(prefix, *words):
    """What pkg-config says, with the paths of the staging folder in ldnq.pc."""
    folder = WORK / "pkgconfig"
    folder.mkdir(exist_ok=True)
    text = find(prefix, "ldnq.pc")[0].read_text()
    (folder / "ldnq.pc").write_text(re.sub("^prefix=", f"prefix={prefix}", text, flags=re.M))
    environment = os.environ | {"PKG_CONFIG_PATH": str(folder)}
    return run("pkg-config", *words, env=environment).split()


def static_libraries(prefix):
    """libldnq.a, and what ldnq.pc says that it needs. The needed libraries are shared, as
    not all of them have a static one that can be linked."""
    private = re.search(r"^Libs\.private:(.*)$", find(prefix, "ldnq.pc")[0].read_text(), re.M)[1]
    needed = pkg_config(prefix, "--print-requires-private", "ldnq")
    return [find(prefix, "libldnq.a")[0], *pkg_config(prefix, "--libs", *needed), *private.split()]


def declared():
    text = (SOURCE / "include" / "ldnq.h").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(r"LDNQ_API[^;(]*?\b(ldnq_\w+)\s*\(", text))


def one_header_should_be_installed(prefix):
    headers = [path.relative_to(prefix).name for path in prefix.rglob("*.h")]
    assert headers == ["ldnq.h"], headers


def the_schemas_should_be_installed(prefix):
    found = {path.name.removesuffix(".schema.json"): path for path in find(prefix, "*.schema.json")}
    assert set(found) == SCHEMAS, found
    for path in found.values():
        json.loads(path.read_text())


def the_guides_should_be_installed(prefix):
    found = {path.name for path in find(prefix, "share/doc/ldnq/*")}
    assert found == {path.name for path in (SOURCE / "src" / "docs").iterdir()}, found


def a_manual_page_for_each_command_should_be_installed(prefix):
    pages = find(prefix, "*.1")
    assert [page.name for page in pages] == \
        [*(f"ldnq-{command}.1" for command in COMMANDS), "ldnq.1"], pages
    for page in pages:
        assert page.parent.parts[-2:] == ("man", "man1"), page
        assert f"\n.TH \"{page.stem.upper()}\" 1" in page.read_text().replace("\\-", "-"), page


def a_manual_page_for_each_guide_should_be_installed(prefix):
    guides = {path.stem for path in (SOURCE / "src" / "docs").glob("*.md")} - {"README"}
    pages = find(prefix, "*.7")
    assert {page.name for page in pages} == {f"ldnq-guide-{guide}.7" for guide in guides}, pages
    for page in pages:
        assert page.parent.parts[-2:] == ("man", "man7"), page
        assert f"\n.TH \"{page.stem.upper()}\" 7" in page.read_text().replace("\\-", "-"), page


def completion_for_bash_and_zsh_should_be_installed(prefix):
    bash = find(prefix, "share/bash-completion/completions/ldnq")[0]
    assert bash.read_text().endswith("complete -o default -F _ldnq ldnq\n")
    zsh = find(prefix, "share/zsh/site-functions/_ldnq")[0]
    assert zsh.read_text().startswith("#compdef ldnq\n")


def what_only_the_build_needs_should_not_be_installed(prefix):
    programs = [path.name for path in find(prefix, "bin/*")]
    assert programs == ["ldnq"], programs


def the_shared_library_should_have_a_soname(prefix):
    library = find(prefix, "libldnq.so.*")[0]
    text = run("readelf", "-d", library)
    assert re.search(r"SONAME.*\[libldnq\.so\.\d+\]", text), text
    assert find(prefix, "libldnq.so")


def only_what_the_header_declares_should_be_exported(prefix):
    library = find(prefix, "libldnq.so")[0]
    lines = run("nm", "-D", "--defined-only", library).splitlines()
    exported = {line.split()[-1].partition("@")[0] for line in lines}
    assert exported == declared(), (sorted(exported - declared()), sorted(declared() - exported))
    assert 20 <= len(exported) <= 40, len(exported)


def the_library_should_run_nothing_when_it_is_loaded(prefix):
    """No constructor but those of the compiler and of sanitizers."""
    library = find(prefix, "libldnq.so")[0]
    section = re.search(r"\.init_array\s+\S+\s+(\S+)\s+\S+\s+(\S+)",
                        run("readelf", "-S", "-W", library))
    first, size = (int(word, 16) for word in section.groups())
    symbols = [line.split() for line in run("nm", library).splitlines()]
    names = {int(words[0], 16): words[2] for words in symbols if len(words) == 3}
    found = set()
    for line in run("readelf", "-r", "-W", library).splitlines():
        words = line.split()
        if re.match(r"[0-9a-f]{8,}$", words[0] if words else "") and \
                first <= int(words[0], 16) < first + size:
            found.add(names.get(int(words[-1], 16), words[-1]))
    known = {"frame_dummy", "__cpu_indicator_init", "init_have_lse_atomics"}
    assert {name for name in found if not re.match("[at]san|_sub_I|__asan|_GLOBAL__sub", name)} \
        <= known, found


def the_example_should_be_short(prefix):
    text = (SOURCE / "tools" / "examples" / "quantize.c").read_text()
    assert text.count("\n") < 25, text.count("\n")


def build_example(prefix, language, is_static):
    source = SOURCE / "tools" / "examples" / "quantize.c"
    program = WORK / f"quantize-{language.replace('+', 'p')}-{'static' if is_static else 'shared'}"
    standard = "-std=c99" if language == "c" else "-std=c++11"
    flags = pkg_config(prefix, "--cflags", "ldnq")
    libraries = static_libraries(prefix) if is_static else pkg_config(prefix, "--libs", "ldnq")
    folder = find(prefix, "libldnq.a")[0].parent
    run(COMPILERS[language], standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror",
        "-x", language, source, "-x", "none", *flags, *libraries, *extra_flags(), "-o", program)
    return program, {} if is_static else {"LD_LIBRARY_PATH": str(folder)}


def extra_flags():
    """What a library under sanitizers needs of its user."""
    text = run("meson", "introspect", "--buildoptions", BUILD)
    options = {option["name"]: option["value"] for option in json.loads(text)}
    names = options.get("b_sanitize", "none")
    return [] if names in ("none", []) else ["-fsanitize=" + (
        names if isinstance(names, str) else ",".join(names))]


def example_should_write_what_the_program_writes(prefix, language, is_static):
    program, environment = build_example(prefix, language, is_static)
    if not is_static:
        assert "libldnq.so." in run("readelf", "-d", program)
    else:
        assert "libldnq" not in run("readelf", "-d", program)
    calib = WORK / "calib"
    calib.mkdir(exist_ok=True)
    for picture in sorted((DIGITS / "calib").rglob("*.png"))[:12]:
        target = calib / picture.name
        if not target.exists():
            target.symlink_to(picture)
    model, outputs = DIGITS / "digits-ts.onnx", [WORK / "ours.onnx", WORK / "theirs.onnx"]
    run(program, model, calib, outputs[0], env=os.environ | environment)
    run(find(prefix, "bin/ldnq")[0], "quantize", model, "-o", outputs[1], "--calib", calib,
        "--weights", "int4", "--quiet")
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def example_as_c_should_link_the_shared_library(prefix):
    example_should_write_what_the_program_writes(prefix, "c", False)


def example_as_c_should_link_the_static_library(prefix):
    example_should_write_what_the_program_writes(prefix, "c", True)


def example_as_cpp_should_link_the_shared_library(prefix):
    example_should_write_what_the_program_writes(prefix, "c++", False)


def example_as_cpp_should_link_the_static_library(prefix):
    example_should_write_what_the_program_writes(prefix, "c++", True)


TESTS = [
    one_header_should_be_installed,
    the_schemas_should_be_installed,
    the_guides_should_be_installed,
    a_manual_page_for_each_command_should_be_installed,
    completion_for_bash_and_zsh_should_be_installed,
    what_only_the_build_needs_should_not_be_installed,
    the_shared_library_should_have_a_soname,
    only_what_the_header_declares_should_be_exported,
    the_library_should_run_nothing_when_it_is_loaded,
    the_example_should_be_short,
    example_as_c_should_link_the_shared_library,
    example_as_c_should_link_the_static_library,
    example_as_cpp_should_link_the_shared_library,
    example_as_cpp_should_link_the_static_library,
]


def main():
    prefix = install()
    failed = False
    print(f"1..{len(TESTS)}")
    for number, test in enumerate(TESTS, 1):
        try:
            test(prefix)
            print(f"ok {number} - {test.__name__}")
        except AssertionError as error:
            failed = True
            print(f"not ok {number} - {test.__name__}")
            print("".join(f"# {line}\n" for line in str(error).splitlines()), end="")
    return failed


if __name__ == "__main__":
    sys.exit(main())
