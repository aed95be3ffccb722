//! Whatever program saves a file, its lines run: editors, copiers, unpackers,
//! package managers, by every way there is to put content under a name.
//!
//! Each program saves the same file twice. The first time it works beside the
//! daemon; the second time the worker stands still meanwhile and learns of all
//! of it at once, so that the number of settled runs is exact. docs/semantics.md
//! shows what was seen (INCRON_WRITE_SEMANTICS=1 writes it anew).

mod story;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use nix::fcntl::AT_FDCWD;
use nix::unistd::{LinkatFlags, linkat};
use story::common::{Daemon, children, is_root};
use story::{Check, Story, have, sh};

/// How a program saves.
enum Save {
    /// By a piece of sh: `$D` is the directory, `$F` the file, `$S` a scratch
    /// directory, `$N` the number of the save.
    Sh(&'static str),
    /// Keys typed at nano.
    Nano,
}

struct Program {
    /// As in docs/semantics.md.
    name: &'static str,
    needs: &'static [&'static str],
    /// Done before the daemon starts.
    before: &'static str,
    save: Save,
}

const fn by_sh(name: &'static str, needs: &'static [&'static str], save: &'static str) -> Program {
    prepared(name, needs, "", save)
}

const fn prepared(
    name: &'static str,
    needs: &'static [&'static str],
    before: &'static str,
    save: &'static str,
) -> Program {
    Program {
        name,
        needs,
        before,
        save: Save::Sh(save),
    }
}

/// A package with one file, `etc/f`, in as many versions as there are saves.
const PACKAGES: &str = "for n in 1 2; do mkdir -p $S/p/DEBIAN $S/p/watched; echo package $n > $S/p/watched/f; \
    printf 'Package: tiny\\nVersion: %s\\nArchitecture: all\\nMaintainer: nobody <n@example.org>\\nDescription: tiny\\n' $n \
    > $S/p/DEBIAN/control; dpkg-deb --root-owner-group -b $S/p $S/$n.deb >/dev/null; done; \
    mkdir -p $D/../var/lib/dpkg/info $D/../var/lib/dpkg/updates $D/../var/lib/dpkg/triggers; : > $D/../var/lib/dpkg/status";

const PROGRAMS: &[Program] = &[
    by_sh("`echo >`", &[], "echo save $N > $F"),
    by_sh("`echo >>`", &[], "echo save $N >> $F"),
    by_sh("`touch`", &[], "touch $F"),
    by_sh("`truncate -s`", &[], "truncate -s $N $F"),
    by_sh(
        "`dd conv=notrunc`",
        &[],
        "echo $N | dd of=$F conv=notrunc status=none",
    ),
    by_sh("`cp`", &[], "echo save $N > $S/f; cp $S/f $F"),
    by_sh(
        "`cp --reflink=auto`",
        &[],
        "echo save $N > $S/f; cp --reflink=auto $S/f $F",
    ),
    by_sh(
        "`cp --remove-destination`",
        &[],
        "echo save $N > $S/f; cp --remove-destination $S/f $F",
    ),
    by_sh(
        "`install`",
        &[],
        "echo save $N > $S/f; install -m 644 $S/f $F",
    ),
    by_sh(
        "`mv`, same file system",
        &[],
        "echo save $N > $S/f; mv $S/f $F",
    ),
    by_sh(
        "`mv`, other file system",
        &[],
        "echo save $N > /dev/shm/incron-f.$$; mv /dev/shm/incron-f.$$ $F",
    ),
    by_sh("`ln -f`", &[], "echo save $N > $S/f$N; ln -f $S/f$N $F"),
    by_sh("`rm`, then `echo >`", &[], "rm $F; echo save $N > $F"),
    by_sh("`sed -i`", &["sed"], "sed -i s/.*/save$N/ $F"),
    by_sh("`perl -i`", &["perl"], "perl -i -pe s/.*/save$N/ $F"),
    by_sh(
        "`gzip -d`",
        &["gzip"],
        "echo save $N | gzip > $S/f.gz; gzip -dc $S/f.gz > $S/x; cp $S/f.gz $D/f.gz; gzip -df $D/f.gz",
    ),
    by_sh(
        "vim",
        &["vim"],
        "vim -Nu NONE -es -c '%s/.*/save'$N/ -c wq $F </dev/null",
    ),
    by_sh(
        "vim, backupcopy=yes",
        &["vim"],
        "vim -Nu NONE -es -c 'set backupcopy=yes' -c '%s/.*/save'$N/ -c wq $F </dev/null",
    ),
    by_sh(
        "vim, backupcopy=no, backup",
        &["vim"],
        "vim -Nu NONE -es -c 'set backupcopy=no backup' -c '%s/.*/save'$N/ -c wq $F </dev/null",
    ),
    Program {
        name: "nano",
        needs: &["nano"],
        before: "",
        save: Save::Nano,
    },
    by_sh(
        "rsync",
        &["rsync"],
        "echo save from far $N > $S/f; rsync -aI $S/f $F",
    ),
    by_sh(
        "rsync --inplace",
        &["rsync"],
        "echo save from far $N > $S/f; rsync -aI --inplace $S/f $F",
    ),
    by_sh(
        "rsync --append",
        &["rsync"],
        "cat $F > $S/f; echo save from far $N >> $S/f; rsync -a --append $S/f $F",
    ),
    by_sh(
        "`tar x`",
        &["tar"],
        "echo save $N > $S/f; tar -C $S -cf - f | tar -C $D -xf -",
    ),
    prepared(
        "git checkout",
        &["git"],
        "cd $D; git init -q; git config user.name t; git config user.email t@t; git add f; git commit -qm 0; \
         for n in 1 2; do git checkout -qb b$n; echo branch $n > f; git commit -qam $n; done; git checkout -q b1; git checkout -q b1~1",
        "git -C $D checkout -q b$N",
    ),
    prepared(
        "dpkg-deb -x",
        &["dpkg-deb"],
        PACKAGES,
        "dpkg-deb -x $S/$N.deb $D/..",
    ),
    prepared(
        "dpkg -i",
        &["dpkg"],
        PACKAGES,
        "PATH=$PATH:/sbin:/usr/sbin dpkg --root=$D/.. --force-script-chrootless --force-bad-path -i $S/$N.deb >/dev/null 2>&1",
    ),
    by_sh(
        "logrotate, create",
        &["logrotate"],
        "echo \"$F { rotate 3\n create\n su root root\n }\" > $S/conf; chmod 644 $S/conf; PATH=$PATH:/usr/sbin logrotate -f -s $S/state $S/conf",
    ),
    by_sh(
        "logrotate, copytruncate",
        &["logrotate"],
        "echo \"$F { rotate 3\n copytruncate\n su root root\n }\" > $S/conf; chmod 644 $S/conf; echo log >> $F; PATH=$PATH:/usr/sbin logrotate -f -s $S/state $S/conf",
    ),
    by_sh(
        "mmap, then close",
        &["python3"],
        "python3 -c 'import mmap,sys; f=open(sys.argv[1],\"r+b\"); m=mmap.mmap(f.fileno(),0); m[0]=int(sys.argv[2]); m.close(); f.close()' $F $N",
    ),
    by_sh(
        "mmap, written after close",
        &["python3"],
        "python3 -c 'import mmap,sys; f=open(sys.argv[1],\"r+b\"); m=mmap.mmap(f.fileno(),0); f.close(); m[0]=int(sys.argv[2]); m.close()' $F $N",
    ),
    by_sh(
        "browser, wget to a partial name, then rename",
        &[],
        "printf half > $F.part; printf whole$N >> $F.part; mv $F.part $F",
    ),
    by_sh(
        "sftp: one open, writes, fsetstat, close",
        &["python3"],
        "python3 -c 'import os,sys; d=os.open(sys.argv[1],os.O_WRONLY|os.O_CREAT|os.O_TRUNC,0o644); [os.pwrite(d,b\"x\"*int(sys.argv[2])*9000,i*32768) for i in range(9)]; os.fchmod(d,0o640); os.utime(d,(1,1)); os.close(d)' $F $N",
    ),
];

/// What the lines of one program were told in its second save.
struct Seen {
    directory: Vec<String>,
    file: Vec<String>,
}

struct Act<'a> {
    story: &'a Story,
    program: &'a Program,
}

impl Act<'_> {
    fn sh(&self, text: &str, number: u32) -> String {
        let w = self.story.prefix.watched();
        let s = self.story.path("scratch");
        let (w, s) = (w.display(), s.display());
        // A small Debian has vim under another name.
        let vim = "command -v vim >/dev/null || vim() { vim.tiny \"$@\"; }";
        sh(&format!(
            "set -e; D={w} F={w}/f S={s} N={number}\n{vim}\n{text}"
        ))
    }

    fn save(&self, number: u32) {
        match self.program.save {
            Save::Sh(text) => {
                self.sh(text, number);
            }
            Save::Nano => nano(&self.file(), number),
        }
    }

    fn file(&self) -> PathBuf {
        self.story.prefix.watched().join("f")
    }

    /// `cksum` of the file as it is now.
    fn sum(&self) -> String {
        self.sh("cksum < $F", 0).trim().to_owned()
    }

    /// Lines of an output file from the `from`th on.
    fn out(&self, name: &str, from: usize) -> Vec<String> {
        self.story
            .prefix
            .out(name)
            .lines()
            .skip(from)
            .map(str::to_owned)
            .collect()
    }

    /// Waits until each line has had a run that saw the file as it is now.
    fn wait_seen(&self, from: &[usize; 4]) {
        let sum = self.sum();
        for (name, from) in OUTPUTS.iter().zip(from) {
            let what = format!(
                "{}: a run of line {name} that sees the last save",
                self.program.name
            );
            self.story.prefix.wait(&what, || {
                let lines = self.out(name, *from);
                lines
                    .iter()
                    .any(|l| l.starts_with("f ") && l.ends_with(&sum))
            });
        }
    }

    fn wait_idle(&self, daemon: &Daemon<'_>) {
        let worker = daemon.workers()[0];
        let what = format!("{}: the end of all runs", self.program.name);
        self.story
            .prefix
            .wait(&what, || children(worker).is_empty());
    }
}

/// What the four lines of the table write to.
const OUTPUTS: [&str; 4] = ["file", "directory", "file-settled", "directory-settled"];

const TABLE: &str = "\
@W/f IN_CLOSE_WRITE echo f $% $$(cksum < @W/f 2>&1) >> @O/file
@W IN_CLOSE_WRITE,IN_MOVED_TO,recursive=false,exclude=marker echo $# $% $$(cksum < $@/$# 2>&1) >> @O/directory
@W/f IN_CLOSE_WRITE,settle=400ms echo f $% $$(cksum < @W/f 2>&1) >> @O/file-settled
@W IN_CLOSE_WRITE,IN_MOVED_TO,recursive=false,include=f,settle=400ms echo $# $% $$(cksum < $@/$# 2>&1) >> @O/directory-settled
@W IN_CLOSE_WRITE,recursive=false,include=marker,settle=400ms echo >> @O/marker
";

/// Types a line at nano and saves.
fn nano(file: &std::path::Path, number: u32) {
    let command = format!("env TERM=xterm nano --ignorercfiles {}", file.display());
    let mut session = rexpect::spawn(&command, Some(120_000)).unwrap();
    session.exp_string("Exit").unwrap();
    session.send(&format!("save {number} ")).unwrap();
    session.send_control('o').unwrap();
    session.exp_string("Write").unwrap();
    session.send("\r").unwrap();
    session.flush().unwrap();
    session.exp_string("Wrote").unwrap();
    session.send_control('x').unwrap();
    session.exp_eof().unwrap();
}

/// Both saves of one program; None where it is not installed.
fn act(program: &Program) -> Option<Seen> {
    let there = |name: &&str| *name == "vim" && have("vim.tiny") || have(name);
    if !program.needs.iter().all(there) {
        return None;
    }
    let story = Story::new();
    let it = Act {
        story: &story,
        program,
    };
    story.dir("scratch");
    fs::write(it.file(), "old text\n").unwrap();
    it.sh(program.before, 0);
    story.prefix.table("t", TABLE);
    let daemon = story.start();

    let mark = || fs::write(story.prefix.watched().join("marker"), "").unwrap();
    it.save(1);
    // It settles last: then no line has a run to come.
    mark();
    it.wait_seen(&[0; 4]);
    story.prefix.lines("marker", 1);
    it.wait_idle(&daemon);

    let before = OUTPUTS.map(|name| it.out(name, 0).len());
    story.at_once(&daemon, || {
        it.save(2);
        mark();
    });
    it.wait_seen(&before);
    story.prefix.lines("marker", 2);
    it.wait_idle(&daemon);
    for at in [2, 3] {
        let runs = it.out(OUTPUTS[at], before[at]);
        assert_eq!(runs.len(), 1, "{}: {} {runs:?}", program.name, OUTPUTS[at]);
    }
    Some(Seen {
        directory: events(&it.out("directory", before[1])),
        file: events(&it.out("file", before[0])),
    })
}

/// `NAME EVENT` of each run, sorted, with what is chosen at random left out of names.
fn events(lines: &[String]) -> Vec<String> {
    let known = [
        "f",
        "f~",
        "f.gz",
        "f.1",
        "f.2",
        "f.part",
        "f.dpkg-new",
        "f.dpkg-tmp",
        ".f.swp",
        ".f.swx",
        "4913",
    ];
    let mut all: Vec<String> = lines
        .iter()
        .map(|line| {
            let mut words = line.split(' ');
            let (name, event) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let name = if known.contains(&name) {
                name
            } else {
                "(other)"
            };
            format!("{name} {}", event.trim_start_matches("IN_"))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_save_runs_and_settles_to_one_run() {
    if !is_root() {
        return eprintln!("left out: dpkg and logrotate need root");
    }
    let wanted = std::env::var("INCRON_PROGRAM").unwrap_or_default();
    let chosen: Vec<&Program> = PROGRAMS
        .iter()
        .filter(|program| program.name.contains(&wanted))
        .collect();
    let (next, rows, failed) = (
        Mutex::new(0),
        Mutex::new(Vec::new()),
        Mutex::new(Vec::new()),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let at = {
                        let mut next = next.lock().unwrap();
                        *next += 1;
                        *next - 1
                    };
                    let Some(program) = chosen.get(at) else {
                        return;
                    };
                    match std::panic::catch_unwind(|| act(program)) {
                        Ok(Some(seen)) => rows.lock().unwrap().push((at, program.name, seen)),
                        Ok(None) => {}
                        Err(_) => failed.lock().unwrap().push(program.name),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:?}: see above");
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(at, ..)| *at);
    let text: String = rows
        .iter()
        .map(|(_, name, seen)| {
            format!(
                "| {name} | {} | {} |\n",
                cell(&seen.directory),
                cell(&seen.file)
            )
        })
        .collect();
    println!("{text}");
    if wanted.is_empty() {
        story::semantics("programs", &text, Check::First);
    }
}

/// Events of one save: equal ones counted, those of `f` by their event alone.
fn cell(events: &[String]) -> String {
    let kinds: BTreeSet<&String> = events.iter().collect();
    let count = |kind: &String| events.iter().filter(|event| *event == kind).count();
    let text: Vec<String> = kinds
        .into_iter()
        .map(|kind| match count(kind) {
            1 => kind.clone(),
            n => format!("{n} x {kind}"),
        })
        .collect();
    text.join(", ")
}

/// A line on a file that a test changes in ways of its own.
fn file_line(story: &Story) -> Daemon<'_> {
    story
        .prefix
        .table("t", "@W/f IN_CLOSE_WRITE echo $% >> @O/file");
    story.start()
}

#[test]
fn a_write_through_a_link_made_later_is_a_save() {
    let story = Story::new();
    fs::write(story.path("watched/f"), "old").unwrap();
    let _daemon = file_line(&story);
    sh(&story.fill("ln @W/f @P/other; echo more >> @P/other"));
    story.prefix.lines("file", 1);
}

#[test]
fn a_file_named_late_is_a_save() {
    let story = Story::new();
    let _daemon = file_line(&story);
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).custom_flags(libc::O_TMPFILE);
    let mut file = options.open(story.prefix.watched()).unwrap();
    file.write_all(b"text").unwrap();
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let (name, follow) = (story.path("watched/f"), LinkatFlags::AT_SYMLINK_FOLLOW);
    linkat(AT_FDCWD, own.as_str(), AT_FDCWD, &name, follow).unwrap();
    drop(file);
    story.prefix.lines("file", 1);
}
