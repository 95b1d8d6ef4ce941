#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-3-Clause
"""Measures what the migration must show, and says whether it does.

Every figure is a ratio of things measured in turn, over and over: so it says something about the program
even on a machine whose speed comes and goes. Results land in BUILD/bench: results.json, results.md, *.svg."""

import argparse
import os
import pathlib
import signal
import sys
import time

import machine
import plots
import report
from bed import Bed, Failure, Unavailable
from figures import FIGURES

TITLES = {
    "same-disk": "Both images on one disk; a guest at depth 16",
    "lr-to-fast": "lr, to a disk ten times faster",
    "same": "Both images on one disk; mixed, depth 16",
    "ssd-hdd": "From flash to a spindle; mixed, depth 8",
    "hdd-ssd": "From a spindle to flash; mixed, depth 8",
}


def arguments():
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="figures: " + " ".join(names))
    parser.add_argument("--quick", action="store_true", help="one round, small disks, without the longest figures")
    parser.add_argument("--rounds", type=int, help="5 unless given")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="all unless given")
    options = parser.parse_args()
    unknown = set(options.figures) - set(names)
    if unknown:
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {' '.join(names)}")
    return options


def measure(figure, bed, rounds):
    """The figure's results, a value a round for each goal."""
    values = {goal.key: [] for goal in figure.goals}
    reason = None
    measurement = figure.measure(bed)
    try:
        for _ in range(rounds):
            for key, value in next(measurement).items():
                values[key].append(value)
    except Unavailable as why:
        reason = str(why)
    finally:
        measurement.close()
    return [report.Result(figure, goal, values[goal.key], reason) for goal in figure.goals]


def draw(traces, directory):
    for name, outcomes in traces.items():
        plots.latency(directory / f"latency-{name}.svg", TITLES[name], outcomes)
        plots.progress(directory / f"progress-{name}.svg", TITLES[name], outcomes)


def main():
    options = arguments()
    build = os.environ.get("BUILD", "build")
    out = pathlib.Path(build) / "bench"
    out.mkdir(exist_ok=True)
    rounds = options.rounds or (1 if options.quick else 5)
    chosen = [f for f in FIGURES if f.name in options.figures or
              not options.figures and (f.quick or not options.quick)]
    results, noises, described = [], {}, None
    for figure in chosen:
        noises[figure.name] = noise = machine.noise()
        print(f"\n{figure.point}. {figure.what} ({figure.name})"
              + (f"  [others take {noise:.0%} of the processors]" if noise > machine.NOISE_LIMIT else ""), flush=True)
        began = time.monotonic()
        with Bed(build, options.quick) as bed:
            described = described or machine.describe(bed)
            measured = measure(figure, bed, rounds)
            draw(bed.traces, out)
        results += measured
        if figure.name != "matrix":
            print(*map(report.line, measured), sep="\n")
        print(f"    {time.monotonic() - began:.0f} s", flush=True)

    (out / "results.json").write_text(report.as_json(described, rounds, noises, results))
    (out / "results.md").write_text(report.markdown(results) + report.matrix_markdown(results))
    print(f"\n{out}/results.json, results.md and plots")
    return 0 if all(result.good() for result in results) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))  # and so leave the bed
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
