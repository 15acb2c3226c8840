"""The report as a picture: one group of horizontal bars for each work, relative to its baseline."""
from xml.sax.saxutils import escape

ROW, GAP, LABEL, WIDTH, RIGHT = 20, 26, 330, 460, 70
OURS, BASE, PEER = "#2b6cb0", "#4a5568", "#a0aec0"


def bars(report):
    rows = sum(len(r["rows"]) for r in report["results"])
    height = rows * ROW + len(report["results"]) * GAP + 60
    most = max((row["ratio"] for r in report["results"] for row in r["rows"]), default=1) or 1
    scale = WIDTH / max(most, 1)
    total = LABEL + WIDTH + RIGHT
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" width="{total}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{total}" height="{height}" fill="white"/>',
           '<text x="10" y="22" font-size="14">Wall time relative to the baseline of each group; shorter is better</text>']
    y = 40
    for result in report["results"]:
        out.append(f'<text x="10" y="{y + 14}" font-weight="bold">{escape(result["work"])}</text>')
        y += GAP - 4
        for number, row in enumerate(result["rows"]):
            colour = OURS if row["ours"] else BASE if number == 0 else PEER
            out.append(f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(row["name"])}</text>')
            out.append(f'<rect x="{LABEL}" y="{y + 3}" width="{max(row["ratio"] * scale, 1):.1f}" height="{ROW - 6}" fill="{colour}"/>')
            out.append(f'<text x="{LABEL + row["ratio"] * scale + 5:.1f}" y="{y + 14}">{row["ratio"]:.2f}</text>')
            y += ROW
        y += 4
    out.append(f'<line x1="{LABEL + scale:.1f}" y1="36" x2="{LABEL + scale:.1f}" y2="{y}" stroke="#718096" stroke-dasharray="3 3"/>')
    out.append(f'<text x="10" y="{height - 8}" fill="#718096">{escape(report["machine"])}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
