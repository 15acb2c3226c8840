"""The code blocks and links of a Markdown file, as far as our pages use Markdown.

A block is run when its language is sh, c, cpp or python, unless the line before it is <!-- test: not run, REASON -->.
After <!-- test: file NAME --> it is written to that file instead, whatever its language: a later block compiles or
calls it. What a reader need not see stands in a comment, shell as well, at its place in the order:

    <!-- test: setup
    mkdir build
    -->
"""
import os
import re

RUN = ("sh", "c", "cpp", "python")
LANGUAGES = (*RUN, "text")  # nothing else can be printed: what nobody knows how to run would be passed over
NOT_RUN = re.compile(r"^<!-- test: not run, (.+) -->$")
FILE = re.compile(r"^<!-- test: file (\S+) -->$")
SETUP = "<!-- test: setup"


class Block:
    """`reason` is set when it is not run, `file` when it is written to a file."""

    def __init__(self, language, line, code, reason=None, file=None):
        self.language, self.line, self.code, self.reason, self.file = language, line, code, reason, file


def all_pages(root):
    """Every Markdown file of the project, wherever it stands. Builds are not looked into: roots of whole systems stand there."""
    found = []
    for folder, folders, files in os.walk(root):
        here = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if not f.startswith(".") and f != "node_modules"
                      and not (here == "." and (f.startswith("build") or f == "subprojects"))]
        found += [os.path.normpath(os.path.join(here, f)) for f in files if f.endswith(".md")]
    return sorted(found)


def blocks(text):
    """What is to be run, in its order."""
    return [block for block in all_blocks(text) if block.language in RUN or block.file]


def all_blocks(text):
    found, reason, file = [], None, None
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if line == SETUP:
            found.append(Block("sh", number + 1, until(lines, "-->", number)))
        elif line.startswith("```") and len(line) >= 3:
            language = line[3:].strip()
            code = until(lines, "```", number)
            found.append(Block(language, number + 1, code, reason, file))
            reason = file = None
        elif line.strip():
            not_run, to_file = NOT_RUN.match(line), FILE.match(line)
            reason = not_run.group(1) if not_run else None
            file = to_file.group(1) if to_file else None
            if line.startswith("<!-- test:") and not (reason or file):
                raise AssertionError(f"line {number}: cannot read this note: {line}")
    return found


def until(lines, end, start):
    code = []
    for _, line in lines:
        if line == end:
            return "".join(f"{line}\n" for line in code)
        code.append(line)
    raise AssertionError(f"what begins in line {start} has no end")


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text):
    """Targets of links, those to other hosts left out."""
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", without_code(text)) if "://" not in t and not t.startswith("mailto:")]


def spans(text):
    """What stands in the running text as `code`, in paragraphs and tables."""
    return re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"<!--.*?-->", "", without_code(text), flags=re.DOTALL))


def anchors(text):
    """What headings can be linked with, as the usual viewers make it."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", without_code(text), flags=re.MULTILINE)
    }
