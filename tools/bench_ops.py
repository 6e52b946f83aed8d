#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times ldnq's kernels against ONNX Runtime's, one operator at a time.

The sizes are those of networks that people export (bench_ops_cases.py). The two take
turns on the same input; outputs are compared first. With one thread processor time
counts. A ratio is ONNX Runtime's time / ours, each the median over the turns. The summary
tells the median and the least ratio per family, and which cases are below the bar."""

import argparse
import statistics
import sys
import tempfile
import time

import numpy

import bench_ops_cases
from bench import PAUSE, Ours, seconds_now, session

# Seconds of runs in a turn, and the most runs.
TURN, MOST_RUNS = .004, 20


def median_of_turn(times):
    """Without the first run, which finds caches cold and threads asleep."""
    return statistics.median(times[1:] or times)


def time_case(case, threads, turns, folder):
    """Both medians in seconds; the outputs must agree."""
    path = f"{folder}/case.onnx"
    case.write(path)
    data = case.input()
    reference = session(path, threads)
    feeds = {"x": data}
    start = time.perf_counter()
    expected = reference.run(None, feeds)[0]
    runs = int(min(MOST_RUNS, max(2, TURN / (time.perf_counter() - start))))
    ours = Ours(path, data, threads, folder)
    error = numpy.abs(ours.output - expected).max() / max(1e-30, numpy.abs(expected).max())
    if not error < case.tolerance:
        sys.exit(f"{case.name}: outputs differ by {error:.2g}")
    both = [], []
    for _ in range(turns):
        if threads > 1:
            time.sleep(PAUSE)
        times = []
        for _ in range(runs):
            start = seconds_now(threads)
            reference.run(None, feeds)
            times.append(seconds_now(threads) - start)
        both[0].append(median_of_turn(times))
        if threads > 1:
            time.sleep(PAUSE)
        both[1].append(median_of_turn(ours(runs)))
    ours.finish()
    return [statistics.median(times) for times in both]


def print_summary(ratios, bar):
    for family in sorted({family for family, _ in ratios}):
        those = [ratio for (of, _), ratio in ratios.items() if of == family]
        print(f"{family:12} {len(those):4} median {statistics.median(those):5.2f} "
              f"least {min(those):5.2f}")
    print(f"{'all':12} {len(ratios):4} median {statistics.median(ratios.values()):5.2f} "
          f"least {min(ratios.values()):5.2f} below {bar:g}: "
          f"{sum(ratio < bar for ratio in ratios.values())}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--family", nargs="+", help="these only; all by default")
    parser.add_argument("--set", choices=["conv", "other", "all"], default="all",
                        help="convolutions, or all other operators")
    parser.add_argument("--match", default="", help="only cases whose name has this")
    parser.add_argument("--bar", type=float, default=.8, help="count cases below this ratio")
    arguments = parser.parse_args()

    cases = [case for name, cases in (("conv", bench_ops_cases.convolutions()),
                                      ("other", bench_ops_cases.others()))
             if arguments.set in (name, "all") for case in cases
             if arguments.match in case.name and
             (not arguments.family or case.family in arguments.family)]
    with tempfile.TemporaryDirectory() as folder:
        for threads in arguments.threads:
            ratios = {}
            print(f"{threads} thread(s)     ORT us   ldnq us  ratio", flush=True)
            for case in cases:
                theirs, ours = time_case(case, threads, arguments.turns, folder)
                ratios[case.family, case.name] = theirs / ours
                print(f"{case.family:12} {1e6 * theirs:9.1f} {1e6 * ours:9.1f} "
                      f"{theirs / ours:6.2f}  {case.name}", flush=True)
            print_summary(ratios, arguments.bar)


if __name__ == "__main__":
    main()
