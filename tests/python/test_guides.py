# SPDX-License-Identifier: Apache-2.0
"""The guides in src/docs: their commands and programs run as they are printed, one after the other
in a folder of their guide, and print what the guide says they print.

A fence of `sh`, `python` or `c` runs, unless its words after the language are `not run: REASON`. A
fence of `text` after it has lines that its output must have, where any number stands for any other
and blanks do not count."""

import os
import re
import subprocess
import sys

import pytest

import support

DOCS = support.ROOT / "src" / "docs"
GUIDES = sorted(path.stem for path in DOCS.glob("*.md"))
FENCE = re.compile(r"^```(\S*)[ ]?(.*?)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
NUMBER = re.compile(r"[-+]?(?:\d[\d.,]*|\.\d+)(?:e[-+]?\d+)?")
RUNS = {"sh", "python", "c"}
NOT_RUN = "not run: "


def fences(guide):
    """(language, words after it, text) of each fence."""
    return FENCE.findall((DOCS / f"{guide}.md").read_text())


def without_numbers(line):
    return re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip()


def environment(folder):
    paths = [support.LDNQ.parent, os.path.dirname(sys.executable)]
    return os.environ | {
        "PATH": os.pathsep.join([*map(str, paths), os.environ["PATH"]]),
        "PYTHONPATH": str(support.ROOT / "tools" / "python"),
        "LDNQ_LIBRARY": str(support.BUILD / "libldnq.so"),
        "LDNQ_PROGRAM": str(support.LDNQ),
        "HOME": str(folder),
    }


def compiled(text, folder):
    """A program of a guide, linked with the library that was built."""
    (folder / "guide.c").write_text(text)
    subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "guide.c", "-o", "guide",
                    f"-I{support.ROOT / 'include'}", f"-L{support.BUILD}", "-lldnq",
                    f"-Wl,-rpath,{support.BUILD}"], cwd=folder, check=True, timeout=120)
    return ["./guide"]


def run(language, text, folder):
    """All that it prints; it must end with 0."""
    command = {"sh": ["bash", "-euo", "pipefail", "-c", text],
               "python": [sys.executable, "-c", text]}.get(language) or compiled(text, folder)
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{text}\nends with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_prints_should_run_and_print_what_it_says(guide, tmp_path):
    for name in ("testdata", "tools"):
        (tmp_path / name).symlink_to(support.ROOT / name)
    printed = None
    for language, words, text in fences(guide):
        if language in RUNS:
            assert not words or words.startswith(NOT_RUN), f"{words}: what does it say?"
            printed = None if words else run(language, text, tmp_path)
        elif language == "text":
            assert printed is not None, f"the output of nothing that runs:\n{text}"
            found = [without_numbers(line) for line in printed.splitlines()]
            for line in map(without_numbers, text.splitlines()):
                assert any(line in other for other in found), f"{line}\nis not in\n{printed}"


def test_guides_should_say_why_a_command_is_not_run():
    for guide in GUIDES:
        for language, words, text in fences(guide):
            if words:
                assert language in RUNS and len(words.removeprefix(NOT_RUN).split()) >= 2, text


def test_all_guides_should_be_in_the_index():
    index = (DOCS / "README.md").read_text()
    assert {f"{guide}.md" for guide in GUIDES} - {"README.md"} <= set(LINK.findall(index))


@pytest.mark.parametrize("page", [*(f"src/docs/{guide}.md" for guide in GUIDES), "README.md",
                                  "src/README.md"])
def test_links_should_lead_to_files(page):
    path = support.ROOT / page
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), target
