# SPDX-License-Identifier: Apache-2.0
"""Hatchling's hook: builds the library and the program by meson, and puts both into the wheel."""

import importlib.util
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]


def build_with_meson(folder, version):
    """The library and the program in a build folder."""
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", folder, SOURCE, "--buildtype=release"], check=True)
    library, program = f"libldnq.so.{version}", "src/cli/ldnq"
    subprocess.run(["ninja", "-C", folder, library, program], check=True)
    return folder / library, folder / program


def write_keywords(library, path):
    """The types of the options, from the table of the library that was built."""
    spec = importlib.util.spec_from_file_location("write_keywords", HERE / "write_keywords.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    path.write_text(writer.make_stub(library))


class CustomBuildHook(BuildHookInterface):
    """LDNQ_WHEEL_BUILD names a build folder that stays; else it is one for this wheel, as Python
    and meson of an isolated build are gone after it."""

    def initialize(self, version, build_data):
        self.scratch = Path(tempfile.mkdtemp(prefix="ldnq-wheel-"))
        folder = Path(os.environ.get("LDNQ_WHEEL_BUILD", self.scratch / "build")).resolve()
        library, program = build_with_meson(folder, self.metadata.version)
        stub = self.scratch / "_keywords.pyi"
        write_keywords(library, stub)
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["force_include"] |= {str(library): "ldnq/libldnq.so",
                                        str(program): "ldnq/ldnq",
                                        str(stub): "ldnq/_keywords.pyi"}

    def finalize(self, version, build_data, artifact_path):
        shutil.rmtree(self.scratch)
