# SPDX-License-Identifier: Apache-2.0
"""Writes a guide of src/docs as a manual page of section 7.

    guide_page.py GUIDE.md VERSION PAGES > ldnq-guide-GUIDE.7

PAGES names the guides that become pages, with commas between them: links to them name the page. It
reads the Markdown that the guides use, and refuses what it does not know: headings, paragraphs,
lists, tables, quotations, fences, indented lines; within a line code, bold, italics, links and
pictures."""

import re
import sys
from pathlib import Path

INLINE = re.compile(r"(?P<code>`[^`]+`)|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>[^*]+)\*|"
                    r"(?P<picture>!)?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
# Printed as typographic characters unless they are escaped, and unlike what a shell takes.
ESCAPES = {"\\": r"\(rs", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
WIDEST_COLUMN = 24  # in characters; a wider one has its text filled
WIDEST_TABLE = 71  # what a terminal of 80 columns leaves; a wider one becomes a list
GAP = 3  # between columns


def escape(text):
    out = "".join(ESCAPES.get(c, c if ord(c) < 128 else f"\\[u{ord(c):04X}]") for c in text)
    return re.sub(r"^\.", r"\&.", out, flags=re.M)


class Guide:
    def __init__(self, name, version, pages):
        self.name, self.version, self.pages = name, version, pages
        self.out = []

    def write_link(self, text, target):
        path, _, _ = target.partition("#")
        if re.match(r"[a-z]+:", target):
            return f"{self.write_line(text)} ({escape(target)})"
        if path.removesuffix(".md") in self.pages:
            return f"{self.write_line(text)} (\\fBldnq\\-guide\\-{path.removesuffix('.md')}\\fR(7))"
        return self.write_line(text)

    def write_line(self, text):
        """Text with its marks as fonts."""
        out, at = "", 0
        for mark in INLINE.finditer(text):
            out += escape(text[at:mark.start()])
            if mark["code"]:
                out += f"\\fB{escape(mark['code'][1:-1])}\\fR"
            elif mark["bold"]:
                out += f"\\fB{self.write_line(mark['bold'])}\\fR"
            elif mark["italic"]:
                out += f"\\fI{escape(mark['italic'])}\\fR"
            elif mark["picture"]:
                out += f"\\fI{escape(mark['text'])}\\fR: see {escape(mark['target'])}"
            else:
                out += self.write_link(mark["text"], mark["target"])
            at = mark.end()
        return out + escape(text[at:])

    def write_title(self, title):
        self.out += [f'.TH "LDNQ\\-GUIDE\\-{self.name.upper()}" 7 "" "ldnq {self.version}" "Guides"',
                     ".nh", ".ad l", ".SH NAME",
                     f"ldnq\\-guide\\-{self.name} \\- {escape(title[0].lower() + title[1:])}"]

    def write_heading(self, line):
        marks, _, text = line.partition(" ")
        if len(marks) == 1:
            self.write_title(text)
        elif len(marks) == 2:
            self.out.append(f".SH {self.write_line(text.upper() if '`' not in text else text)}")
        else:
            self.out.append(f".SS {self.write_line(text)}")

    def write_fence(self, lines):
        self.write_break()
        self.out += [".RS 4", ".nf", *(escape(line) for line in lines), ".fi", ".RE"]

    def write_table(self, rows):
        header, _, *body = [[cell.strip() for cell in row.strip().strip("|").split("|")]
                            for row in rows]
        widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]
        if sum(min(width, WIDEST_COLUMN) + GAP for width in widths) - GAP > WIDEST_TABLE:
            self.write_table_as_list(header, body)
        else:
            self.write_table_in_columns(header, body, widths)

    def write_table_as_list(self, header, body):
        """A row per item, with the name of the column before each value."""
        for row in body:
            pairs = [f"{name}: {value}" for name, value in zip(header[1:], row[1:]) if value]
            self.out += [".TP", self.write_line(f"{header[0]}: {row[0]}"),
                         self.write_line("; ".join(pairs))]

    def write_table_in_columns(self, header, body, widths):
        """The columns that are wide share what the narrow ones leave of the line."""
        keys = ["lx" if width > WIDEST_COLUMN else "l" for width in widths]
        self.write_break()
        self.out += [".TS", "tab(@);", " ".join(key + "b" for key in keys), " ".join(keys) + "."]
        for row in [header, *body]:
            self.out.append("@".join(
                f"T{{\n{self.write_line(cell)}\nT}}" if key == "lx" and cell
                else self.write_line(cell).replace("@", r"\(at")
                for cell, key in zip(row, keys)))
        self.out.append(".TE")

    def write_break(self):
        """A new paragraph, which a heading begins by itself."""
        if not self.out[-1].startswith((".SH", ".SS")):
            self.out.append(".PP")

    def write_quotation(self, lines):
        self.out += [".RS 4", self.write_line(" ".join(line[1:].strip() for line in lines)), ".RE"]

    def write_paragraph(self, lines):
        text = " ".join(line.strip() for line in lines)
        item = re.match(r"(?:(-)|(\d+\.)) +", text)
        if item:
            mark, width = (r"\(bu", 2) if item[1] else (item[2], 4)
            self.out += [f".IP {mark} {width}", self.write_line(text[item.end():])]
        else:
            self.write_break()
            self.out.append(self.write_line(text))

    def write(self, text):
        """The whole page. What is before the first section is its description."""
        text = re.sub(r"\A(# .*\n\n)(?!#)", r"\1## Description\n\n", text)
        lines, i = text.splitlines(), 0
        while i < len(lines):
            first = i
            if not lines[i].strip():
                i += 1
            elif re.match(r"#{1,3} ", lines[i]):
                self.write_heading(lines[i])
                i += 1
            elif lines[i].startswith("```"):
                i = lines.index("```", i + 1)
                self.write_fence(lines[first + 1:i])
                i += 1
            elif lines[i].startswith("|"):
                while i < len(lines) and lines[i].startswith("|"):
                    i += 1
                self.write_table(lines[first:i])
            elif lines[i].startswith("> "):
                while i < len(lines) and lines[i].startswith("> "):
                    i += 1
                self.write_quotation(lines[first:i])
            elif lines[i].startswith("    "):
                while i < len(lines) and lines[i].startswith("    "):
                    i += 1
                self.write_fence([line[4:] for line in lines[first:i]])
            elif re.match(r"[<>]|#|\t", lines[i]):
                raise SystemExit(f"{self.name}: no manual page has this: {lines[i]}")
            else:
                i += 1
                while i < len(lines) and lines[i].strip() and \
                        not re.match(r"- |\d+\. |\||```|#", lines[i]):
                    i += 1
                self.write_paragraph(lines[first:i])
        others = [f"\\fBldnq\\-guide\\-{page}\\fR(7)" for page in self.pages if page != self.name]
        self.out += [".SH SEE ALSO", ",\n".join([r"\fBldnq\fR(1)", *others])]
        return "\n".join(["'\\\" t", f".\\\" Made from {self.name}.md; changes here are lost.",
                          *self.out, ""])


def main():
    path, version, pages = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
    sys.stdout.write(Guide(path.stem, version, pages).write(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
