//! Commands, files and tables that misbehave, on the real daemon: each ends in a
//! clear error or a logged outcome, and the lines beside it never notice.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{lchown, symlink};
use std::path::PathBuf;

use common::figures::line;
use common::{Prefix, alive, is_root, touch};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// More than a worker ever needs here; what a command writes must not add to it.
const MEMORY: u64 = 64 << 10;

/// Serves `table`, and beside it a line that any test may ask for a sign of life.
fn serve(table: &str) -> Prefix {
    serve_with("", table)
}

fn serve_with(conf: &str, table: &str) -> Prefix {
    let prefix = Prefix::with(conf);
    fs::create_dir(prefix.watched().join("beside")).unwrap();
    prefix.table("t", table);
    prefix.table(
        "u",
        "@W/beside IN_CREATE,recursive=false echo $# >> @O/beside",
    );
    prefix
}

/// The line beside runs its command.
fn lives(prefix: &Prefix, name: &str) {
    touch(prefix.watched().join("beside").join(name));
    prefix.wait("the line beside", || prefix.out("beside").contains(name));
}

/// The most memory that a process has had, in KiB.
fn peak(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

/// The names in the event JSON of these lines, which must all be whole.
fn names(lines: &[String]) -> Vec<String> {
    let name = |line: &String| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["name"].as_str().unwrap().to_owned()
    };
    lines.iter().map(name).collect()
}

#[test]
fn a_stream_that_exits_at_once_is_tried_again_after_growing_pauses() {
    let prefix = serve("@W IN_CREATE,recursive=false,run=stream false");
    let daemon = prefix.start();
    touch(prefix.watched().join("a"));
    for text in [
        "(system::t) line 1: the stream's command exited with 1; started again at once",
        "started again in 1s",
        "started again in 2s, 1 events wait for it",
    ] {
        daemon.wait_log(text);
    }
    lives(&prefix, "x");
}

#[test]
fn a_stream_that_never_reads_costs_bounded_memory_and_a_logged_loss() {
    let prefix = serve(
        "@W IN_CREATE,IN_MODIFY,recursive=false,run=stream echo up >> @O/up; exec sleep 1000",
    );
    let daemon = prefix.start();
    prefix.lines("up", 1);
    let open = |name: &str| fs::File::create(prefix.watched().join(name)).unwrap();
    let mut files = [open("a"), open("b")];
    let mut count = 0;
    prefix.wait("the loss", || {
        // Neighbours of one file would be one event (inotify(7)).
        for _ in 0..2000 {
            files
                .iter_mut()
                .for_each(|file| file.write_all(b"x").unwrap());
        }
        count += 1;
        open(&format!("new-{count}"));
        prefix
            .log()
            .contains("(system::t) line 1: the stream's command does not read fast enough: ")
    });
    // Merged by path first, then lost; both are counted, and can be asked for.
    let figures = line(&prefix, "t:1")["stream"].clone();
    for name in ["merged", "lost", "waiting"] {
        assert!(figures[name].as_u64() > Some(0), "{name}: {figures}");
    }
    lives(&prefix, "x");
    assert!(peak(daemon.workers()[0]) < MEMORY);
}

#[test]
fn what_a_stream_read_half_of_is_given_whole_to_the_next() {
    let prefix = serve(
        "@W IN_CREATE,recursive=false,run=stream test -e @O/half && exec cat >> @O/seen; \
         head -c 40 > @O/half; exit 3",
    );
    let daemon = prefix.start();
    for name in ["a", "b", "c"] {
        touch(prefix.watched().join(name));
    }
    assert_eq!(names(&prefix.lines("seen", 3)), ["a", "b", "c"]);
    assert_eq!(prefix.out("half").len(), 40);
    daemon.wait_log("exited with 3");
}

#[test]
fn what_a_stream_that_closed_its_input_left_is_given_after_a_restart() {
    let prefix = serve_with(
        "stop_grace = 1s",
        "@W IN_CREATE,recursive=false,run=stream test -e @O/good && exec cat >> @O/seen; \
         trap '' TERM; exec 0<&-; echo $$$$ >> @O/closed; exec sleep 1000",
    );
    let daemon = prefix.start();
    let pid = Pid::from_raw(prefix.lines("closed", 1)[0].parse().unwrap());
    for name in ["a", "b"] {
        touch(prefix.watched().join(name));
    }
    lives(&prefix, "x");
    assert_eq!(daemon.stop(), Some(0), "it holds no stop up");
    assert!(!alive(pid), "nor goes on alone, with its events");
    touch(prefix.path("out/good"));
    let _daemon = prefix.start();
    assert_eq!(names(&prefix.lines("seen", 2)), ["a", "b"]);
}

#[test]
fn a_stream_that_writes_a_gigabyte_fills_neither_memory_nor_log() {
    let prefix = serve(
        "@W IN_CREATE,recursive=false,run=stream head -c 1000000000 /dev/zero; exec cat >> @O/seen",
    );
    let daemon = prefix.start();
    touch(prefix.watched().join("a"));
    lives(&prefix, "x");
    assert_eq!(names(&prefix.lines("seen", 1)), ["a"]);
    assert!(peak(daemon.workers()[0]) < MEMORY);
    assert!(fs::metadata(prefix.path("log")).unwrap().len() < 32 << 20);
}

#[test]
fn mail_without_a_mailer_is_an_error_that_names_it() {
    let prefix = Prefix::with("mailer = @P/no-mailer");
    prefix.table(
        "t",
        "@W IN_CREATE,output=mail echo found $# | tee -a @O/seen",
    );
    let daemon = prefix.start();
    touch(prefix.watched().join("a"));
    daemon.wait_log("output of line 1 of t is not mailed: cannot run");
    assert!(prefix.log().contains("/no-mailer: "));
    assert_eq!(prefix.lines("seen", 1), ["found a"], "the command ran");
}

/// Each is an error of its line's run; nothing is written where it points.
#[test]
fn output_to_what_is_no_file_of_roots_is_refused() {
    if !is_root() {
        return eprintln!("left out: only root can plant another user's link");
    }
    let prefix = serve(
        "@W IN_CREATE,recursive=false,output=@O/directory echo a\n\
         @W IN_CREATE,recursive=false,output=@O/link echo b\n\
         @W IN_CREATE,recursive=false,output=@O/fifo echo c\n\
         @W IN_CREATE,recursive=false,output=@O/way/file echo d\n",
    );
    let out = |name: &str| prefix.path("out").join(name);
    fs::create_dir(out("directory")).unwrap();
    touch(prefix.path("victim"));
    symlink(prefix.path("victim"), out("link")).unwrap();
    symlink(prefix.path(""), out("way")).unwrap();
    for planted in ["link", "way"] {
        lchown(out(planted), Some(65534), Some(65534)).unwrap();
    }
    mkfifo(&out("fifo"), Mode::from_bits_truncate(0o666)).unwrap();
    let daemon = prefix.start();
    touch(prefix.watched().join("a"));
    for (name, why) in [
        ("directory", "Is a directory"),
        ("link", "it is a symbolic link"),
        ("fifo", "it is not a regular file"),
        (
            "way/file",
            "way on the way belongs to uid 65534, not to root",
        ),
    ] {
        daemon.wait_log(&prefix.fill(&format!("output=@O/{name}: {why}")));
    }
    assert_eq!(fs::read(prefix.path("victim")).unwrap(), b"");
    assert!(!prefix.path("file").exists());
    lives(&prefix, "x");
}

/// A file system that goes with the test.
struct Small(PathBuf);

impl Small {
    fn at(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let (flags, tmpfs) = (MsFlags::empty(), Some("tmpfs"));
        match mount(tmpfs, &path, tmpfs, flags, Some(options)) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("left out: cannot mount: {error}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn output_to_a_full_disk_is_an_error_and_goes_on_when_there_is_room() {
    let prefix = serve(
        "@W IN_CREATE,recursive=false,output=@O/full/log echo $#\n\
         @W IN_CREATE,recursive=false,output=@O/full/no-inode echo $#\n",
    );
    // The directory, the log and what fills it: no inode for more.
    let options = "size=64k,nr_inodes=3,mode=755";
    let Some(full) = Small::at(prefix.path("out/full"), options) else {
        return;
    };
    touch(full.0.join("log"));
    let fill = fs::write(full.0.join("filler"), vec![0; 128 << 10]).unwrap_err();
    assert_eq!(fill.raw_os_error(), Some(nix::libc::ENOSPC));
    let daemon = prefix.start();
    touch(prefix.watched().join("a"));
    daemon.wait_log(&prefix.fill("output=@O/full/no-inode: No space left on device"));
    // What it could not write, the command knows itself.
    daemon.wait_log("exited with 1");
    assert_eq!(prefix.out("full/log"), "");
    fs::remove_file(full.0.join("filler")).unwrap();
    touch(prefix.watched().join("b"));
    assert_eq!(prefix.lines("full/log", 1), ["b"]);
    assert_eq!(prefix.lines("full/no-inode", 1), ["b"]);
    drop(daemon);
}

#[test]
fn a_batch_of_a_hundred_thousand_paths_is_never_on_a_command_line() {
    let prefix = serve(
        "@W IN_CREATE,recursive=false,batch=100000,max-wait=1h,stdin=paths \
         sort -u | wc -l > @O/.n; wc -c < /proc/$$$$/cmdline >> @O/.n; \
         wc -c < /proc/$$$$/environ >> @O/.n; mv @O/.n @O/n",
    );
    let daemon = prefix.start();
    for i in 0..100_000 {
        touch(prefix.watched().join(format!("f{i}")));
    }
    let got: Vec<usize> = prefix
        .lines("n", 3)
        .iter()
        .map(|n| n.trim().parse().unwrap())
        .collect();
    assert_eq!(got[0], 100_000);
    assert!(got[1] < 1000 && got[2] < 4000, "{got:?}");
    lives(&prefix, "x");
    drop(daemon);
}

/// Nothing, ten years and less than nothing, for every option that takes a time:
/// an error that names its place and says what would be right, or served.
#[test]
fn durations_without_sense_are_errors_of_their_lines() {
    let options = [
        "settle=",
        "settle=1s,max-wait=",
        "batch=",
        "limit=5/",
        "timeout=",
        "timeout=1s,kill-after=",
        "poll=",
    ];
    let mut table = String::new();
    let mut wrong = Vec::new();
    for option in options {
        for value in ["0s", "87600h", "-1s"] {
            // To settle for no time is not to settle; to kill at once is a wish, too.
            let fine = value == "0s" && ["settle=", "timeout=1s,kill-after="].contains(&option);
            table += &format!("@W IN_DELETE,{option}{value} true\n");
            if !fine {
                wrong.push((table.lines().count(), value));
            }
        }
    }
    let prefix = serve(&table);
    let _daemon = prefix.start();
    lives(&prefix, "x");
    let log = prefix.log();
    for (line, value) in &wrong {
        let place = prefix.path("tables/t").display().to_string();
        let said = log
            .lines()
            .find(|said| said.contains(&format!("{place}:{line}:")) && said.contains(value));
        let said = said.unwrap_or_else(|| panic!("line {line}: {log}"));
        let right = match *value {
            "0s" => "0",
            "87600h" => "8784h (366 days)",
            _ => "not negative",
        };
        assert!(said.contains(right), "{said}");
    }
    let errors = log
        .lines()
        .filter(|said| said.contains("tables/t:"))
        .count();
    assert_eq!(errors, wrong.len(), "{log}");
}
