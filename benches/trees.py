#!/usr/bin/env python3
"""Large trees, full queues, and rest (issue 4, and the memory of issue 2).

usage: benches/trees.py [ROUNDS] [overflow|tree|idle ...]    needs root
"""
import json, os, signal, subprocess, time

from kit import *

# By itself a system line on so many directories takes fanotify, which has no set-up.
LINE = "@W IN_CREATE,IN_CLOSE_WRITE,IN_MOVED_TO,run=stream,source=inotify cat > @O/events\n"


def overflow(work, rounds):
    """20,000 new files in 20 directories through a queue of 64 events."""
    lost, twice, used = [], [], []
    for _ in range(rounds):
        with Daemon(work, queue=64) as d:
            for i in range(20):
                os.mkdir(d.path("watched", str(i)))
            d.table("@W IN_CLOSE_WRITE,run=stream cat > @O/events\n")
            d.start()
            worker = d.worker()
            before = settled(worker)
            for j in range(1000):
                for i in range(20):
                    touch(d.path("watched", str(i), f"f{j}"))
            used.append(settled(worker, 0.5) - before)
            told = [json.loads(line)["path"] for line in open(d.path("out", "events"))]
            lost.append(20000 - len(set(told)))
            twice.append(len(told) - len(set(told)))
    row(4, "overflow, 20,000 files: lost", lost, 0)
    row(4, "overflow, 20,000 files: told a second time", twice, 0)
    row(4, "overflow, 20,000 files: CPU of the worker", used, 1, "s")


def plant(top, count):
    """`count` directories, 10 in each."""
    made, level = 1, [top]
    while made < count:
        below = []
        for directory in level:
            for i in range(10):
                if made == count:
                    return
                below.append(f"{directory}/directory-{i}")
                os.mkdir(below[-1])
                made += 1
        level = below


def tree(work, rounds):
    """Set-up, memory and rescan of 100,000 directories."""
    (floor,) = compile(work, "setup_floor")
    count, ratios, walls, sizes, rescans = 100_000, [], [], [], []
    with Daemon(work, queue=64) as d:
        d.table(LINE)
        d.start()
        small = d.worker()
        empty_cpu, empty_kib = settled(small), memory([small], "Pss_Anon")
    trunk = os.path.join(work, "trunk")
    os.mkdir(trunk)
    plant(trunk, count)
    subprocess.run([floor, trunk], check=True, stdout=subprocess.DEVNULL)  # warm
    for _ in range(rounds):
        base, wall, _ = map(int, subprocess.run([floor, trunk], check=True, capture_output=True).stdout.split())
        with Daemon(work, queue=64) as d:
            d.table(LINE.replace("@W", trunk))
            d.start()
            worker = d.worker()
            ratios.append((cpu(worker) - empty_cpu) / (base / 1e9))
            walls.append(d.ready_after / (wall / 1e9))
            settled(worker)
            sizes.append((memory([worker], "Pss_Anon") - empty_kib) * 1024 / count)
            before = settled(worker)
            os.kill(worker, signal.SIGSTOP)
            for i in range(100):
                touch(os.path.join(trunk, f"r{i}"))
            os.kill(worker, signal.SIGCONT)
            rescans.append(settled(worker, 0.5) - before)
            told = open(d.path("out", "events")).read()
            assert all(f'/r{i}"' in told for i in range(100)), "the rescan has missed a file"
            for i in range(100):
                os.unlink(os.path.join(trunk, f"r{i}"))
    row(4, "100,000 directories: set-up, CPU, to the C loop's", ratios, 1.3, "x")
    row(4, "100,000 directories: start to ready, to the C loop's time", walls, 1.3, "x")
    row(4, "100,000 directories: user-space memory a directory", sizes, 200, "B")
    row(4, "100,000 directories: CPU of a rescan", rescans, 1, "s")


def idle(work, rounds):
    """Wake-ups of all processes of an idle daemon in a minute."""
    del rounds  # a minute each: once
    with Daemon(work) as d:
        d.table("@W IN_CLOSE_WRITE /bin/true\n@W IN_DELETE,run=stream cat > /dev/null\n"
                "@W/not-there IN_CLOSE_WRITE,settle=2s /bin/true\n")
        d.user_table("nobody", 65534, "@W/not-there-either IN_CLOSE_WRITE /bin/true\n")
        d.start()
        touch(d.path("watched", "one"))
        time.sleep(3)
        before = switches(d.tree())
        time.sleep(60)
        row(4, "idle: wake-ups of all processes in a minute", [switches(d.tree()) - before], 0)


def switches(pids):
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            for line in open(f"/proc/{pid}/task/{task}/status"):
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
    return total


if __name__ == "__main__":
    main([overflow, tree, idle])
