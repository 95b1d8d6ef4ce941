# SPDX-License-Identifier: BSD-3-Clause
"""Plots, by gnuplot, as SVG: a guest's latency while its disk moves, and how far the move is."""

import subprocess

HEAD = """set terminal svg size 800,320 dynamic font 'sans,12' background '#ffffff'
set output '{path}'
set title '{title}' noenhanced
set xlabel 'seconds since the move began'
set grid lc '#dddddd'
set key outside right top noenhanced
set linetype 1 lc '#0072b2' lw 2
set linetype 2 lc '#d55e00' lw 2
set linetype 3 lc '#009e73' lw 2
set linetype 4 lc '#cc79a7' lw 2
set linetype 5 lc '#e69f00' lw 2
set linetype 6 lc '#56b4e9' lw 2
set linetype 7 lc '#000000' lw 2
"""


def gnuplot(script):
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def block(name, points):
    return f"${name} << END\n" + "".join(f"{x:.2f} {y:.4g}\n" for x, y in points) + "END\n"


def thin(points, most=150):
    """Every so many of them, and the last."""
    step = max(1, len(points) // most)
    return points[::step] + points[-1:]


def latency(path, title, outcomes):
    """The 99th percentile of each step; the move is between 0 and a line of its colour."""
    script = HEAD.format(path=path, title=title) + "set logscale y\nset ylabel 'latency, 99th percentile, ms'\n"
    curves = []
    longest = max(outcome.seconds for outcome in outcomes.values())
    step = min(max(longest / 50, 0.02), 0.5)
    script += "set arrow from first 0, graph 0 to first 0, graph 1 nohead lc '#888888' lw 2\n"
    for n, (label, outcome) in enumerate(outcomes.items(), 1):
        start = outcome.began - 1
        points = [(x - 1, window.p99_ms)
                  for x, window in outcome.requests.series(start, outcome.began + longest + 0.5, step)]
        script += block(f"d{n}", thin(points))
        script += (f"set arrow from first {outcome.seconds:.2f}, graph 0 to first {outcome.seconds:.2f}, graph 1 "
                   f"nohead lt {n} dt 2\n")
        curves.append(f"$d{n} using 1:2 with lines lt {n} title '{label}'")
    gnuplot(script + "plot " + ", ".join(curves) + "\n")


def progress(path, title, outcomes):
    script = HEAD.format(path=path, title=title) + "set ylabel 'copied, %'\nset yrange [0:100]\n"
    curves = []
    for n, (label, outcome) in enumerate(outcomes.items(), 1):
        script += block(f"d{n}", thin([(x, 100 * part) for x, part in outcome.progress]))
        curves.append(f"$d{n} using 1:2 with lines lt {n} title '{label}'")
    gnuplot(script + "plot " + ", ".join(curves) + "\n")
