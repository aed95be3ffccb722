"""What the figures of docs/benchmarks.md share: a daemon in a prefix of its own,
what its processes cost, and the rows of the table.

CPU is the on-CPU time that the scheduler counts in nanoseconds (schedstat), which
the load of others on the machine disturbs far less than the wall clock.
"""
import json, os, shutil, signal, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("INCRON_TARGET", os.path.join(HERE, "..", "target", "release"))
INCROND = os.path.join(TARGET, "incrond")
INCRONTAB = os.path.join(TARGET, "incrontab")
MAX_QUEUED = "/proc/sys/fs/inotify/max_queued_events"


def compile(work, *names):
    """The C programs of these names, static, in `work`; their paths."""
    out = []
    for name in names:
        out.append(os.path.join(work, name))
        subprocess.run(["gcc", "-O2", "-static", "-o", out[-1], os.path.join(HERE, name + ".c")], check=True)
    return out


# Who ends a benchmark has its containers, mounts and sysctls put back, too.
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit("ended by a signal"))


def until(what, condition, limit=60, pause=0.002):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(pause)


class Work:
    """A directory on tmpfs for one benchmark, open to every user."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="incron-bench.", dir="/dev/shm")
        os.chmod(self.dir, 0o755)
        return self.dir

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


class Daemon:
    """Our daemon in a prefix below `work`; write tables, then start()."""

    def __init__(self, work, queue=None):
        """queue: the length of the inotify queues of its processes (a sysctl that
        each queue keeps as it was when it was made; put back once all are)."""
        self.dir, self.queue, self.proc = tempfile.mkdtemp(dir=work), queue, None
        os.chmod(self.dir, 0o755)
        for name, mode in (("tables", 0o755), ("spool", 0o700), ("run", 0o755), ("state", 0o700),
                           ("watched", 0o755), ("out", 0o1777)):
            os.mkdir(self.path(name))
            os.chmod(self.path(name), mode)
        with open(self.path("incron.conf"), "w") as f:
            f.write("\n".join(f"{key} = {self.dir}/{value}" for key, value in (
                ("system_table_dir", "tables"), ("user_table_dir", "spool"), ("lockfile_dir", "run"),
                ("allowed_users", "allow"), ("denied_users", "deny"),
                ("control_socket", "run/control.sock"), ("state_dir", "state"))) + "\nlog = stderr\n")

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def fill(self, text):
        return text.replace("@W", self.path("watched")).replace("@O", self.path("out"))

    def table(self, text, name="bench"):
        self._write(self.path("tables", name), self.fill(text), 0, 0o644)

    def user_table(self, user, uid, text):
        self._write(self.path("spool", user), self.fill(text), uid, 0o600)

    def _write(self, path, text, uid, mode):
        new = self.path("run", "new")
        with open(new, "w") as f:
            f.write(text)
        os.chmod(new, mode)
        os.chown(new, uid, -1)
        os.rename(new, path)

    def start(self):
        kept = open(MAX_QUEUED).read()
        try:
            if self.queue:
                open(MAX_QUEUED, "w").write(str(self.queue))
            self.started = time.monotonic()
            with open(self.path("log"), "wb") as log:
                self.proc = subprocess.Popen([INCROND, "-n", "-f", self.path("incron.conf")],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            until("the daemon to be ready", self.ready)
            self.ready_after = time.monotonic() - self.started
        finally:
            if self.queue:
                open(MAX_QUEUED, "w").write(kept)
        return self

    def ready(self):
        if self.proc.poll() is not None:
            raise SystemExit("the daemon ended: " + self.log()[-800:])
        return "ready to process filesystem events" in self.log()

    def log(self):
        return open(self.path("log"), errors="replace").read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc and self.proc.poll() is None:
            for pid in self.workers():
                try:
                    os.kill(pid, signal.SIGCONT)
                except OSError:
                    pass
            self.proc.terminate()
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def workers(self):
        return children(self.proc.pid)

    def worker(self):
        return self.workers()[0]

    def tree(self):
        found, todo = [], [self.proc.pid]
        while todo:
            found.append(todo.pop())
            todo += children(found[-1])
        return found


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, open(f"/proc/{pid}/task/{task}/children").read().split())
    except OSError:
        pass
    return found


def cpu(*pids):
    """Seconds on a CPU of the threads of these processes that live."""
    ns = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            ns += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
    return ns / 1e9


def memory(pids, key="Pss"):
    """KiB of these processes: `Pss`, `Pss_Anon`."""
    kib = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith(key + ":"):
                kib += int(line.split()[1])
    return kib


def settled(pid, quiet=0.25):
    """Waits until the process has used no CPU for `quiet` seconds; the sum it has used."""
    last, since = cpu(pid), time.monotonic()
    while time.monotonic() - since < quiet:
        time.sleep(0.01)
        now = cpu(pid)
        if now - last > 50e-6:
            since = time.monotonic()
        last = now
    return last


def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def stamps(path):
    """name -> monotonic seconds, of what stamp.c has written."""
    try:
        lines = [line.rstrip("\n").split("\t") for line in open(path)]
    except FileNotFoundError:
        return {}
    return {line[1]: int(line[0]) / 1e9 for line in lines if len(line) > 1}


def latencies(out, directory, count, pause=0.006, first=0):
    """From close(2) to the hook's first instruction, sorted, in seconds; the hook of
    `directory` is `stamp OUT $#`."""
    sent = {}
    for i in range(first, first + count):
        name = f"l{i}"
        fd = os.open(os.path.join(directory, name), os.O_CREAT | os.O_WRONLY)
        sent[name] = time.monotonic()
        os.close(fd)
        time.sleep(pause)
    until("the hooks", lambda: sent.keys() <= stamps(out).keys(), 30, 0.02)
    got = stamps(out)
    return sorted(got[name] - at for name, at in sent.items())


def p50(sorted_values):
    return statistics.median(sorted_values)


def row(issue, figure, values, bound, unit="", most=True):
    """One line of the table: the median of the rounds, their spread, the bound."""
    median = statistics.median(values)
    good = median <= bound if most else median >= bound
    text = {"issue": issue, "figure": figure, "median": median, "low": min(values), "high": max(values),
            "bound": bound, "unit": unit, "most": most, "good": good}
    show(text)
    if "INCRON_ROWS" in os.environ:
        with open(os.environ["INCRON_ROWS"], "a") as f:
            f.write(json.dumps(text) + "\n")


def show(r):
    sign = "<=" if r["most"] else ">="
    print(f"{r['issue']}  {r['figure']:58} {r['median']:>9.4g} [{r['low']:.4g}..{r['high']:.4g}] "
          f"{sign} {r['bound']:g} {r['unit']:7} {'ok' if r['good'] else 'MISSED'}", flush=True)


def main(cases):
    """usage: SCRIPT [ROUNDS] [CASE ...]"""
    words = sys.argv[1:]
    rounds = int(words.pop(0)) if words and words[0].isdigit() else 3
    for case in cases:
        if not words or case.__name__ in words:
            with Work() as work:
                case(work, rounds)
