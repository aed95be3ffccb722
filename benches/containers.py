#!/usr/bin/env python3
"""The container monitor as a whole (issue 7): the shipped table, real containers of podman.

usage: benches/containers.py [ROUNDS] [fifty|burst|podsec]

Needs root, podman, runc, busybox-static and a release build; for `podsec` inotifywait and
logger. Containers, images and store are the benchmark's own, and gone at its end.
"""
import json, os, subprocess, tempfile, threading, time
from contextlib import contextmanager

from kit import *
from containers_log import Syslog, TAG, cost_of_a_loop

CONTAINERS = os.path.join(TARGET, "incron-containers")
IMAGE = "localhost/bench:1"
MANY = os.path.join(HERE, "..", "tests", "overlay_operations", "operations.c")


class Podman:
    """A store of its own, on a disk: an upper layer on tmpfs is nobody's."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="incron-bench.", dir="/var/tmp")
        self.env = dict(os.environ, CONTAINERS_CONF=os.path.join(self.dir, "containers.conf"))
        with open(self.env["CONTAINERS_CONF"], "w") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=1024:1024"]\n')
        root = os.path.join(self.dir, "image")
        for name in ("bin", "etc", "usr/lib"):
            os.makedirs(os.path.join(root, name))
        shutil.copy("/bin/busybox", os.path.join(root, "bin"))
        for name in ("sh", "sleep", "mkdir"):
            os.symlink("busybox", os.path.join(root, "bin", name))
        subprocess.run(["gcc", "-O2", "-static", "-o", os.path.join(root, "bin", "operations"), MANY], check=True)
        tar = os.path.join(self.dir, "image.tar")
        subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
        self("import", tar, IMAGE)
        return self

    def __exit__(self, *_):
        self("rm", "-fa", "-t0")
        # What podman starts at a container's end would mount the store again, and a podman
        # that was ended at work has left its monitor waiting.
        helpers = lambda: subprocess.run(["pgrep", "-f", self.dir + "/store"],
                                         capture_output=True, text=True).stdout.split()
        patience = time.monotonic() + 10
        while helpers() and time.monotonic() < patience:
            time.sleep(0.02)
        if left := helpers():
            subprocess.run(["kill", *left])
        until("podman's helpers", lambda: not helpers())
        for point in reversed([line.split()[4] for line in open("/proc/self/mountinfo") if self.dir in line]):
            subprocess.run(["umount", "-l", point])
        shutil.rmtree(self.dir)

    def __call__(self, *words):
        at = ["--root", self.dir + "/store", "--runroot", self.run, "--tmpdir", self.dir + "/tmp"]
        done = subprocess.run(["podman", *at, "--storage-driver", "overlay", "--runtime", "runc", *words],
                              env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout.strip()

    @property
    def run(self):
        return self.dir + "/run"

    def start(self, *command):
        return self("run", "-d", "--network", "none", IMAGE, *(command or ("sleep", "100000")))

    def upper(self, container):
        return self("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", container)

    def pidfile(self, container):
        return f"{self.run}/overlay-containers/{container}/userdata/pidfile"


@contextmanager
def monitor(work, words):
    """The daemon with the shipped table, its words after `log`."""
    with Daemon(work) as d:
        os.mkdir(d.path("providers"))
        with open(d.path("providers", "containers"), "w") as f:
            f.write(f"#!/bin/sh\nexec {CONTAINERS} provide\n")
        os.chmod(d.path("providers", "containers"), 0o755)
        with open(d.path("incron.conf"), "a") as f:
            f.write(f"provider_dir = {d.path('providers')}\n")
        text = open(os.path.join(HERE, "..", "etc", "incron.d", "containers")).read().rstrip()
        d.table(text.replace("/usr/libexec/incron/incron-containers log", f"{CONTAINERS} log {words}") + "\n")
        yield d.start()


def status(d):
    words = [os.path.join(TARGET, "incronctl"), "status", "--json", "-f", d.path("incron.conf")]
    return json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["workers"][0]


def helpers(d):
    """The processes of provider and log; without the shells that started them."""
    below = [pid for worker in d.workers() for pid in children(worker)]
    return [pid for pid in below if "incron-containe" in open(f"/proc/{pid}/comm").read()]


def lines(path):
    try:
        return open(path, errors="replace").read().splitlines()
    except FileNotFoundError:
        return []


# A change every few milliseconds of its first second.
FIRST = "echo > /etc/first; n=0; while [ $n -lt 50 ]; do echo > /etc/$((n++)); sleep 0.02; done; sleep 100000"


def fifty(work, rounds):
    """50 running containers, each of which writes a file at once."""
    with Podman() as podman, monitor(work, "--format json --to @O/log") as d:
        out = d.path("out", "log")
        firsts, adds, missed = [], [], 0
        told = Added(podman)
        for n in range(50):
            one = podman.start("sh", "-c", FIRST)
            until("a change", lambda: any(one in line for line in lines(out)))
            seen = os.stat(out).st_mtime_ns
            own = [json.loads(line) for line in lines(out) if one in line]
            began = os.stat(podman.pidfile(one)).st_mtime_ns
            firsts.append((seen - began) / 1e6)
            until("the provider", lambda: one in told.times)
            adds.append((told.times[one] - began) / 1e6)
            missed += not any(event["path"] == "/etc/first" for event in own)
        told.end()
        row(7, "a container's start to the provider's word", adds, 200, "ms")
        row(7, "a container's start to its first change in the log", firsts, 300, "ms")
        print(f"   {50 - missed} of 50 files of a container's first moment were told", flush=True)
        now = status(d)
        row(7, "50 containers: marks", [now["fanotify"]["marks"]], 1)
        row(7, "50 containers: memory of provider and log (PSS)", [memory(helpers(d)) / 1024], 5, "MB")


class Added:
    """When a provider of its own said each container."""

    def __init__(self, podman):
        self.times = {}
        self.proc = subprocess.Popen([CONTAINERS, "provide", "--podman-run", podman.run], text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.proc.stdout:
            now, said = time.time_ns(), json.loads(line)
            if "add" in said:
                self.times.setdefault(said["add"]["labels"]["id"], now)

    def end(self):
        self.proc.kill()
        self.proc.wait()


def changes(podman, one, count):
    podman("exec", one, "mkdir", "-p", "/usr/lib/new")
    podman("exec", one, "operations", "many", "/usr/lib/new", str(count))


def of_ours(work, podman, one, words, log, count):
    """CPU microseconds a change, of worker, provider and log; what of them was logged and lost."""
    with monitor(work, words) as d:
        pids = d.workers() + helpers(d)
        until("the stream", lambda: len(helpers(d)) == 2)
        pids = d.workers() + helpers(d)
        # The worker knows all processes of the machine: what others do is no part of it.
        before, began = cpu(*pids), time.monotonic()
        time.sleep(2)
        idle = (cpu(*pids) - before) / (time.monotonic() - began)
        before, began = cpu(*pids), time.monotonic()
        changes(podman, one, count)
        until("all changes", lambda: log() >= count, pause=0.05)
        used = cpu(*pids) - before - idle * (time.monotonic() - began)
        lost = [line["stream"]["lost"] for line in status(d)["lines"] if line.get("stream")]
        return used * 1e6 / count, log(), sum(lost)


def burst(work, rounds):
    """20,000 new files in a container, each with its line, then summed."""
    count, all, summed, lost, logged = 20_000, [], [], 0, []
    with Podman() as podman:
        for n in range(rounds):
            for costs, limit in ((all, "none"), (summed, "1000/2s")):
                one, out = podman.start(), os.path.join(work, f"{n}{limit[0]}")

                def counted():
                    told = [line for line in lines(out) if "/usr/lib/new/" in line]
                    more = (line.split(" more events")[0].rsplit(" ", 1)[1] for line in told if " more events" in line)
                    return sum(map(int, more)) + sum(" more events" not in line for line in told)
                us, found, gone = of_ours(work, podman, one, f"--limit {limit} --to {out}", counted, count)
                costs.append(us)
                logged.append(count - found)
                lost += gone
                podman("rm", "-f", "-t0", one)
    row(7, "20,000 files in a container: CPU end to end", all, 30, "us")
    row(7, "the same, summed by the rate limit", summed, 30, "us")
    row(7, "the same: neither logged nor summed", logged, 0)
    row(7, "the same: lost by the stream", [lost], 0)


# Written anew from what is known of the original: inotifywait on the layers, an event a line,
# split by the shell, one logger for each.
LOOP = r"""
inotifywait -q -m -r --exclude "$1/(var|proc|tmp|run)" -e moved_from,create,delete,modify --format '%w|%e|%f' "$1" |
while IFS='|' read dir event file; do
    path=${dir#"$1"}$file
    case $path in
        /home/*|/root/*) word=Warning place='in home directory' level=5 ;;
        /etc/*) word=Warning place='in configuration directory' level=5 ;;
        *) word=Critical place= level=2 ;;
    esac
    logger -u "$2" -t "$3" -i -p "$level" \
        "$word: An event $event occurred in the container $4 $place on the file $path"
done
"""


def of_the_loop(work, podman, one, count):
    log, upper = Syslog(work), podman.upper(one)

    def change():
        time.sleep(0.3)
        changes(podman, one, count)

    layer = os.path.basename(os.path.dirname(upper))
    return cost_of_a_loop(log, [LOOP, "sh", upper, log.path, TAG, layer], count, change)


def podsec(work, rounds):
    """The same work told to a syslog socket by podsec's loop."""
    ratios, costs = [], []
    with Podman() as podman:
        for _ in range(rounds):
            one = podman.start()
            costs.append(of_the_loop(work, podman, one, 2000))
            podman("rm", "-f", "-t0", one)
            one, log = podman.start(), Syslog(work)
            us, _, _ = of_ours(work, podman, one, f"--limit none --socket {log.path}", lambda: log.count, 20_000)
            os.unlink(log.path)
            podman("rm", "-f", "-t0", one)
            ratios.append(costs[-1] / us)
    row(7, "CPU of a change: podsec's loop to ours", ratios, 10, "x", most=False)
    print(f"   of which the loop: {p50(sorted(costs)):.0f} us a change", flush=True)


if __name__ == "__main__":
    main([fifty, burst, podsec])
