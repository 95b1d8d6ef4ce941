#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-3-Clause
"""Measures what the migration must show, and says whether it does.

Every figure is a ratio of things measured in turn, over and over: so it says something about the program
even on a machine whose speed comes and goes. Results land in BUILD/bench: results.json, results.md, *.svg."""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import time

import machine
import plots
import report
from bed import Bed, Failure, Unavailable
from figures import FIGURES

MARKS = ("<!-- results -->", "<!-- end of results -->")
TITLES = {
    "same-disk": "Both images on one disk; a guest at depth 16",
    "lr-to-fast": "lr, to a disk ten times faster",
    "matrix-same": "Both images on one disk; mixed, depth 16",
    "matrix-ssd-hdd": "From flash to a spindle; mixed, depth 8",
    "matrix-hdd-ssd": "From a spindle to flash; mixed, depth 8",
}


def arguments():
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="figures: " + " ".join(names))
    parser.add_argument("--quick", action="store_true", help="one round, small disks, without the longest figures")
    parser.add_argument("--rounds", type=int, help="5 unless given")
    parser.add_argument("--add", action="store_true", help="to the rounds that have been measured already")
    parser.add_argument("--publish", metavar="FILE", type=pathlib.Path, help="measure nothing: put what has been "
                        "measured into this Markdown file, and the plots beside it")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="all unless given")
    options = parser.parse_args()
    unknown = set(options.figures) - set(names)
    if unknown:
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {' '.join(names)}")
    return options


def measure(figure, bed, rounds):
    values = {goal.key: [] for goal in figure.goals}
    measurement = figure.measure(bed)
    noise = []
    try:
        for _ in range(rounds):
            noise.append(machine.noise())
            for key, value in next(measurement).items():
                values[key].append(value)
    except Unavailable as why:
        return report.Measured(figure, values, noise, str(why))
    finally:
        measurement.close()
    return report.Measured(figure, values, noise)


def say(measured, seconds):
    print(f"\n{measured.figure.point}. {measured.figure.what} ({measured.figure.name}, {seconds:.0f} s)")
    if max(measured.noise) > machine.NOISE_LIMIT:
        print(f"    not alone: {measured.noise_words()}")
    if measured.reason:
        print(f"    not measured: {measured.reason}")
    elif not measured.figure.name.startswith("matrix"):
        print(*map(report.line, measured.goals()), sep="\n")
    sys.stdout.flush()


def draw(traces, directory):
    for name, outcomes in traces.items():
        plots.latency(directory / f"latency-{name}.svg", TITLES[name], outcomes)
        plots.progress(directory / f"progress-{name}.svg", TITLES[name], outcomes)


def publish(out, page):
    """Replaces what is between the marks in the page; FILE.md has its plots in FILE/."""
    if not (out / "results.md").exists():
        raise Failure(f"nothing in {out} to publish; measure first")
    before, rest = page.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(before + MARKS[0] + "\n\n" + (out / "results.md").read_text() + "\n" + MARKS[1] + after)
    plots_of_page = page.with_suffix("")
    plots_of_page.mkdir(exist_ok=True)
    for plot in out.glob("*.svg"):
        shutil.copy(plot, plots_of_page)


def main():
    options = arguments()
    build = os.environ.get("BUILD", "build")
    out = pathlib.Path(build) / ("bench-quick" if options.quick else "bench")
    out.mkdir(exist_ok=True)
    if options.publish:
        publish(out, options.publish)
        return 0
    all_measured = report.load(out / "results.json", FIGURES)
    good = True
    for figure in FIGURES:
        if not (figure.name in options.figures or not options.figures and (figure.quick or not options.quick)):
            continue
        began = time.monotonic()
        with Bed(build, options.quick) as bed:
            measured = measure(figure, bed, options.rounds or (1 if options.quick else 5))
            described = machine.describe(bed)
            draw(bed.traces, out)
        say(measured, time.monotonic() - began)
        good &= not measured.reason and all(r.verdict() != "MISSED" for r in measured.goals())
        if options.add and figure.name in all_measured:
            measured.add(all_measured[figure.name])
        all_measured[figure.name] = measured
        ordered = {f.name: all_measured[f.name] for f in FIGURES if f.name in all_measured}
        report.save(out / "results.json", described, ordered)
        (out / "results.md").write_text(report.markdown(described, ordered.values()))
    print(f"\n{out}: results.json, results.md and plots")
    return 0 if good else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))  # and so leave the bed
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
