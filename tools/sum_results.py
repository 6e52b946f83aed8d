#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up JUnit XML files (meson's and pytest's) to one line
"N passed, N failed, N skipped", after a few lines on each failure; exits non-zero when anything
failed, or when nothing passed."""

import argparse
import collections
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def last_lines(case, count=12):
    """What the test printed last, of its message and output."""
    texts = [case.find(tag) for tag in ("system-out", "failure", "error")]
    lines = "\n".join(text.text or "" for text in texts if text is not None).splitlines()
    return [line for line in lines if line.strip()][-count:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failed", type=int, default=0, help="failures to add")
    parser.add_argument("--skipped", type=int, default=0, help="skipped tests to add")
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()

    counts = collections.Counter(failed=arguments.failed, skipped=arguments.skipped)
    for path in arguments.files:
        for case in ElementTree.parse(path).iter("testcase"):
            result = outcome(case)
            counts[result] += 1
            if result == "failed":
                name = f"{case.get('classname')} {case.get('name')}"
                print(f"failed: {name} ({pathlib.Path(path).stem})")
                print(*(f"    {line}" for line in last_lines(case)), sep="\n")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


if __name__ == "__main__":
    main()
