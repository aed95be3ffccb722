#!/usr/bin/env python3
"""Who did it: what a line with who=true costs, beside auditd on the same work.

The work is tests/actor_kit/storm.c: processes of another user that each remove a
file, reaped at once. auditd runs with a configuration of its own and one rule: unlink and
unlinkat in that directory, which is no more than we are asked for, or a watch of what is
written there (-w DIR -p wa), as people have it. Rule and audit are taken back.
"""
import json, os, pwd, resource, signal, subprocess, tempfile
from kit import Daemon, HERE, children, compile, cpu, main, row, settled, until

KIT = os.path.join(HERE, "..", "tests", "actor_kit")
# One that has a name: auditd asks all over again for one that has not.
UID, COUNT = pwd.getpwnam("nobody").pw_uid, 2000
RM = os.path.realpath("/bin/rm")


def programs(work):
    out = {}
    for name in ("storm", "unlink"):
        out[name] = os.path.join(work, name)
        subprocess.run(["gcc", "-O2", "-static", "-o", out[name], os.path.join(KIT, name + ".c")], check=True)
    return out


def storm(programs, program, directory, at_once):
    """Plays it; the seconds of CPU of its own processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([programs["storm"], program, directory, str(COUNT), str(at_once), str(UID)], check=True,
                   stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


REMOVALS = ("-a", "always,exit", "-F", "arch=b64", "-S", "unlink,unlinkat", "-F", "dir={}")
WATCH = ("-w", "{}", "-p", "wa")


class Audit:
    """auditd by hand, as Debian ships it: users by number and by name, as we tell them.
    One rule; the kernel's audit is off again after it."""

    def __init__(self, work, directory, rule):
        self.rule, self.conf = [word.format(directory) for word in rule], os.path.join(work, "audit")
        os.makedirs(os.path.join(self.conf, "plugins.d"), exist_ok=True)
        self.log = os.path.join(self.conf, "audit.log")
        if os.path.exists(self.log):
            os.unlink(self.log)
        settings = dict(line.split(" = ") for line in open("/etc/audit/auditd.conf").read().splitlines() if " = " in line)
        settings.update(log_file=self.log, plugin_dir=f"{self.conf}/plugins.d", max_log_file="100")
        with open(os.path.join(self.conf, "auditd.conf"), "w") as f:
            f.writelines(f"{key} = {value}\n" for key, value in settings.items())
        os.chmod(os.path.join(self.conf, "auditd.conf"), 0o640)

    def __enter__(self):
        self.proc = subprocess.Popen(["/usr/sbin/auditd", "-n", "-c", self.conf],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("auditd", lambda: f"pid {self.proc.pid}" in self.ctl("-s"))
        self.ctl("-b", "65536")
        self.ctl("-e", "1")
        self.ctl(*self.rule, "-k", "incron-bench")
        return self

    def __exit__(self, *_):
        self.ctl("-D", "-k", "incron-bench")
        self.ctl("-e", "0")
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(20)

    def ctl(self, *words):
        return subprocess.run(["auditctl", *words], capture_output=True, text=True).stdout

    def kernel_thread(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if open(f"/proc/{pid}/comm").read() == "kauditd\n":
                    return int(pid)
            except OSError:
                pass

    def named(self, program):
        text = open(self.log, errors="replace").read()
        return sum(f'exe="{program}"' in line and f" uid={UID} " in line and "incron-bench" in line
                   for line in text.splitlines())


class Floor:
    """proc_floor.c, which listens and does nothing else."""

    def __init__(self, work, *words):
        self.words = [compile(work, "proc_floor")[0], *words]

    def __enter__(self):
        self.proc = subprocess.Popen(self.words, stdout=subprocess.PIPE, text=True)
        self.proc.stdout.readline()
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.spent, executed = map(int, self.proc.stdout.read().split())
        self.proc.wait()
        self.each = self.spent / 1000 / max(executed, 1)


def beside_auditd(work, rounds):
    """The same removals under a line with who=true, and under auditd. Audit works in
    the system calls of those it watches, and the kernel's messages of processes are made
    in theirs: what the removals cost more than without anybody is counted with each, and
    so is the command that writes our events down, as auditd writes its records. Beside
    both: the least that fanotify and the messages can be had for (proc_floor.c events)."""
    tools = programs(work)
    bare = os.path.join(work, "bare")
    os.makedirs(bare)
    os.chown(bare, UID, -1)
    for name, program in (("rm", RM), ("unlink", tools["unlink"])):
        for at_once in (1, 4):
            play = lambda directory: storm(tools, program, directory, at_once)
            ours, audited, least, whole = [], [], [], []
            for _ in range(rounds):
                alone = play(bare)
                ours.append([recorded(work, program, play, *what) for what in
                             (("IN_DELETE", 1), ("IN_CREATE,IN_DELETE", 2))])
                audited.append([audit(work, program, play, bare, rule) for rule in (REMOVALS, WATCH)])
                least.append([floor(work, play, bare, what) for what in ("events", "records")])
                alone = (alone + play(bare)) / 2
                each = lambda one: (one[0] + one[1] - alone) * 1e6 / COUNT
                whole.append([each(one) for one in (*ours[-1], *audited[-1], *least[-1])])
            what = f"{name}, {at_once} at a time"
            row(6, f"who: {what}: of 2,000 named", [one[0][2] for one in ours], COUNT, "", most=False)
            row(6, f"auditd: {what}: of 2,000 named", [one[0][2] for one in audited], 0, "", most=False)
            row(6, f"who: {what}: CPU of the worker, a removal", [one[0][0] * 1e6 / COUNT for one in ours], 1000, "us")
            names = ("who", "who, makings, too", "auditd", "auditd -w DIR -p wa", "the least of our way",
                     "its records alone")
            for nth, who in enumerate(names):
                row(6, f"{who}: {what}: CPU of all, a removal", [one[nth] for one in whole], 1000, "us")
            row(6, f"who: {what}: that, to auditd's", [one[0] / one[2] for one in whole], 0.5, "x")
            row(6, f"makings, too: {what}: to auditd -w DIR -p wa", [one[1] / one[3] for one in whole], 0.5, "x")
            row(6, f"the least of our way: {what}: to auditd's", [one[4] / one[2] for one in whole], 1000, "x")
            row(6, f"its records alone: {what}: to auditd's", [one[5] / one[2] for one in whole], 1000, "x")


def recorded(work, program, play, events, each):
    """Seconds of the worker and its command, of the removals, and how many are named."""
    with Daemon(work) as d:
        d.table(f"@W {events},who=true,run=stream exec cat >> @O/events\n")
        d.start()
        os.chown(d.path("watched"), UID, -1)
        worker, out = d.worker(), d.path("out", "events")
        before = settled(worker)
        removals = play(d.path("watched"))
        until("the events", lambda: lines(out) >= COUNT * each)
        # The command was started by the first event.
        spent = settled(worker) - before + cpu(*children(worker))
        return spent, removals, sum(is_named(line, program) for line in open(out))


def audit(work, program, play, directory, rule):
    """The same of auditd and the kernel's thread."""
    with Audit(work, directory, rule) as one:
        pids = [one.proc.pid, one.kernel_thread()]
        before = cpu(*pids)
        removals = play(directory)
        until("the log", lambda: one.named(program) >= COUNT, 20, 0.1)
        return cpu(*pids) - before, removals, one.named(program)


def floor(work, play, directory, what):
    """The same of proc_floor.c, which names what it can."""
    out = os.path.join(work, "least")
    with Floor(work, what, directory, f"exec cat >> {out}") as one:
        removals = play(directory)
        until("the lines", lambda: lines(out) >= COUNT)
    os.unlink(out)
    return one.spent / 1e9, removals


def lines(path):
    try:
        return open(path, "rb").read().count(b"\n")
    except FileNotFoundError:
        return 0


def is_named(line, program):
    event = json.loads(line)
    if "IN_DELETE" not in event["events"]:
        return False
    actor = event["actor"]
    return (actor["confidence"], actor["exe"], actor["uid"], actor["cmdline"]) == \
        ("exact", program, UID, [program, event["path"]])


def began():
    """Processes that the machine has begun so far: others are followed, too."""
    for line in open("/proc/stat"):
        if line.startswith("processes "):
            return int(line.split()[1])


def an_exec(work, rounds):
    """Programs that are executed and change nothing, with a line that asks and without, and
    beside what listens and does nothing else. What they cost more themselves is a row of
    its own: it is near to what it differs by from one time to the next."""
    tools = programs(work)
    costs, idle, messages, program, more = [], [], [], [], []
    for _ in range(rounds):
        cost, asked = executed(work, tools, "who=true")
        costs.append(cost)
        cost, unasked = executed(work, tools, "who=false")
        idle.append(cost)
        more.append((asked - unasked) * 1e6 / COUNT)
        for what, figures in (("messages", messages), ("program", program)):
            with Floor(work, what) as floor:
                storm(tools, "/bin/true", work, 1)
            figures.append(floor.each)
    row(6, "who: CPU an exec of the machine", costs, 70, "us")
    row(6, "no line asks: CPU an exec of the machine", idle, 1, "us")
    row(6, "the messages alone (proc_floor.c): CPU an exec of the machine", messages, 1000, "us")
    row(6, "the same, with exe and cmdline", program, 1000, "us")
    row(6, "who: what an executed program costs more itself", more, 1000, "us")


def executed(work, tools, asks):
    """What a process of the machine costs the worker, and what all cost themselves. Their
    files are on another file system: what foreign files cost is in benches/fanotify.rs."""
    with Daemon(work) as d, tempfile.TemporaryDirectory(dir="/var/tmp") as elsewhere:
        if os.stat(elsewhere).st_dev == os.stat(work).st_dev:
            raise SystemExit("/var/tmp is to be on another file system than /dev/shm")
        d.table(f"@W IN_DELETE,{asks} true\n")
        d.start()
        os.chmod(elsewhere, 0o755)
        worker = d.worker()
        before, first = settled(worker), began()
        itself = storm(tools, "/bin/true", elsewhere, 1)
        count = began() - first
        return (settled(worker) - before) * 1e6 / count, itself


if __name__ == "__main__":
    main([an_exec, beside_auditd])
