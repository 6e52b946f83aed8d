# SPDX-License-Identifier: Apache-2.0
"""Manual pages and completion, as the build makes them: complete, without warnings of the tools
that read them, and working in the shells."""

import json
import re
import shutil
import subprocess
import sys

import pytest

import support

MANUAL = support.BUILD / "src" / "cli" / "manual"
COMMANDS = ["quantize", "diff", "eval", "run", "inspect", "lint"]
PAGES = ["ldnq", *(f"ldnq-{command}" for command in COMMANDS)]
GUIDES = sorted(path.stem for path in (support.ROOT / "src" / "docs").glob("*.md")
                if path.stem != "README")
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]

needs = {tool: pytest.mark.skipif(not shutil.which(tool), reason=f"there is no {tool}")
         for tool in ("groff", "mandoc", "bash", "zsh")}


def output_of(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=60, check=False, **more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def commands():
    return json.loads(support.succeed("--help-json").stdout)["commands"]


def page_source(name):
    return (MANUAL / f"{name}.1").read_text()


def plain(roff):
    """The text of a page without fonts and escapes."""
    text = re.sub(r"\\f[BIR]", "", roff).replace("\\&", "").replace("\\-", "-")
    return text.replace("\\(aq", "'").replace("\\(ha", "^").replace("\\(rs", "\\")


# ---- manual pages


@pytest.mark.parametrize("page", PAGES)
def test_a_page_should_have_all_sections_in_order(page):
    found = re.findall(r"^\.SH (.*)$", page_source(page), re.M)
    assert [name for name in found if name != "COMMANDS"] == SECTIONS


def test_each_command_should_have_a_page_that_the_overview_names(commands):
    assert {path.name for path in MANUAL.glob("*.1")} == {f"{page}.1" for page in PAGES}
    assert [command["name"] for command in commands] == COMMANDS
    overview = plain(page_source("ldnq"))
    for command in commands:
        assert f"ldnq-{command['name']}(1)\n{command['summary']}\n" in overview


def test_a_page_should_have_every_option_with_its_help_and_its_choices(commands):
    for command in commands:
        text = plain(page_source(f"ldnq-{command['name']}"))
        options = text.partition(".SH OPTIONS")[2].partition(".SH")[0]
        assert options.count(".TP") == len(command["options"])
        for option in command["options"]:
            letter = f"-{option['letter']}, " if option["letter"] else ""
            value = f" {option['value']}" if option["value"] else ""
            default = f" [{option['default']}]" if option["value"] and option["default"] else ""
            entry = f".TP\n{letter}--{option['name']}{value}\n{option['help']}{default}\n"
            assert entry in options
            assert all(choice in entry for choice in option["choices"])


def test_a_page_should_have_the_description_and_every_example(commands):
    for command in commands:
        text = plain(page_source(f"ldnq-{command['name']}"))
        assert command["details"].replace("\n\n", "\n.PP\n") in text
        assert f"ldnq {command['name']} {command['arguments']}\n" in text
        for line in command["examples"].splitlines():
            assert f"\n{line.removeprefix('  ')}\n" in text


@pytest.mark.parametrize("page", PAGES)
def test_a_page_should_have_every_exit_code_of_the_help(page):
    codes = re.findall(r"^  (\d+) +(.*)$", support.succeed("--help").stdout, re.M)
    assert len(codes) == 11
    for code, meaning in codes:
        assert f".TP\n{code}\n{meaning}\n" in plain(page_source(page))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_should_depend_on_the_version_alone(page):
    version = support.succeed("--version").stdout.split()[1]
    title = re.search(r"^\.TH .*$", page_source(page), re.M)[0].replace("\\-", "-")
    assert title == f'.TH "{page.upper()}" 1 "" "ldnq {version}" "User Commands"'
    assert output_of(MANUAL / "write_manual", f"{page}.1") == page_source(page)


@needs["groff"]
@pytest.mark.parametrize("page", PAGES)
def test_groff_should_have_no_warning(page):
    assert output_of("groff", "-man", "-ww", "-z", MANUAL / f"{page}.1") == ""


@needs["mandoc"]
@pytest.mark.parametrize("page", PAGES)
def test_mandoc_should_miss_nothing_but_the_date(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", MANUAL / f"{page}.1"],
                          capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


# ---- guides


def guide_source(guide):
    return MANUAL / f"ldnq-guide-{guide}.7"


def words_of(text):
    """Letters, digits and what commands are made of, without the marks of either language."""
    return re.findall(r"[A-Za-z0-9_=/.%]+", text)


def rendered(guide):
    return output_of("groff", "-K", "utf8", "-t", "-man", "-ww", "-Tutf8", "-P-cbou",
                     "-rLL=200n", guide_source(guide))


@needs["groff"]
@pytest.mark.parametrize("guide", GUIDES)
def test_the_page_of_a_guide_should_have_all_its_words_and_commands(guide):
    markdown = (support.ROOT / "src" / "docs" / f"{guide}.md").read_text()
    page = rendered(guide)
    without_links = re.sub(r"\]\([^)]*\)|^```.*$", "", markdown, flags=re.M)
    missing = {word.lower() for word in words_of(without_links)} - \
        {word.lower() for word in words_of(page)}
    assert {word for word in missing if word.strip("._/=%") not in page.lower()} == set()
    lines = [line.strip() for line in page.splitlines()]
    for block in re.findall(r"^```\w+.*?\n(.*?)^```$", markdown, re.M | re.S):
        for line in filter(None, map(str.strip, block.splitlines())):
            assert line in lines


@needs["mandoc"]
@pytest.mark.parametrize("guide", GUIDES)
def test_mandoc_should_miss_nothing_in_the_page_of_a_guide_but_the_date(guide):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", guide_source(guide)],
                          capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_a_guide_should_be_refused_where_it_has_what_no_page_can_show(tmp_path):
    writer = [sys.executable, support.ROOT / "tools" / "guide_page.py"]
    (tmp_path / "odd.md").write_text("# Odd\n\nText.\n\n<table></table>\n")
    done = subprocess.run([*writer, tmp_path / "odd.md", "1", "odd"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and "odd: no manual page has this: <table>" in done.stderr


def test_the_guides_should_name_one_another():
    for guide in GUIDES:
        see_also = plain(guide_source(guide).read_text()).partition(".SH SEE ALSO")[2]
        assert set(re.findall(r"ldnq-guide-([\w-]+)\(7\)", see_also)) == set(GUIDES) - {guide}
    assert "ldnq-guide-deploy(7)" in plain(page_source("ldnq"))


# ---- examples


@needs["groff"]
def test_a_rendered_example_should_be_what_a_shell_reads(commands):
    for command in commands:
        source = MANUAL / f"ldnq-{command['name']}.1"
        text = output_of("groff", "-man", "-Tutf8", "-P-cbou", source)
        for line in command["examples"].splitlines():
            assert line.strip() in text


# ---- bash


def complete_in_bash(line, folder):
    """What bash proposes for the last word of the line. It splits words at "=" too."""
    words = re.findall(r"=|[^\s=]+", line) + ([""] if line.endswith(" ") else [])
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ldnq; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    return output_of("bash", "--norc", "-c", script, "bash", MANUAL / "ldnq", *words,
                     cwd=folder).split()


@needs["bash"]
@pytest.mark.parametrize("line, proposals", [
    ("ldnq qu", "quantize"),
    ("ldnq ", " ".join(COMMANDS) + " --help --help-json --version"),
    ("ldnq quantize --we", "--weights"),
    ("ldnq quantize --weights in", "int2 int3 int4 int8"),
    ("ldnq quantize --weights=in", "int2 int3 int4 int8"),
    ("ldnq quantize --weights int2,int4,te", "int2,int4,ternary"),
    ("ldnq quantize net.onnx --granularity ", "auto tensor channel block"),
    ("ldnq quantize --granularity=", "auto tensor channel block"),
    ("ldnq quantize --granularity channel,", ""),
    ("ldnq quantize --solver admm-", "admm-paper"),
    ("ldnq diff --fail-", "--fail-below-sqnr --fail-below-agreement --fail-size-above"),
    ("ldnq diff --we", ""),
    ("ldnq nonsense --we", ""),
    # Files are left to bash.
    ("ldnq quantize n", ""),
    ("ldnq quantize --calib n", ""),
    ("ldnq quantize -o n", ""),
    ("ldnq run --input x=n", ""),
])
def test_bash_should_complete(line, proposals, tmp_path):
    (tmp_path / "net.onnx").touch()
    assert complete_in_bash(line, tmp_path) == proposals.split()


@needs["bash"]
def test_bash_should_complete_every_option_and_its_choices(commands, tmp_path):
    for command in commands:
        proposals = complete_in_bash(f"ldnq {command['name']} -", tmp_path)
        expected = {f"--{option['name']}" for option in command["options"]}
        letters = {f"-{option['letter']}" for option in command["options"] if option["letter"]}
        assert set(proposals) == expected | letters and len(set(proposals)) == len(proposals)
        for option in command["options"]:
            if option["choices"]:
                line = f"ldnq {command['name']} --{option['name']} "
                assert complete_in_bash(line, tmp_path) == option["choices"]


@needs["bash"]
def test_bash_should_fall_back_to_files():
    """The registered command completes files where nothing is proposed."""
    text = output_of("bash", "--norc", "-c", 'source "$1"; complete -p ldnq', "bash",
                     MANUAL / "ldnq")
    assert text == "complete -o default -F _ldnq ldnq\n"


# ---- zsh


def complete_in_zsh(*words):
    """What the function asks zsh's completion system for."""
    script = ("_arguments() { print -rl -- \"$@\" }; _describe() { print -rl -- ${(P)@[-1]} }; "
              "file=$1; shift; words=(\"$@\"); CURRENT=$#; source $file")
    return output_of("zsh", "-f", "-c", script, "zsh", MANUAL / "_ldnq", *words).splitlines()


@needs["zsh"]
def test_zsh_should_complete_every_command(commands):
    found = complete_in_zsh("ldnq", "")
    for command in commands:
        assert f"{command['name']}:{command['summary']}" in found


@needs["zsh"]
def test_zsh_should_complete_every_option_and_its_choices(commands):
    for command in commands:
        found = complete_in_zsh("ldnq", command["name"], "")
        letters = sum(option["letter"] is not None for option in command["options"])
        assert len(found) == len(command["options"]) + letters + 1  # the models
        for option in command["options"]:
            name = f"--{option['name']}{'=' if option['value'] else ''}["
            spec = next(text for text in found if name in text)
            assert spec.startswith("*") == option["repeats"]
            assert re.sub(r"\\(.)", r"\1", spec).partition("[")[2].partition("]")[0] in \
                option["help"]
            if option["choices"]:
                assert spec.rstrip(")").endswith(" ".join(option["choices"]))
            elif option["type"] == "path":
                assert spec.endswith(":_files")


def test_zsh_function_should_have_every_option(commands):
    """Without zsh, by its text."""
    text = (MANUAL / "_ldnq").read_text()
    assert text.startswith("#compdef ldnq\n")
    for command in commands:
        part = text.partition(f"\n    {command['name']})\n")[2].partition(";;\n")[0]
        for option in command["options"]:
            assert re.search(rf"--{option['name']}=?\[", part)
