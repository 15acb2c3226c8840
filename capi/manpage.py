#!/usr/bin/env python3
"""Makes fussy.h(3) of fussy.h, so that the two cannot differ.

usage: manpage.py FUSSY_H OUTPUT VERSION

The header's opening comment becomes DESCRIPTION; each `/* ---- Title ---- */` a section; each declaration is preceded by
the comment that documents it. An export without such a comment, or one that does not say since when it exists, is an
error: nothing undocumented gets out.
"""
import re
import sys

SECTION = re.compile(r"/\* -{4,} (.+?) -{4,} \*/\Z")
EXPORT = re.compile(r"FUSSY_API\s+(.+?)(\w+)\((.*)\);\Z", re.S)
ALIAS = re.compile(r"typedef .*?(\w+);\Z|typedef .*?\(\*(\w+)\)\(.*\);\Z", re.S)


def tokens(text):
    """Comments, preprocessor lines, and declarations, in order, as (kind, text)."""
    at = 0
    while at < len(text):
        rest = text[at:]
        if rest[0].isspace():
            at += len(rest) - len(rest.lstrip())
            continue
        if rest.startswith("/*"):
            end = rest.index("*/") + 2
            kind = "comment"
        elif rest.startswith("#"):
            end = re.search(r"(?<!\\)\n", rest).end()
            kind = "line"
        elif rest.startswith('extern "C" {') or rest.startswith("}"):
            end = rest.index("\n")
            kind = "line"
        else:
            end = end_of_declaration(rest)
            kind = "declaration"
        yield kind, rest[:end].strip()
        at += end


def end_of_declaration(text):
    depth = 0
    for match in re.finditer(r"/\*.*?\*/|[{}();]", text, re.S):
        mark = match.group()
        if mark in "{(":
            depth += 1
        elif mark in "})":
            depth -= 1
        elif mark == ";" and depth == 0:
            return match.end()
    sys.exit("manpage.py: a declaration without end: " + text[:60])


def prose(comment):
    """Lines of a comment without its frame."""
    lines = comment[2:-2].split("\n")
    return [re.sub(r"^ ?\*? ?", "", line, count=1).rstrip() if n else line.strip() for n, line in enumerate(lines)]


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("’", "'").replace("–", "\\(en")
    return "\\&" + text if text[:1] in (".", "'") else text


def paragraphs(lines):
    """Prose as it is; what is indented or set in columns keeps its lines."""
    out, fixed = [], False
    for line in lines:
        column = bool(re.match(r"\S+( \S+)?  +\S|  ", line))
        if column != fixed and line:
            out.append(".PP\n.nf" if column else ".fi\n.PP")
            fixed = column
        out.append(escape(line) if line else ".PP" if not fixed else "")
    if fixed:
        out.append(".fi")
    return out


def code(text):
    return [".PP", ".nf", ".RS 2"] + [escape(line) for line in text.split("\n")] + [".RE", ".fi"]


class Page:
    def __init__(self, text):
        self.out, self.exports, self.problems = [], [], []
        comment, macros, guard = None, [], 0
        for kind, token in tokens(text):
            if kind == "comment":
                self.flush(macros, comment)
                title = SECTION.match(token)
                if title:
                    self.out += [f".SH {title[1].upper()}"]
                    comment = None
                elif not self.out:
                    self.opening(token)
                else:
                    comment = token
            elif kind == "line":
                macro = re.match(r"#define (FUSSY_[A-Z_0-9]+)\b", token)
                if macro and macro[1] not in ("FUSSY_H", "FUSSY_API"):
                    macros.append(token)
            else:
                self.flush(macros, comment if macros else None)
                self.declaration(token, comment)
                comment = None
        self.flush(macros, comment)

    def opening(self, token):
        lines = prose(token)
        self.title = lines[0]
        self.out += [".SH DESCRIPTION"] + paragraphs([line for line in lines[1:] if not line.startswith("License")])

    def flush(self, macros, comment):
        if not macros:
            return
        if comment:
            self.out += [".PP"] + paragraphs(prose(comment))
        self.out += code("\n".join(re.sub(r"\s*\\\n\s*", " ", m) for m in macros))
        macros.clear()

    def declaration(self, token, comment):
        export = EXPORT.match(token)
        alias = ALIAS.match(token)
        name = export[2] if export else next((g for g in alias.groups() if g), None) if alias else None
        if not name:
            self.problems.append("what is this? " + token)
            return
        lines = prose(comment) if comment else []
        if export:
            self.exports.append(name)
        if not " ".join(lines).strip():
            self.problems.append(f"{name} is not documented")
        elif export and not re.match(r"Since \d+\.\d+\. ", lines[0]):
            self.problems.append(f"the documentation of {name} does not begin with 'Since X.Y. '")
        self.out += [f".SS {name}"] + code(token.replace("FUSSY_API ", "")) + [".PP"] + paragraphs(lines)


def main():
    header, output, version = sys.argv[1:]
    with open(header, encoding="utf-8") as f:
        page = Page(f.read())
    if page.problems:
        sys.exit("\n".join(f"{header}: {problem}" for problem in page.problems))
    name, _, short = page.title.partition(" - ")
    head = [f'.TH {name} 3 "" "fussy {version}" "Library Functions Manual"', ".SH NAME", f"{name} \\- {short.rstrip('.')}",
            ".SH LIBRARY", "fussy (libfussy, \\-lfussy)", ".SH SYNOPSIS", ".nf", ".B #include <fussy.h>", ".PP",
            "cc app.c $(pkg\\-config \\-\\-cflags \\-\\-libs fussy)", ".fi"]
    with open(output, "w", encoding="utf-8") as f:
        f.write("\n".join(head + page.out) + "\n")


if __name__ == "__main__":
    main()
