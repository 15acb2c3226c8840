"""The examples of a manual page, as far as our pages use roff.

Below EXAMPLES, what stands between .EX and .EE, or .nf and .fi, is shell. Where a line has a prompt (`$ ` or `host$ `), the
lines with one are the commands and the others what they print. A line of a crontab counts as its command.
"""
import re

UNESCAPED = (("\\-", "-"), ("\\(aq", "'"), ("\\(rs", "\\"), ("\\(ti", "~"), ("\\(ha", "^"), ("\\&", ""), ("\\e", "\\"))
PROMPT = re.compile(r"^(?:[a-z]+)?\$ +")
CRONTAB = re.compile(r"^(?:[\d*/,-]+ ){5}root ")


def examples(page):
    """The shell of each example. @return a list of texts"""
    section = re.search(r'^\.SH "?EXAMPLES"?\n(.*?)(?=^\.SH |\Z)', page, re.MULTILINE | re.DOTALL).group(1)
    found = []
    for body in re.findall(r"^\.(?:EX|nf)\n(.*?)^\.(?:EE|fi)$", section, re.MULTILINE | re.DOTALL):
        lines = [line for line in body.splitlines() if not line.startswith(".")]
        for roff, character in UNESCAPED:
            lines = [line.replace(roff, character) for line in lines]
        if any(PROMPT.match(line) for line in lines):
            lines = [PROMPT.sub("", line) for line in lines if PROMPT.match(line)]
        found.append("".join(CRONTAB.sub("", line) + "\n" for line in lines))
    return found
