"""The report as a picture: one group of horizontal bars for each work, relative to its baseline."""
from xml.sax.saxutils import escape

ROW, GAP, LABEL, WIDTH, RIGHT = 20, 26, 330, 460, 70
OURS, BASE, PEER, GOAL = "#2b6cb0", "#4a5568", "#a0aec0", "#c53030"
MOST = 2.5  # longer bars are cut: their number says how long they are


def bars(report):
    """Works whose ratio says nothing (peak memory) are left out."""
    results = [r for r in report["results"] if r["rows"] and not r["memory_goal"]]
    height = sum(len(r["rows"]) for r in results) * ROW + len(results) * GAP + 76
    total = LABEL + WIDTH + RIGHT
    scale = WIDTH / MOST
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" width="{total}" height="{height}" '
           'font-family="sans-serif" font-size="12" role="img">',
           "<title>fussy beside its peers: wall time relative to the baseline of each group</title>",
           f'<rect width="{total}" height="{height}" fill="white"/>',
           '<text x="10" y="22" font-size="14">Wall time relative to the first line of each group; shorter is better; '
           f'<tspan fill="{GOAL}">|</tspan> is the goal</text>']
    y = 40
    for result in results:
        out.append(f'<text x="10" y="{y + 14}" font-weight="bold">{escape(result["work"])}</text>')
        y += GAP - 4
        for number, row in enumerate(result["rows"]):
            out += bar(row, OURS if row["ours"] else BASE if number == 0 else PEER, y, scale)
            y += ROW
        y += 4
    out.append(f'<line x1="{LABEL + scale:.1f}" y1="36" x2="{LABEL + scale:.1f}" y2="{y}" stroke="#718096" stroke-dasharray="3 3"/>')
    out.append(f'<text x="10" y="{height - 24}" fill="#718096">{escape(report["machine"])}</text>')
    out.append(f'<text x="10" y="{height - 8}" fill="#718096">{escape(report["disk"])}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def bar(row, colour, y, scale):
    width = max(min(row["ratio"], MOST) * scale, 1)
    lines = [f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(row["name"])}</text>',
             f'<rect x="{LABEL}" y="{y + 3}" width="{width:.1f}" height="{ROW - 6}" fill="{colour}"/>',
             f'<text x="{LABEL + width + 6:.1f}" y="{y + 14}">{row["ratio"]:.2f}</text>']
    if 0 < row["goal"] <= MOST and not row["against_best"]:
        x = LABEL + row["goal"] * scale
        lines.append(f'<line x1="{x:.1f}" y1="{y + 1}" x2="{x:.1f}" y2="{y + ROW - 1}" stroke="{GOAL}" stroke-width="2"/>')
    return lines
