"""The code blocks and links of a Markdown file, as far as our pages use Markdown.

A block is run when its language is sh, c, cpp or python, unless the line before it is <!-- test: not run, REASON -->.
What a reader need not see stands in a comment, shell as well, at its place in the order:

    <!-- test: setup
    mkdir build
    -->
"""
import re

RUN = ("sh", "c", "cpp", "python")
NOT_RUN = re.compile(r"^<!-- test: not run, (.+) -->$")
SETUP = "<!-- test: setup"


class Block:
    def __init__(self, language, line, code, reason=None):
        self.language, self.line, self.code, self.reason = language, line, code, reason


def blocks(text):
    """What is to be run, in its order; `reason` is set where the page says why not."""
    found, reason = [], None
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if line == SETUP:
            found.append(Block("sh", number + 1, until(lines, "-->", number)))
        elif line.startswith("```") and len(line) >= 3:
            language = line[3:].strip()
            code = until(lines, "```", number)
            if language in RUN:
                found.append(Block(language, number + 1, code, reason))
            reason = None
        elif line.strip():
            note = NOT_RUN.match(line)
            reason = note.group(1) if note else None
            if line.startswith("<!-- test:") and not note:
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


def anchors(text):
    """What headings can be linked with, as the usual viewers make it."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", without_code(text), flags=re.MULTILINE)
    }
