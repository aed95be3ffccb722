#!/usr/bin/env python3
"""One event, one command (issue 2): beside floor.c and Debian's incron, in turn.

usage: benches/command.py [ROUNDS] [beside_floor|beside_incron|directory ...]    needs root
"""
import os

import peer
from kit import *
from trees import LINE, plant

INCRON = "/usr/sbin/incrond"
OURS = "log = stderr\ncontrol_socket = @DIR@/control.sock\nstate_dir = @DIR@/state\n"


def paired(work, stamp, other, case, rounds):
    """(ours, other's) figures of each round; who is first changes."""
    peer.EXTRA[INCROND] = OURS
    pairs = []
    for turn in range(rounds):
        order = [INCROND, other] if turn % 2 == 0 else [other, INCROND]
        got = {binary: case(binary, work, stamp) for binary in order}
        pairs.append((got[INCROND], got[other]))
    return pairs


def ratios(pairs, key):
    return [ours[key] / other[key] for ours, other in pairs]


def beside_floor(work, rounds):
    (floor,) = compile(work, "floor")
    stamp = peer.build_stamp(work)
    pairs = paired(work, stamp, floor, peer.latency, rounds)
    row(2, "close to start of command, p50, to the floor's", ratios(pairs, "latency_p50_us"), 1.15, "x")
    row(2, "close to start of command, p99, to the floor's", ratios(pairs, "latency_p99_us"), 1.3, "x")
    pairs = paired(work, stamp, floor, peer.burst, rounds)
    row(2, "3,000 files: commands/s to the floor's", ratios(pairs, "burst_cmds_per_s"), 0.9, "x", most=False)
    row(2, "3,000 files: lost", [ours["burst_lost"] for ours, _ in pairs], 0)


def beside_incron(work, rounds):
    if not os.access(INCRON, os.X_OK):
        return print(f"{INCRON} is not installed: its ratios are left out")
    stamp = peer.build_stamp(work)
    pairs = paired(work, stamp, INCRON, peer.latency, rounds)
    row(2, "close to start of command, p50, to incron's", ratios(pairs, "latency_p50_us"), 0.25, "x")
    row(2, "idle memory of all processes (PSS), to incron's", ratios(pairs, "idle_pss_kb"), 2, "x")
    pairs = paired(work, stamp, INCRON, peer.burst, 1)  # incron takes long
    row(2, "3,000 files: commands/s to incron's", ratios(pairs, "burst_cmds_per_s"), 10, "x", most=False)
    pairs = paired(work, stamp, INCRON, peer.setup, rounds)
    row(2, "10,000 directories: time to the first command, to incron's", ratios(pairs, "setup_10k_dirs_ms"), 0.7, "x")
    lost = peer.mkdir_race(INCROND, work, stamp)["mkdir_race_lost"]
    row(2, "200 x mkdir -p a/b/c && : > a/b/c/f: lost", [lost], 0)


def directory(work, rounds):
    """User-space memory a directory, at 10,000."""
    count, sizes, empty = 10_000, [], 0
    trunk = os.path.join(work, "trunk")
    os.mkdir(trunk)
    for planted in [False] + [True] * rounds:
        if planted and not os.listdir(trunk):
            plant(trunk, count)
        with Daemon(work) as d:
            d.table(LINE.replace("@W", trunk))
            d.start()
            settled(d.worker())
            held = memory([d.worker()], "Pss_Anon")
        if planted:
            sizes.append((held - empty) * 1024 / count)
        else:
            empty = held
    row(2, "10,000 directories: user-space memory a directory", sizes, 200, "B")


if __name__ == "__main__":
    main([beside_floor, beside_incron, directory])
