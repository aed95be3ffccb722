#!/usr/bin/env python3
"""Who did it: what a line with who=true costs, beside auditd on the same work.

The work is tests/actor_kit/storm.c: processes of another user that each remove a
file, reaped at once. auditd runs with a configuration of its own and one rule, for
unlink and unlinkat in that directory; the rule and the kernel's audit are taken back.
"""
import json, os, resource, signal, subprocess, tempfile
from kit import Daemon, HERE, children, compile, cpu, main, row, settled, until

KIT = os.path.join(HERE, "..", "tests", "actor_kit")
UID, COUNT = 54321, 2000
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


class Audit:
    """auditd by hand; the kernel's audit is off again after it."""

    def __init__(self, work, directory):
        self.directory, self.conf = directory, os.path.join(work, "audit")
        os.makedirs(os.path.join(self.conf, "plugins.d"), exist_ok=True)
        self.log = os.path.join(self.conf, "audit.log")
        if os.path.exists(self.log):
            os.unlink(self.log)
        with open(os.path.join(self.conf, "auditd.conf"), "w") as f:
            f.write(f"log_file = {self.log}\nlog_format = RAW\nflush = INCREMENTAL_ASYNC\nfreq = 50\n"
                    f"max_log_file = 100\nnum_logs = 2\nspace_left = 75\nadmin_space_left = 50\nplugin_dir = {self.conf}/plugins.d\n")
        os.chmod(os.path.join(self.conf, "auditd.conf"), 0o640)

    def __enter__(self):
        self.proc = subprocess.Popen(["/usr/sbin/auditd", "-n", "-c", self.conf],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("auditd", lambda: f"pid {self.proc.pid}" in self.ctl("-s"))
        self.ctl("-b", "65536")
        self.ctl("-e", "1")
        self.ctl("-a", "always,exit", "-F", "arch=b64", "-S", "unlink,unlinkat", "-F", f"dir={self.directory}",
                 "-k", "incron-bench")
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

    def __init__(self, work, what):
        self.words = [compile(work, "proc_floor")[0], what]

    def __enter__(self):
        self.proc = subprocess.Popen(self.words, stdout=subprocess.PIPE, text=True)
        self.proc.stdout.readline()
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        spent, executed = map(int, self.proc.stdout.read().split())
        self.proc.wait()
        self.each = spent / 1000 / max(executed, 1)


def beside_auditd(work, rounds):
    """The same removals under a line with who=true, and under auditd. Audit works in
    the system calls of those it watches, and the kernel's messages of processes are made
    in theirs: what the removals cost more than without anybody is counted with each, and
    so is the command that writes our events down, as auditd writes its records."""
    tools = programs(work)
    for name, program in (("rm", RM), ("unlink", tools["unlink"])):
        for at_once in (1, 4):
            ours, theirs, named, audited = [], [], [], []
            whole_ours, whole_theirs, least = [], [], []
            bare = os.path.join(work, "bare")
            os.makedirs(bare, exist_ok=True)
            os.chown(bare, UID, -1)
            for _ in range(rounds):
                alone = storm(tools, program, bare, at_once)
                with Daemon(work) as d:
                    d.table("@W IN_DELETE,who=true,run=stream cat >> @O/events\n")
                    d.start()
                    os.chown(d.path("watched"), UID, -1)
                    worker, events = d.worker(), d.path("out", "events")
                    before = settled(worker)
                    work_ours = storm(tools, program, d.path("watched"), at_once)
                    until("the events", lambda: lines(events) >= COUNT)
                    ours.append((settled(worker) - before) * 1e6 / COUNT)
                    # It was started by the first event.
                    writes = cpu(*children(worker)) * 1e6 / COUNT
                    named.append(sum(is_named(line, program) for line in open(events)))
                with Audit(work, bare) as audit:
                    pids = [audit.proc.pid, audit.kernel_thread()]
                    before = cpu(*pids)
                    work_theirs = storm(tools, program, bare, at_once)
                    until("the log", lambda: audit.named(program) >= COUNT, 20, 0.1)
                    theirs.append((cpu(*pids) - before) * 1e6 / COUNT)
                    audited.append(audit.named(program))
                with Floor(work, "program") as floor:
                    work_least = storm(tools, program, bare, at_once)
                alone = (alone + storm(tools, program, bare, at_once)) / 2
                least.append(floor.each + (work_least - alone) * 1e6 / COUNT)
                whole_ours.append(ours[-1] + writes + (work_ours - alone) * 1e6 / COUNT)
                whole_theirs.append(theirs[-1] + (work_theirs - alone) * 1e6 / COUNT)
            what = f"{name}, {at_once} at a time"
            row(6, f"who: {what}: of 2,000 named", named, COUNT, "", most=False)
            row(6, f"auditd: {what}: of 2,000 named", audited, 0, "", most=False)
            row(6, f"who: {what}: CPU a removal", ours, 1000, "us")
            row(6, f"auditd: {what}: CPU a removal", theirs, 1000, "us")
            row(6, f"who: {what}: the same, with what the removals cost more", whole_ours, 1000, "us")
            row(6, f"auditd: {what}: the same, with what the removals cost more", whole_theirs, 1000, "us")
            row(6, f"who: {what}: that, to auditd's", [a / b for a, b in zip(whole_ours, whole_theirs)], 0.5, "x")
            row(6, f"exe and cmdline alone: {what}: the same", least, 1000, "us")


def lines(path):
    try:
        return open(path, "rb").read().count(b"\n")
    except FileNotFoundError:
        return 0


def is_named(line, program):
    event = json.loads(line)
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
