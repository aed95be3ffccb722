#!/usr/bin/env python3
"""A worker for every user: memory, start, fairness, installation (issue 3).

Makes 100 accounts `incbench0` ... `incbench99` and removes them at the end.

usage: benches/users.py [ROUNDS] [memory_of_users|hundred|fairness|installation ...]    needs root
"""
import os, pwd, subprocess, time

from kit import *

USERS = [f"incbench{i}" for i in range(100)]


def account(name):
    """The account's uid; made where it is not there."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        subprocess.run(["useradd", "-M", "-N", "-s", "/bin/sh", name], check=True)
        return pwd.getpwnam(name).pw_uid


def remove_accounts():
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in known.intersection(USERS):
        subprocess.run(["userdel", name], check=False)


def ready_users(d, count):
    """Waits until the workers of `count` users watch."""
    until(f"{count} workers", lambda: len(d.workers()) >= count, 30, 0.01)
    for pid in d.workers():
        settled(pid, 0.1)


def memory_of_users(work, rounds):
    """What a second user adds to all processes."""
    added = []
    first, second = account(USERS[0]), account(USERS[1])
    for _ in range(rounds):
        with Daemon(work) as d:
            d.user_table(USERS[0], first, "@W IN_CLOSE_WRITE /bin/true $#\n")
            d.start()
            ready_users(d, 1)
            before = memory(d.tree())
            d.user_table(USERS[1], second, "@W IN_CLOSE_WRITE /bin/true $#\n")
            ready_users(d, 2)
            added.append(memory(d.tree()) - before)
    row(3, "a second user: memory of all processes (PSS)", added, 1024, "KiB")


def hundred(work, rounds):
    """100 users with a line each."""
    uids = [account(name) for name in USERS]
    used, walls = [], []
    for _ in range(rounds):
        with Daemon(work) as d:
            for name, uid in zip(USERS, uids):
                d.user_table(name, uid, "@W IN_CLOSE_WRITE /bin/true $#\n")
            d.start()
            used.append(cpu(*d.tree()))
            walls.append(d.ready_after)
            assert len(d.workers()) >= 100, d.log()
    row(3, "100 users: CPU of all processes until ready", used, 1, "s")
    row(3, "100 users: time until ready", walls, 60, "s")


def fairness(work, rounds):
    """One user's events while another's commands burn CPU at full speed."""
    stamp, burn = compile(work, "stamp", "burn")
    quiet, loud = account(USERS[0]), account(USERS[1])
    medians, tails = [], []
    for _ in range(rounds):
        with Daemon(work) as d:
            for name, uid in (("quiet", quiet), ("loud", loud)):
                os.mkdir(d.path(name))
                os.chown(d.path(name), uid, -1)
            d.user_table(USERS[0], quiet, f"{d.path('quiet')} IN_CLOSE_WRITE {stamp} @O/stamps $#\n")
            d.user_table(USERS[1], loud, f"{d.path('loud')} IN_CLOSE_WRITE {burn} 20 {d.path('loud')} $#\n")
            d.start()
            ready_users(d, 2)
            usual = latencies(d.path("out", "stamps"), d.path("quiet"), 200)
            touch(d.path("loud", "start"))
            time.sleep(2)  # 64 commands at once
            flooded = latencies(d.path("out", "stamps"), d.path("quiet"), 200, first=1000)
            medians.append(p50(flooded) / p50(usual))
            tails.append(flooded[180] / usual[180])
            for pid in d.tree():  # no new commands while it stops
                if os.stat(f"/proc/{pid}").st_uid == loud:
                    os.kill(pid, 9)
    row(3, "event of a user while another floods: latency p50", medians, 2, "x")
    row(3, "event of a user while another floods: latency p90", tails, 2, "x")


def installation(work, rounds):
    """From `incrontab FILE` to the creation of the first file whose event runs a command."""
    (stamp,) = compile(work, "stamp")
    account(USERS[0])
    medians = []
    for _ in range(rounds):
        with Daemon(work) as d:
            d.table(f"@W IN_CLOSE_WRITE /bin/true\n")
            d.start()
            took = [install(d, stamp, turn) for turn in range(12)]
            medians.append(p50(sorted(took)) * 1e3)
    row(3, "installing a table to its first possible event, p50", medians, 50, "ms")


def install(d, stamp, turn):
    directory, out = d.path("watched", f"t{turn}"), d.path("out", f"t{turn}")
    os.mkdir(directory)
    text = f"{directory} IN_CLOSE_WRITE {stamp} {out} $#\n"
    made, started = {}, time.monotonic()
    editor = subprocess.Popen([INCRONTAB, "-f", d.path("incron.conf"), "-u", USERS[0], "-"],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    editor.stdin.write(text.encode())
    editor.stdin.close()
    while not os.path.exists(out):
        name = f"f{len(made)}"
        made[name] = time.monotonic()
        touch(os.path.join(directory, name))
        time.sleep(0.001)
        if made[name] - started > 20:
            raise SystemExit("no event after the installation: " + d.log()[-800:])
    editor.wait()
    time.sleep(0.05)
    first = min(made[name] for name in stamps(out))
    return first - started


if __name__ == "__main__":
    try:
        main([memory_of_users, hundred, fairness, installation])
    finally:
        remove_accounts()
