# SPDX-License-Identifier: BSD-3-Clause
"""What was measured: lines while it runs, and results.json, from which Markdown is made.

results.json has what each figure came to when it was last measured; so figures can be measured one by one."""

import json
import pathlib
import subprocess
import time

from guest import READS_PERCENT
from measure.matrix import LOOPS, VALUES, WAYS, key
from stats import median


def revision():
    return subprocess.run(["git", "describe", "--always", "--dirty"], cwd=pathlib.Path(__file__).parent, text=True,
                          stdout=subprocess.PIPE, check=False).stdout.strip() or "unknown revision"


class Measured:
    """A figure, and each round's value for each goal; or the reason why there are none."""

    def __init__(self, figure, values, noise=None, reason=None, when=None):
        self.figure, self.values, self.noise, self.reason = figure, values, noise or [], reason
        self.when = when or f"{time.strftime('%Y-%m-%d %H:%M')}, {revision()}"

    def goals(self):
        return [Result(self, goal) for goal in self.figure.goals]

    def noise_words(self):
        return f"others: {max(self.noise, default=0):.0%} of the processors"

    def add(self, earlier):
        """The rounds of an earlier measurement count too."""
        if not self.reason and not earlier.reason:
            self.values = {k: earlier.values.get(k, []) + v for k, v in self.values.items()}
            self.noise = earlier.noise + self.noise

    def json(self):
        return {"what": self.figure.what, "when": self.when, "noise": self.noise, "reason": self.reason,
                "goals": {result.goal.key: result.json() for result in self.goals()}}

    @classmethod
    def from_json(cls, figure, stored):
        values = {goal.key: stored["goals"].get(goal.key, {}).get("values", []) for goal in figure.goals}
        lacking = [goal_key for goal_key, rounds in values.items() if not rounds]
        reason = stored["reason"] or (f"an older benchmark without {', '.join(lacking)}" if lacking else None)
        return cls(figure, values, stored["noise"], reason, stored["when"])


class Result:
    """One goal of a measured figure."""

    def __init__(self, measured, goal):
        self.goal, self.values, self.reason = goal, measured.values[goal.key], measured.reason

    def value(self):
        return median(self.values)

    def verdict(self):
        if self.reason:
            return "not measured"
        if self.goal.target() == "-":
            return ""
        return "met" if self.goal.met(self.value()) else "MISSED"

    def words(self):
        """Median, and spread."""
        if self.reason:
            return ["-", "-"]
        return [number(self.value()), f"{number(min(self.values))} .. {number(max(self.values))}"]

    def json(self):
        return {"what": self.goal.what, "unit": self.goal.unit, "target": self.goal.target(),
                "median": None if self.reason else self.value(), "verdict": self.verdict(), "values": self.values}


def number(value):
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


# --- files ------------------------------------------------------------------------------


def load(path, figures):
    """What is there of these figures: name -> Measured, in their order."""
    stored = json.loads(path.read_text()).get("figures", {}) if path.exists() else {}
    return {figure.name: Measured.from_json(figure, stored[figure.name])
            for figure in figures if figure.name in stored}


def save(path, machine, measured):
    text = json.dumps({"machine": machine, "figures": {name: m.json() for name, m in measured.items()}}, indent=1)
    path.write_text(text + "\n")


# --- words ------------------------------------------------------------------------------


def line(result):
    value, spread = result.words()
    return (f"    {result.goal.what:<66} {value:>8} {result.goal.unit:<6} {result.goal.target():<8} "
            f"{result.verdict():<8} {spread}")


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def markdown(machine, measured):
    plain = [m for m in measured if not m.figure.name.startswith("matrix")]
    text = "".join(f"- {name}: {value}\n" for name, value in machine.items()) + "\n"
    text += row("", "what", "target", "median", "spread", "") + row(*["---"] * 6)
    for figure in plain:
        rounds = max(map(len, figure.values.values()))
        text += row(figure.figure.point, f"**{figure.figure.what}** (`{figure.figure.name}`)",
                    "", f"rounds: {rounds}", figure.when, figure.reason or figure.noise_words())
        for result in figure.goals():
            text += goal_row(result)
    return text + "".join(matrix_markdown(m) for m in measured if m.figure.name.startswith("matrix"))


def goal_row(result):
    value, spread = result.words()
    unit = f" {result.goal.unit}" if result.goal.unit not in ("x", "") else ""
    verdict = result.verdict()
    return row("", result.goal.what, result.goal.target(), value + unit, spread,
               f"**{verdict}**" if verdict == "MISSED" else verdict)


def matrix_markdown(measured):
    """A table: ways down, loads across; in a cell each value's median."""
    medians = {result.goal.key: number(result.value()) for result in measured.goals() if not result.reason}
    if not medians:
        return ""
    values = [v for v in VALUES if key("mixed", "closed", WAYS[0], v) in medians]
    columns = [(load, loop) for load in READS_PERCENT for loop in LOOPS]
    rounds = max(map(len, measured.values.values()))
    text = f"\n**{measured.figure.what}** (`{measured.figure.name}`; rounds: {rounds}; {measured.when}; " \
           f"{measured.noise_words()}). In each cell: "
    text += "; ".join(VALUES[v][0] for v in values) + ".\n\n"
    text += row("", *[f"{load}, {loop}" for load, loop in columns]) + row(*["---"] * (len(columns) + 1))
    for way in WAYS:
        text += row(way, *["; ".join(medians[key(load, loop, way, v)] for v in values) for load, loop in columns])
    return text
