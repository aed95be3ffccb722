#!/usr/bin/env python3
"""Many events, many lines: streams, filters, settling (issue 5).

usage: benches/flow.py [ROUNDS] [stream|filters|settle|behind ...]    needs root
"""
import os, signal, subprocess, threading, time

import peer
from kit import *

QUEUE = 262_144


def burst(d, worker, flood, directory, count, mode, then=lambda d: None):
    """Makes `count` events, and does `then`, while the worker stands still, so that
    all of them are there when it goes on."""
    os.kill(worker, signal.SIGSTOP)
    subprocess.run([flood, directory, str(count), mode], check=True)
    then(d)
    os.kill(worker, signal.SIGCONT)


def change_mounts(d):
    """A file system comes and goes."""
    place = d.path("run", "mount")
    os.makedirs(place, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    subprocess.run(["umount", place], check=True)


def commands_a_second(work):
    """What the bare C loop runs a second: the floor of issue 2."""
    floor, = compile(work, "floor")
    return peer.burst(floor, work, peer.build_stamp(work), 2000)["burst_cmds_per_s"]


def read_so_far(pid):
    for line in open(f"/proc/{pid}/io"):
        if line.startswith("rchar"):
            return int(line.split()[1])
    return 0


def drain(reader, quiet=0.3):
    """Seconds until the process has read its last byte."""
    started = time.monotonic()
    size, last = read_so_far(reader), started
    while time.monotonic() - last < quiet:
        time.sleep(0.002)
        now = read_so_far(reader)
        if now != size:
            size, last = now, time.monotonic()
    return last - started


def stream(work, rounds):
    """File events through the daemon into `cat > /dev/null`."""
    (flood,) = compile(work, "flood")
    count, ratios, used, used_all, lost = 150_000, [], [], [], []
    for _ in range(rounds):
        base = commands_a_second(work)
        with Daemon(work, queue=QUEUE) as d:
            d.table("@W IN_MODIFY,run=stream cat > /dev/null\n")
            d.start()
            worker = d.worker()
            until("the stream", lambda: children(worker))
            subprocess.run([flood, d.path("watched"), "1000", "modify"], check=True)
            before = settled(worker)
            cat = d.tree()[-1]  # the shell's child, or what it became
            assert open(f"/proc/{cat}/comm").read() == "cat\n"
            cat_before = cpu(cat)
            burst(d, worker, flood, d.path("watched"), count, "modify")
            wall = drain(cat)
            ours = settled(worker) - before
            ratios.append(count / wall / base)
            used.append(ours * 1e6 / count)
            used_all.append((ours + cpu(cat) - cat_before) * 1e6 / count)
            assert "overflow" not in d.log(), d.log()
            lost.append(d.log().count("lost"))
    row(5, "stream: events/s to the floor's commands/s", ratios, 20, "x", most=False)
    row(5, "stream: CPU of the worker an event", used, 3, "us")
    row(5, "stream: CPU of worker and cat an event", used_all, 3, "us")
    row(5, "stream: losses logged", lost, 0)


def filters(work, rounds):
    """1,000 lines on one directory, each with another include=."""
    stamp, flood = compile(work, "stamp", "flood")
    count, turns, costs, deep, ratios, single, many = 1500, 10, [], [], [], [], []
    lines = "".join(f"@W IN_CLOSE_WRITE,include=l{i} {stamp} @O/stamps $#\n" for i in range(1000))
    for _ in range(rounds):
        with Daemon(work, queue=QUEUE) as one, Daemon(work, queue=QUEUE) as d:
            one.table(f"@W IN_CLOSE_WRITE,include=l* {stamp} @O/stamps $#\n")
            d.table(lines)
            one.start()
            d.start()
            worker = d.worker()
            before = settled(worker)
            for _ in range(turns):  # each is one read
                burst(d, worker, flood, d.path("watched"), count, "close")
                settled(worker, 0.05)
            costs.append((settled(worker) - before) * 1e6 / count / turns)
            before = settled(worker)
            burst(d, worker, flood, d.path("watched"), count * turns, "close")
            deep.append((settled(worker) - before) * 1e6 / count / turns)
            latency = {one: [], d: []}
            for turn in range(6):
                for daemon in latency:
                    latency[daemon] += latencies(daemon.path("out", "stamps"), daemon.path("watched"), 50,
                                                 first=50 * turn)
            single.append(p50(sorted(latency[one])) * 1e6)
            many.append(p50(sorted(latency[d])) * 1e6)
            ratios.append(many[-1] / single[-1])
    row(5, "1,000 lines, none matches: CPU of an event", costs, 20, "us")
    row(5, "1,000 lines, none matches: the same, many reads behind", deep, 20, "us")
    row(5, "1,000 lines, one matches: latency p50 to a single line's", ratios, 1.5, "x")


def settle(work, rounds):
    """1,000,000 events of one path while its line waits for quiet."""
    (flood,) = compile(work, "flood")
    grown, used = [], []
    for _ in range(rounds):
        with Daemon(work, queue=QUEUE) as d:
            d.table("@W IN_MODIFY,IN_ATTRIB,settle=60s,max-wait=1h /bin/true\n")
            d.start()
            worker = d.worker()
            for part in range(10):
                burst(d, worker, flood, d.path("watched"), 100_000, "one")
                settled(worker, 0.1)
                if part == 1:  # what a full queue needs was needed then
                    first, before = memory([worker], "Pss_Anon"), cpu(worker)
            grown.append(memory([worker], "Pss_Anon") - first)
            used.append((cpu(worker) - before) * 1e6 / 800_000)
            assert "overflow" not in d.log(), d.log()
    row(5, "settling, 1,000,000 events of one path: memory grows by", grown, 128, "KiB")
    row(5, "settling: CPU of an event", used, 3, "us")


def peak(pid):
    """KiB of its own that the process has had in memory at most: without the pages of
    its program, which come with what it happens to do (proc_pid_status(5))."""
    words = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return int(words["VmHWM"].split()[0]) - int(words["RssFile"].split()[0])


def behind(work, rounds):
    """Events of one path that are all in the queue when the worker goes on, so that
    it is never empty until the last is read: what is kept for a rescan is kept. The
    mounts have changed meanwhile: all that was queued before is told first."""
    (flood,) = compile(work, "flood")
    # A word each would take 24 B: 21 MB, and 430 MB.
    for name, lines, most, bound in (("one line", 1, 1_000_000, 128), ("1,000 lines", 1000, 20_000, 1024)):
        grown = []
        for _ in range(rounds):
            peaks = {}
            for count in (most // 10, most):
                with Daemon(work, queue=most + 1000) as d:
                    options = "IN_MODIFY,IN_ATTRIB,settle=60s,max-wait=1h"
                    d.table("".join(f"@W {options},key=k{i} /bin/true\n" for i in range(lines)))
                    d.start()
                    settled(d.worker())
                    burst(d, d.worker(), flood, d.path("watched"), count, "one", change_mounts)
                    settled(d.worker())
                    assert "overflow" not in d.log(), d.log()
                    peaks[count] = peak(d.worker())
            grown.append(peaks[most] - peaks[most // 10])
        row(5, f"{most:,} events of one path unread, {name}: peak to a tenth's", grown, bound, "KiB")


if __name__ == "__main__":
    main([stream, filters, settle, behind])
