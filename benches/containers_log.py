#!/usr/bin/env python3
"""What a line of the container log costs (issue 7), beside a shell loop that starts
logger(1) for each, as podsec-inotify-check-containers does.

usage: benches/containers_log.py [ROUNDS] [syslog|file|json|loop]

Needs a release build; for the loop inotifywait and logger. Figures are CPU seconds of
the processes named, user and system, divided by the events; the loop's hold those of
inotifywait, ours are those of `incron-containers log` alone, which reads what the
worker writes.
"""
import json, os, shutil, socket, subprocess, tempfile, threading

from kit import *

LOG = os.path.join(TARGET, "incron-containers")
TAG = "podsec-inotify-check-containers"
LAYER = "6f1d7f2c9b0e4a8d6f1d7f2c9b0e4a8d6f1d7f2c9b0e4a8d6f1d7f2c9b0e4a8d"
EVENTS = 100_000


def event(n):
    return json.dumps({
        "time": "2026-11-20T12:00:00.123456789Z", "host": "box", "table": "containers", "line": 1,
        "key": "containers", "watch": "/usr/lib/python3/dist-packages", "name": f"module_{n}.py",
        "path": f"/usr/lib/python3/dist-packages/module_{n}.py", "events": ["IN_CREATE"], "mask": 256,
        "dir": False,
        "actor": {"pid": 4711, "ns_pid": 7, "ppid": 4700, "exe": "/usr/bin/python3.11",
                  "cmdline": ["python3", "-m", "pip", "install", "x"], "uid": 0, "user": "root", "gid": 0,
                  "cgroup": "/system.slice/docker-0123456789ab.scope", "container": "0123456789ab",
                  "parents": [{"pid": 4700, "exe": "/bin/sh"}], "confidence": "exact"},
        "labels": {"engine": "podman", "id": LAYER, "image": "docker.io/library/python:3", "layer": LAYER,
                   "name": "web", "owner": "root", "pid": "4600", "pod": "front"},
        "origin": "kernel", "seq": n})


class Syslog:
    """A socket that takes every datagram and counts them."""

    def __init__(self, work):
        self.path, self.count = os.path.join(work, "log.sock"), 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(self.path)
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        while True:
            self.socket.recv(65536)
            self.count += 1


def ours(work, *args):
    """CPU microseconds an event of `incron-containers log ARGS`."""
    path = os.path.join(work, "events")
    if not os.path.exists(path):
        with open(path, "w") as f:
            f.writelines(event(n) + "\n" for n in range(EVENTS))
    with open(path, "rb") as f, open(os.devnull, "w") as null:
        child = subprocess.Popen([LOG, "log", "--limit", "none", *args], stdin=subprocess.PIPE, stdout=null)
        shutil.copyfileobj(f, child.stdin)
        child.stdin.flush()
        # All but what the pipe holds is read; the peak is this program's own, which that
        # of wait4 is not: there it begins with its parent's.
        peak = [int(line.split()[1]) for line in open(f"/proc/{child.pid}/status") if line.startswith("VmHWM")]
        child.stdin.close()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = status
    assert status == 0
    return (used.ru_utime + used.ru_stime) * 1e6 / EVENTS, peak[0]


def to_syslog(work):
    log = Syslog(work)
    try:
        cost = ours(work, "--socket", log.path)
        until("all datagrams", lambda: log.count == EVENTS)
        return cost
    finally:
        os.unlink(log.path)


# Written anew from what is known of the original: an event a line, split by the shell,
# one logger for each.
LOOP = r"""
inotifywait -q -m -r -e moved_from,create,delete,modify --format '%w|%e|%f' "$1" |
while IFS='|' read dir event file; do
    path=${dir#"$1"}$file
    case $path in
        /home/*|/root/*) word=Warning place='in home directory' level=5 ;;
        /etc/*) word=Warning place='in configuration directory' level=5 ;;
        *) word=Critical place= level=2 ;;
    esac
    logger -u "$2" -t "$3" -i -p "$level" \
        "$word: An event $event occurred in the container layer $place on the file $path"
done
"""


def watches(pid):
    try:
        return any("inotify wd" in open(f"/proc/{pid}/fdinfo/{fd}").read() for fd in os.listdir(f"/proc/{pid}/fdinfo"))
    except OSError:
        return False


def cost_of_a_loop(log, words, count, work):
    """A shell loop around inotifywait tells `log` of `count` changes that `work` makes: CPU of one, in us."""
    child = subprocess.Popen(["sh", "-c", *words])
    try:
        until("its watch", lambda: any(map(watches, children(child.pid))))
        work()
        until("all messages", lambda: log.count >= count, 120)
    finally:
        for pid in children(child.pid):
            if open(f"/proc/{pid}/comm").read() == "inotifywait\n":
                os.kill(pid, 15)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = status
        os.unlink(log.path)
    return (used.ru_utime + used.ru_stime) * 1e6 / count


def of_the_loop(work, count=1000):
    log, watched = Syslog(work), tempfile.mkdtemp(dir=work)

    def make():
        for n in range(count):
            os.close(os.open(os.path.join(watched, f"f{n}"), os.O_CREAT | os.O_WRONLY))

    return cost_of_a_loop(log, [LOOP, "sh", watched, log.path, TAG], count, make)


def syslog(work, rounds):
    """Sentences to a syslog socket."""
    costs = [to_syslog(work) for _ in range(rounds)]
    row(7, "container log, syslog: CPU of an event", [us for us, _ in costs], 10, "us")
    row(7, "container log: memory at most", [rss / 1024 for _, rss in costs], 5, "MiB")


def file(work, rounds):
    """Sentences to a file."""
    out = os.path.join(work, "out")
    row(7, "container log, file: CPU of an event", [ours(work, "--to", out)[0] for _ in range(rounds)], 10, "us")


def as_json(work, rounds):
    """Objects to a file."""
    out = os.path.join(work, "out.json")
    costs = [ours(work, "--format", "json", "--to", out)[0] for _ in range(rounds)]
    row(7, "container log, JSON to a file: CPU of an event", costs, 10, "us")


def loop(work, rounds):
    """The same lines by a shell loop."""
    pairs = [(of_the_loop(work), to_syslog(work)[0]) for _ in range(rounds)]
    row(7, "container log: a shell loop's CPU to ours", [theirs / our for theirs, our in pairs], 20, "x", most=False)
    print(f"   of which the loop: {p50(sorted(theirs for theirs, _ in pairs)):.0f} us an event", flush=True)


if __name__ == "__main__":
    main([syslog, file, as_json, loop])
