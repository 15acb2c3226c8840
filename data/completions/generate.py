#!/usr/bin/env python3
"""Makes the completions for bash and zsh from what the commands say with --help.

    data/completions/generate.py BUILD/examples/cli
"""
import os
import re
import subprocess
import sys

COMMANDS = [
    "fussy-clean",
    "fussy-inspect",
    "fussy-install",
    "fussy-install-bytes",
    "fussy-keys",
    "fussy-link-tree",
    "fussy-lock",
    "fussy-pack",
    "fussy-recover",
    "fussy-sign",
    "fussy-southrollback",
    "fussy-status",
    "fussy-unpack",
]
NOTE = "Made by data/completions/generate.py from --help; change the commands, not this file."


class Option:
    """One option, or the positional argument (no spellings)."""

    def __init__(self, spellings, argument, about):
        self.spellings, self.about = spellings, about
        argument = re.sub(r"^(Excludes|Needs): .*", "", argument)  # what CLI11 says of a flag's company
        self.repeatable = argument.endswith(" ...")
        choices = re.search(r":\{([^}]*)\}", argument)
        self.choices = choices.group(1).split(",") if choices else []
        self.argument = re.split(r"[ =:]", argument)[0]
        if "=/" in argument:  # a path by default: a file, or a directory
            self.argument = "DIR" if self.argument == "DIR" else "FILE"
        elif self.argument == "TARGET":
            self.argument = "DIR"


def entries(help_text, heading):
    """Left column and description of each line below a heading; descriptions may be on lines of their own."""
    found, inside = [], False
    for line in help_text.splitlines():
        if re.match(r"^\S", line) or not line:
            inside = line == heading + ":"
        elif inside:
            entry = re.match(r"^  (\S.*?)(?:  +(\S.*))?$", line)
            if entry:
                found.append([entry.group(1), entry.group(2) or ""])
            else:
                found[-1][1] = (found[-1][1] + " " + line.strip()).strip()
    return found


def options(help_text):
    made = []
    for left, about in entries(help_text, "Options"):
        spellings, _, argument = left.partition(" ")
        made.append(Option(spellings.split(","), argument, about))
    return made


def positional(help_text):
    for left, about in entries(help_text, "Positionals"):
        return Option([], left.partition(" ")[2], about)
    return None


def ask(directory):
    """The options and the positional argument of every command there."""
    made = {}
    for command in COMMANDS:
        path = os.path.join(directory, command)
        text = subprocess.run([path, "--help"], check=True, capture_output=True, text=True).stdout
        made[command] = (options(text), positional(text))
    return made


def bash_values(option):
    if option.choices:
        return f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(option.choices)}" -- "$current")'
    if option.argument == "DIR":
        return 'compopt -o filenames 2>/dev/null\n      mapfile -t COMPREPLY < <(compgen -d -- "$current")'
    if option.argument == "FILE":
        return 'compopt -o filenames 2>/dev/null\n      mapfile -t COMPREPLY < <(compgen -f -- "$current")'
    return "COMPREPLY=()"


def bash(commands):
    lines = [
        "# bash completion for the fussy commands.",
        f"# {NOTE}",
        "_fussy() {",
        "  local command=${1##*/} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}",
        '  case "$command $previous" in',
    ]
    by_answer = {}
    for command, (its_options, _) in commands.items():
        for option in its_options:
            if option.argument:
                by_answer.setdefault(bash_values(option), []).extend(f'"{command} {s}"' for s in option.spellings)
    for answer, patterns in by_answer.items():
        lines += ["    " + " | \\\n      ".join(patterns) + ")", f"      {answer}", "      return", "      ;;"]
    lines += ["  esac", '  case "$command $current" in']
    for command, (its_options, _) in commands.items():
        words = " ".join(s for option in its_options for s in option.spellings)
        lines += [f'    "{command} -"*) mapfile -t COMPREPLY < <(compgen -W "{words}" -- "$current") ;;']
    lines += ['    *) case "$command" in']
    for command, (_, its_positional) in commands.items():
        if its_positional:
            lines += [f"      {command})", "      " + bash_values(its_positional), "      ;;"]
    lines += ["    esac ;;", "  esac", "}", "complete -F _fussy " + " ".join(commands), ""]
    return "\n".join(lines)


def zsh_quoted(text):
    return re.sub(r"([\[\]:\\])", r"\\\1", text).replace("'", "'\\''")


def zsh_values(option):
    if option.choices:
        return f":{option.argument}:({' '.join(option.choices)})"
    action = {"DIR": "_directories", "FILE": "_files"}.get(option.argument, " ")
    return f":{option.argument}:{action}"


def zsh(commands):
    lines = [f"#compdef {' '.join(commands)}", f"# {NOTE}", "case $service in"]
    for command, (its_options, its_positional) in commands.items():
        lines.append(f"  {command})")
        lines.append("    _arguments -s \\")
        for option in its_options:
            tail = f"[{zsh_quoted(option.about)}]" + (zsh_values(option) if option.argument else "")
            if option.repeatable:
                lines += [f"      '*{spelling}{tail}' \\" for spelling in option.spellings]
            elif len(option.spellings) > 1:
                spellings = ",".join(option.spellings)
                lines.append(f"      '({' '.join(option.spellings)})'{{{spellings}}}'{tail}' \\")
            else:
                lines.append(f"      '{option.spellings[0]}{tail}' \\")
        if its_positional:
            lines.append(f"      '*{zsh_values(its_positional)}'")
        else:
            lines[-1] = lines[-1][:-2]
        lines.append("    ;;")
    lines += ["esac", ""]
    return "\n".join(lines)


def generate(directory):
    """@return content by name of file"""
    commands = ask(directory)
    return {"fussy.bash": bash(commands), "_fussy": zsh(commands)}


if __name__ == "__main__":
    for name, content in generate(sys.argv[1]).items():
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), "w", encoding="utf-8") as out:
            out.write(content)
