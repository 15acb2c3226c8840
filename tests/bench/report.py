"""From runs to medians, ratios and verdicts; and how they are printed."""
import statistics


def summarise(work, rounds, memory_goal=0.0):
    """A row for each contender. `rounds` is a list of {name: figure}; the first contender is the baseline.

    Ratios are medians of the ratios within a round, so that what disturbs one disturbs both."""
    contenders = work["contenders"]
    base = contenders[0]["name"]
    peers = {c["name"] for c in contenders if not c["ours"]}
    rows = []
    for c in contenders:
        both = [(r[c["name"]], r[base]) for r in rounds if c["name"] in r and base in r]
        if not both:
            continue
        mine = [m for m, _ in both]
        row = {key: median([m[key] for m in mine]) for key in mine[0]}
        row.update(c, n=len(mine), min_wall=min(m["wall"] for m in mine),
                   ratio=round(statistics.median(m["wall"] / b["wall"] for m, b in both), 3),
                   cpu_ratio=round(statistics.median(m["cpu"] / max(b["cpu"], 1e-6) for m, b in both), 3))
        row["goal_ratio"] = row["ratio"] if not c["against_best"] else round(statistics.median(
            r[c["name"]]["wall"] / min(f["wall"] for name, f in r.items() if name in peers) for r in rounds if c["name"] in r), 3)
        rows.append(row)
    return {"work": work["name"], "memory_goal": memory_goal, "contenders": contenders, "rounds": rounds, "rows": rows}


def median(values):
    """None where nothing was measured."""
    known = [v for v in values if v is not None]
    return round(statistics.median(known), 4) if known else None


def merge(reports):
    """One report of several: rounds of the same work are put together and summarised anew."""
    merged = dict(reports[0], results=[], absent={})
    works = {}
    for report in reports:
        merged["absent"].update(report["absent"])
        for result in report["results"]:
            before = works.setdefault(result["work"], dict(result, rounds=[]))
            before["rounds"] = before["rounds"] + result["rounds"]
            known = {c["name"] for c in before["contenders"]}
            before["contenders"] = before["contenders"] + [c for c in result["contenders"] if c["name"] not in known]
    for result in works.values():
        merged["results"].append(summarise({"name": result["work"], "contenders": result["contenders"]}, result["rounds"],
                                           result["memory_goal"]))
    return merged


def against_rivals(result):
    """How fussy, proof first, compares with whole updaters: medians of the ratios within a round."""
    rows = []
    for rival in (r for r in result["rows"] if r["rival"]):
        for ours in (r for r in result["rows"] if r["ours"] and "proof first" in r["name"] and "encrypted" not in r["name"]):
            ratios = [r[ours["name"]]["wall"] / r[rival["name"]]["wall"] for r in result["rounds"]
                      if ours["name"] in r and rival["name"] in r]
            if not ratios:
                continue  # never in the same round: of reports that were merged
            rows.append((ours["name"], rival["name"], round(statistics.median(ratios), 2), len(ratios)))
    return rows


def goals(report):
    """Rows (work, what, against, goal, reached, n, cores that others used)."""
    found = []
    for result in report["results"]:
        base = result["rows"][0] if result["rows"] else None
        for row in result["rows"]:
            if row["goal"]:
                against = "the fastest peer" if row["against_best"] else base["name"]
                found.append((result["work"], row["name"], against, f"≤ {row['goal']:.2f}", row["goal_ratio"],
                              row["goal_ratio"] <= row["goal"], row["n"], row["others"]))
            if result["memory_goal"] and row["ours"]:
                found.append((result["work"], row["name"], "peak memory, MiB", f"≤ {result['memory_goal']:.0f}",
                              row["rss_mib"], row["rss_mib"] <= result["memory_goal"], row["n"], row["others"]))
        for ours, rival, ratio, n in against_rivals(result):
            found.append((result["work"], ours, rival, "< 1", ratio, ratio < 1, n, base["others"]))
    return found


def whole(number):
    return "–" if number is None else f"{number:.0f}"


def cell(text):
    return text.replace("|", "\\|")


def markdown(report):
    lines = [f"Machine: {report['machine']}. Disk: {report['disk']}. Ratios are medians of the ratios of wall seconds within"
             " a round; n is the number of rounds; load is what others used of the processors meanwhile, in cores.", "",
             "| work | what | against | goal | measured | reached | n | load |", "|---|---|---|---|---|---|---|---|"]
    for work, what, against, goal, ratio, reached, n, others in goals(report):
        lines.append(f"| {work} | {what} | {cell(against)} | {goal} | {ratio:.2f} | {'yes' if reached else '**no**'} | {n} | {others:.1f} |")
    for result in report["results"]:
        lines += ["", f"**{result['work']}**", "",
                  "| what | wall s, median (min) | ratio | CPU s | CPU ratio | peak memory MiB | disk peak (final) MB | n |",
                  "|---|---|---|---|---|---|---|---|"]
        for r in result["rows"]:
            lines.append(f"| {'**' + r['name'] + '**' if r['ours'] else cell(r['name'])} | {r['wall']:.2f} ({r['min_wall']:.2f}) "
                         f"| {r['ratio']:.2f} | {r['cpu']:.2f} | {r['cpu_ratio']:.2f} | {whole(r['rss_mib'])} "
                         f"| {whole(r['disk_peak_mb'])} ({whole(r['disk_mb'])}) | {r['n']} |")
    if report["absent"]:
        lines += ["", "Not compared:", ""] + [f"* {name}: {why}" for name, why in sorted(report["absent"].items())]
    return "\n".join(lines) + "\n"
