# SPDX-License-Identifier: BSD-3-Clause
"""What was measured, in words: lines while it runs, Markdown and JSON afterwards."""

import json

from measure.matrix import LOOPS, PAIRS, VALUES, WAYS, key
from guest import READS_PERCENT
from stats import median


class Result:
    """One goal of a figure, and a value of each round; or the reason why there are none."""

    def __init__(self, figure, goal, values, reason=None):
        self.figure, self.goal, self.values, self.reason = figure, goal, values, reason

    def value(self):
        return median(self.values)

    def verdict(self):
        if self.reason:
            return "not measured"
        if self.goal.target() == "-":
            return ""
        return "met" if self.goal.met(self.value()) else "MISSED"

    def good(self):
        return self.verdict() in ("met", "")

    def words(self):
        if self.reason:
            return ["-", "-"]
        return [number(self.value()), f"{number(min(self.values))} .. {number(max(self.values))}"]

    def json(self):
        return {"figure": self.figure.name, "point": self.figure.point, "goal": self.goal.key,
                "what": f"{self.figure.what}: {self.goal.what}", "unit": self.goal.unit,
                "at_least": self.goal.at_least, "at_most": self.goal.at_most, "values": self.values,
                "median": None if self.reason else self.value(), "verdict": self.verdict(), "reason": self.reason}


def number(value):
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line(result):
    value, spread = result.words()
    return (f"    {result.goal.what:<66} {value:>8} {result.goal.unit:<6} {result.goal.target():<8} "
            f"{result.verdict():<8} {spread}" + (f"  ({result.reason})" if result.reason else ""))


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def markdown(results):
    text = row("", "what", "target", "median", "spread", "") + row(*["---"] * 6)
    figure = None
    for result in results:
        if result.figure.name == "matrix":
            continue
        if result.figure is not figure:
            figure = result.figure
            text += row(figure.point, f"**{figure.what}** (`{figure.name}`)", "", "", "", "")
        value, spread = result.words()
        unit = f" {result.goal.unit}" if result.goal.unit not in ("x", "") else ""
        verdict = result.verdict()
        text += row("", result.goal.what, result.goal.target(), value + unit, spread,
                    f"**{verdict}**" if verdict == "MISSED" else verdict)
    return text


def matrix_markdown(results):
    """A table for each pair of disks: ways down, loads across; in a cell each value's median."""
    medians = {result.goal.key: result.value() for result in results
               if result.figure.name == "matrix" and not result.reason}
    text = ""
    for pair in PAIRS if medians else []:
        values = [v for v in VALUES if key(pair, "mixed", "closed", WAYS[0], v) in medians]
        text += f"\n**{pair}**: " + "; ".join(f"{VALUES[v][0]}" for v in values) + "\n\n"
        columns = [(load, loop) for load in READS_PERCENT for loop in LOOPS]
        text += row("", *[f"{load}, {loop}" for load, loop in columns]) + row(*["---"] * (len(columns) + 1))
        for way in WAYS:
            text += row(way, *["; ".join(number(medians[key(pair, load, loop, way, v)]) for v in values)
                               for load, loop in columns])
    return text


def as_json(machine, rounds, noises, results):
    return json.dumps({"machine": machine, "rounds": rounds, "noise": noises,
                       "results": [result.json() for result in results]}, indent=1)
