#!/usr/bin/env python3
"""Draws a picture from its text: `draw.py PICTURE.txt` writes PICTURE.svg beside it; with a second argument `-`, to stdout.

    title TEXT
    box NAME COLUMN ROW [KIND] : LINE | LINE      columns and rows may be halves; kind: good, bad, start
    arrow FROM TO [dashed] [up|down|left|right] : LABEL | LABEL
    note COLUMN ROW : LINE | LINE

Lines that begin with # are comments. The picture follows the text alone: same text, same bytes.
"""
import html
import sys

CELL_WIDTH, CELL_HEIGHT, WIDTH, HEIGHT, MARGIN = 310, 130, 200, 64, 30
FILL = {"": "#eef3f8", "good": "#e3f4e4", "bad": "#fbe6e4", "start": "#ffffff"}
STYLE = (
    "text{font-family:sans-serif;font-size:13px;fill:#1b2733;text-anchor:middle}"
    ".title{font-size:16px;font-weight:bold}.first{font-weight:bold}.label{font-size:12px}.note{fill:#55636f;text-anchor:start}"
    "rect{stroke:#4a5b6b;stroke-width:1.2}.halo{stroke:#ffffff;stroke-width:5;paint-order:stroke}"
    "line{stroke:#4a5b6b;stroke-width:1.4}.dashed{stroke-dasharray:6 4;stroke:#b03a2e}"
)


def number(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


class Picture:
    def __init__(self, text):
        self.title, self.boxes, self.arrows, self.notes = "", {}, [], []
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                self.read(line)

    def read(self, line):
        head, _, tail = line.partition(" : ")
        words, lines = head.split(), [part.strip() for part in tail.split(" | ")] if tail else []
        if words[0] == "title":
            self.title = line[len("title "):]
        elif words[0] == "box":
            kind = words[4] if len(words) > 4 else ""
            self.boxes[words[1]] = (*self.centre(float(words[2]), float(words[3])), kind, lines)
        elif words[0] == "arrow":
            self.arrows.append((words[1], words[2], set(words[3:]), lines))
        elif words[0] == "note":
            self.notes.append((*self.centre(float(words[1]), float(words[2])), lines))
        else:
            raise SystemExit(f"draw: cannot read: {line}")

    @staticmethod
    def centre(column, row):
        return MARGIN + WIDTH / 2 + column * CELL_WIDTH, MARGIN + 34 + HEIGHT / 2 + row * CELL_HEIGHT

    def svg(self):
        right = max(x for x, *_ in self.boxes.values()) + WIDTH / 2 + MARGIN
        low = [y + HEIGHT / 2 for _, y, *_ in self.boxes.values()] + [y + 18 * len(lines) for _, y, lines in self.notes]
        bottom = max(low) + MARGIN
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(right)} {number(bottom)}" '
            f'width="{number(right)}" height="{number(bottom)}" role="img">',
            f"<title>{html.escape(self.title)}</title><style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0L10 5L0 10z" fill="#4a5b6b"/></marker></defs>',
            f'<rect width="{number(right)}" height="{number(bottom)}" fill="#ffffff" style="stroke:none"/>',
            f'<text class="title" x="{number(right / 2)}" y="{MARGIN}">{html.escape(self.title)}</text>',
        ]
        parts += [self.arrow(*arrow) for arrow in self.arrows]
        parts += [self.box(*box) for box in self.boxes.values()]
        for x, y, lines in self.notes:
            parts.append(self.lines(x - WIDTH / 2, y, lines, "note"))
        return "\n".join([*parts, "</svg>", ""])

    def box(self, x, y, kind, lines):
        rect = (
            f'<rect x="{number(x - WIDTH / 2)}" y="{number(y - HEIGHT / 2)}" width="{WIDTH}" height="{HEIGHT}" rx="8" '
            f'fill="{FILL[kind]}"/>'
        )
        return rect + "\n" + self.lines(x, y - 9 * (len(lines) - 1) + 4, lines, "first", rest="label")

    @staticmethod
    def lines(x, y, lines, style, rest=None):
        return "\n".join(
            f'<text class="{style if i == 0 or rest is None else rest}" x="{number(x)}" y="{number(y + 18 * i)}">{html.escape(line)}</text>'
            for i, line in enumerate(lines)
        )

    def arrow(self, start, end, how, lines):
        (x1, y1, *_), (x2, y2, *_) = self.boxes[start], self.boxes[end]
        # Arrows both ways between two boxes run beside each other.
        shift = 14 if any(a == end and b == start for a, b, *_ in self.arrows) else 0
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        dx, dy = -(y2 - y1) / length * shift, (x2 - x1) / length * shift
        ax, ay = self.edge(x1, y1, x2, y2)
        bx, by = self.edge(x2, y2, x1, y1)
        dashed = ' class="dashed"' if "dashed" in how else ""
        line = (
            f'<line{dashed} x1="{number(ax + dx)}" y1="{number(ay + dy)}" x2="{number(bx + dx)}" y2="{number(by + dy)}" '
            'marker-end="url(#tip)"/>'
        )
        x, y = (ax + bx) / 2 + dx, (ay + by) / 2 + dy + 4 - 9 * (len(lines) - 1)
        x += 60 * (("right" in how) - ("left" in how))
        y += 20 * (("down" in how) - ("up" in how))
        return line + "\n" + self.lines(x, y, lines, "label halo")

    @staticmethod
    def edge(x, y, towards_x, towards_y):
        """Where the line to a point leaves the box around (x, y)."""
        dx, dy = towards_x - x, towards_y - y
        scale = min(WIDTH / 2 / abs(dx) if dx else 9e9, HEIGHT / 2 / abs(dy) if dy else 9e9)
        return x + dx * scale, y + dy * scale


def main():
    source = sys.argv[1]
    with open(source, encoding="utf-8") as f:
        made = Picture(f.read()).svg()
    if sys.argv[2:] == ["-"]:
        sys.stdout.write(made)
    else:
        with open(source.removesuffix(".txt") + ".svg", "w", encoding="utf-8") as out:
            out.write(made)


if __name__ == "__main__":
    main()
