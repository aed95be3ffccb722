//! Each table of examples/ on the real daemon: its story is acted out, its end checked.
//!
//! The tables run as they are shipped, except that their paths lie in a private
//! prefix and that minutes are shortened; the times stay far apart from each
//! other, and no assertion is about a time.

mod story;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use story::common::{Daemon, INCROND, LIMIT, children, is_root};
use story::{Story, have, put, sh, sorted};

/// Examples with a test in this file.
const TOLD: [&str; 10] = [
    "backup",
    "config-reload",
    "log-ship",
    "mail-on-change",
    "quickstart",
    "shapes",
    "static-site",
    "thumbnails",
    "upload-folder",
    "virus-scan",
];

/// An example with its paths in the story's prefix and other times.
fn example(story: &Story, name: &str, shorter: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.incron"));
    let mut text = fs::read_to_string(path).unwrap();
    for (written, short) in shorter {
        assert!(text.contains(written), "{name} has no {written}");
        text = text.replace(written, short);
    }
    let prefix = story.fill("@P");
    for root in ["/srv", "/etc", "/var", "/tmp/incron-demo"] {
        text = text.replace(root, &format!("{prefix}{root}"));
    }
    text.replace("/usr/local/bin", &format!("{prefix}/bin"))
}

fn serve<'a>(story: &'a Story, name: &str, shorter: &[(&str, &str)]) -> Daemon<'a> {
    story.prefix.table(name, &example(story, name, shorter));
    story.start()
}

/// How many commands that begin with `command` the log says were started.
fn runs(story: &Story, command: &str) -> usize {
    story
        .prefix
        .log()
        .matches(&story.fill(&format!(") CMD ({command}")))
        .count()
}

#[test]
fn every_example_has_its_story_here() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "incron"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, TOLD);
}

#[test]
fn upload_folder_moves_on_what_is_complete() {
    let story = Story::new();
    let (incoming, done) = (
        story.dir("srv/upload/incoming"),
        story.dir("srv/upload/done"),
    );
    story.stand_in("logger", "");
    let daemon = serve(&story, "upload-folder", &[("settle=5s", "settle=500ms")]);
    story.at_once(&daemon, || {
        // A browser's or sftp client's upload: another name until it is whole.
        put(incoming.join("film.iso.part"), "half");
        put(incoming.join("film.iso.part"), "whole");
        fs::rename(incoming.join("film.iso.part"), incoming.join("film.iso")).unwrap();
        // A program that opens and closes for each piece.
        for piece in ["a", "b", "c"] {
            let mut file = fs::OpenOptions::new();
            let mut file = file
                .create(true)
                .append(true)
                .open(incoming.join("-report $(x).pdf"));
            file.as_mut().unwrap().write_all(piece.as_bytes()).unwrap();
        }
        put(incoming.join("stalled.filepart"), "half");
        put(incoming.join(".rsync.tmp.XyZ"), "half");
    });
    story.prefix.wait("both files", || {
        done.join("film.iso").exists() && done.join("-report $(x).pdf").exists()
    });
    assert_eq!(fs::read_to_string(done.join("film.iso")).unwrap(), "whole");
    assert_eq!(
        fs::read_to_string(done.join("-report $(x).pdf")).unwrap(),
        "abc"
    );
    // What comes last is handled last.
    put(incoming.join("last"), "");
    story.prefix.wait("the last announced", || {
        story.prefix.out("logger").contains("<last>")
    });
    let told = sorted(story.prefix.lines("logger", 3));
    let want = ["-report $(x).pdf", "film.iso", "last"];
    assert_eq!(told, want.map(|name| format!("<-t><upload><--><{name}>")));
    assert_eq!(runs(&story, "mv -n"), 3, "one move a file");
    assert!(incoming.join("stalled.filepart").exists());
    assert!(incoming.join(".rsync.tmp.XyZ").exists());
}

#[test]
fn static_site_is_built_once_a_burst_and_never_older_than_the_last_save() {
    if !have("make") {
        return;
    }
    let story = Story::new();
    let (src, www) = (story.dir("srv/site/src"), story.dir("var/www/site"));
    let makefile = "publish:\n\techo build >> @P/out/builds\n\tread x < @P/out/gate\n\
                    \tcp src/*.html @P/var/www/site/\n";
    put(story.path("srv/site/Makefile"), &story.fill(makefile));
    let mut gate = story.gate();
    let daemon = serve(&story, "static-site", &[]);
    story.at_once(&daemon, || {
        for i in 0..30 {
            put(src.join(format!("page{i}.html")), "one");
        }
        put(src.join("page0.html~"), "");
    });
    story.prefix.lines("builds", 1);
    // Saved while the first build runs, by rename as editors do.
    put(src.join(".page0.html.swp"), "two");
    fs::rename(src.join(".page0.html.swp"), src.join("page0.html")).unwrap();
    gate.write_all(b"go\n").unwrap();
    story.prefix.lines("builds", 2);
    gate.write_all(b"go\n").unwrap();
    let published =
        |text: &str| fs::read_to_string(www.join("page0.html")).is_ok_and(|got| got == text);
    story
        .prefix
        .wait("the second state published", || published("two"));
    // Builds are one after the other: an extra one would be counted here.
    story.at_once(&daemon, || put(src.join("page0.html"), "three"));
    story.prefix.lines("builds", 3);
    gate.write_all(b"go\n").unwrap();
    story
        .prefix
        .wait("the third state published", || published("three"));
    assert_eq!(story.prefix.lines("builds", 3).len(), 3);
    let compressed = www.join("page0.html.gz");
    story.prefix.wait("compressed copies", || {
        let text = Command::new("gzip")
            .arg("-dc")
            .arg(&compressed)
            .output()
            .unwrap();
        text.status.success()
            && text.stdout == b"three"
            && fs::read_dir(&www).unwrap().count() == 60
    });
    assert!(!story.prefix.log().contains("gz.gz"));
}

#[test]
fn thumbnails_one_for_each_picture_four_at_a_time() {
    let story = Story::new();
    let photos = story.dir("var/www/gallery/photos");
    let thumbs = story.dir("var/www/gallery/thumbs");
    story.stand_in("convert", "read x < @P/out/gate\ncp -- \"$1\" \"$4\"");
    let mut gate = story.gate();
    let daemon = serve(&story, "thumbnails", &[]);
    story.at_once(&daemon, || {
        for i in 0..10 {
            put(photos.join(format!("my photo {i}.jpg")), "half");
            put(
                photos.join(format!("my photo {i}.jpg")),
                &format!("photo {i}"),
            );
        }
        put(photos.join("upload.tmp"), "photo 10");
        fs::rename(photos.join("upload.tmp"), photos.join("moved in.png")).unwrap();
        put(photos.join("notes.txt"), "");
    });
    story.prefix.lines("convert", 4);
    assert_eq!(children(daemon.workers()[0]).len(), 4);
    for _ in 0..11 {
        gate.write_all(b"go\n").unwrap();
    }
    story.prefix.wait("11 thumbnails", || {
        fs::read_dir(&thumbs).unwrap().count() == 11
    });
    story.prefix.wait("the end of the last", || {
        children(daemon.workers()[0]).is_empty()
    });
    let calls = story.prefix.lines("convert", 11);
    assert_eq!(calls.len(), 11, "one each");
    let one = story.fill(
        "<@P/var/www/gallery/photos/my photo 3.jpg><-thumbnail><320x320>\
         <@P/var/www/gallery/thumbs/my photo 3.jpg>",
    );
    assert!(calls.contains(&one), "{calls:?}");
    assert_eq!(
        fs::read_to_string(thumbs.join("my photo 3.jpg")).unwrap(),
        "photo 3"
    );
    fs::remove_file(photos.join("my photo 3.jpg")).unwrap();
    fs::rename(photos.join("moved in.png"), story.path("moved out.png")).unwrap();
    story.prefix.wait("two thumbnails less", || {
        !thumbs.join("my photo 3.jpg").exists() && !thumbs.join("moved in.png").exists()
    });
    assert_eq!(fs::read_dir(&thumbs).unwrap().count(), 9);
}

#[test]
fn config_reload_takes_only_what_passes_the_check() {
    let story = Story::new();
    let etc = story.dir("etc/nginx");
    put(etc.join("nginx.conf"), "first");
    put(etc.join("conf.d/site.conf"), "first");
    story.stand_in(
        "nginx",
        "if grep -qs broken -r @P/etc/nginx; then echo '[emerg] broken' >&2; exit 1; fi",
    );
    story.stand_in("systemctl", "");
    let daemon = serve(&story, "config-reload", &[("batch=2s", "batch=500ms")]);
    story.at_once(&daemon, || {
        put(etc.join(".nginx.conf.swp"), "swap");
        put(etc.join("4913"), "");
        fs::remove_file(etc.join("4913")).unwrap();
        fs::rename(etc.join("nginx.conf"), etc.join("nginx.conf~")).unwrap();
        put(etc.join("nginx.conf"), "second");
        fs::remove_file(etc.join("nginx.conf~")).unwrap();
        put(etc.join("conf.d/other.conf"), "new");
    });
    assert_eq!(story.prefix.lines("systemctl", 1), ["<reload><nginx>"]);
    story.at_once(&daemon, || put(etc.join("conf.d/site.conf"), "broken"));
    daemon.wait_log("CMDOUT ([emerg] broken)");
    daemon.wait_log("exited with 1");
    story.at_once(&daemon, || {
        put(etc.join("conf.d/site.conf.swp"), "swap");
        put(etc.join("conf.d/site.conf"), "mended");
    });
    assert_eq!(story.prefix.lines("systemctl", 2).len(), 2);
    assert_eq!(story.prefix.lines("nginx", 3), ["<-t>", "<-t>", "<-t>"]);
}

#[test]
fn mail_on_change_is_one_mail_a_session_and_ten_an_hour() {
    if !is_root() {
        return eprintln!("left out: a stand-in for /usr/sbin/sendmail needs root");
    }
    let mut story = Story::new();
    let config = story.dir("srv/app/config");
    story.mailer();
    let daemon = serve(&story, "mail-on-change", &[("settle=5s", "settle=500ms")]);
    story.at_once(&daemon, || {
        for text in ["a", "b", "c"] {
            put(config.join("app.yml"), text);
        }
        put(config.join(".app.yml.swp"), "");
        fs::remove_file(config.join(".app.yml.swp")).unwrap();
    });
    story.prefix.wait("a mail", || !story.mails().is_empty());
    let mail = &story.mails()[0];
    let (head, body) = mail.split_once("\n\n").unwrap();
    let heads: Vec<&str> = head.lines().collect();
    assert!(heads.contains(&"To: root"), "{head}");
    assert!(
        heads.iter().any(|line| line.starts_with("From: root")),
        "{head}"
    );
    assert!(
        heads
            .iter()
            .any(|line| line.starts_with("Subject: incron <root@")),
        "{head}"
    );
    assert!(heads.contains(&"Auto-Submitted: auto-generated"), "{head}");
    assert!(heads.contains(&"X-incron-table: mail-on-change"), "{head}");
    assert_eq!(
        body,
        story.fill("IN_CLOSE_WRITE @P/srv/app/config/app.yml\n")
    );
    assert_eq!(story.prefix.lines("sendmail", 1), ["<-i><-t>"]);
    story.at_once(&daemon, || {
        for i in 0..12 {
            put(config.join(format!("many{i}")), "x");
        }
    });
    daemon.wait_log("limit");
    story.prefix.wait("ten mails", || story.mails().len() == 10);
    assert_eq!(runs(&story, "echo"), 10, "the rest waits");
}

#[test]
fn virus_scan_puts_aside_what_is_infected_and_says_so() {
    if !is_root() {
        return eprintln!("left out: a stand-in for /usr/sbin/sendmail needs root");
    }
    let mut story = Story::new();
    let (share, quarantine) = (story.dir("srv/share"), story.dir("srv/quarantine"));
    fs::create_dir(share.join("alice")).unwrap();
    story.mailer();
    story.stand_in(
        "clamdscan",
        "if grep -q EICAR \"$4\"; then mv -- \"$4\" \"${3#--move=}\"; exit 1; fi",
    );
    let daemon = serve(&story, "virus-scan", &[("settle=2s", "settle=500ms")]);
    story.at_once(&daemon, || {
        put(share.join("alice/invoice.doc"), "ok");
        put(share.join("alice/invoice.doc"), "EICAR");
        put(share.join("thesis.pdf"), "fine");
        // A folder that appears with its content.
        put(story.path("srv/new/deep/er/song.mp3"), "EICAR");
        fs::rename(story.path("srv/new"), share.join("new")).unwrap();
    });
    story.prefix.wait("both aside", || {
        quarantine.join("invoice.doc").exists() && quarantine.join("song.mp3").exists()
    });
    story.prefix.wait("two mails", || story.mails().len() == 2);
    let bodies: Vec<String> = story
        .mails()
        .iter()
        .map(|mail| mail.split_once("\n\n").unwrap().1.to_owned())
        .collect();
    assert_eq!(
        sorted(bodies),
        ["infected: invoice.doc\n", "infected: song.mp3\n"]
    );
    story.prefix.lines("clamdscan", 3);
    put(share.join("last"), "");
    let scans = story.prefix.lines("clamdscan", 4);
    assert_eq!(scans.len(), 4, "each file once: {scans:?}");
    let first = "<--fdpass><--no-summary><--move=@P/srv/quarantine><@P/srv/share/thesis.pdf>";
    assert!(scans.contains(&story.fill(first)), "{scans:?}");
    assert!(share.join("thesis.pdf").exists());
}

#[test]
fn backup_follows_the_work_and_survives_a_disk_that_is_away() {
    if !have("rsync") {
        return;
    }
    let story = Story::new();
    let data = story.dir("srv/data");
    put(data.join("old"), "old");
    let shorter = [("settle=10s", "settle=300ms"), ("batch=1m", "batch=300ms")];
    let daemon = serve(&story, "backup", &shorter);
    story.at_once(&daemon, || {
        for i in 0..20 {
            put(data.join(format!("dir {i}/file")), &format!("{i}"));
        }
        put(data.join("half.tmp"), "");
    });
    // /srv/backup is not there: rsync fails, and is run again a second later.
    daemon.wait_log("exited with");
    let backup = story.dir("srv/backup").join("data");
    story
        .prefix
        .wait("the backup", || backup.join("dir 19/file").exists());
    let worker = daemon.workers()[0];
    story
        .prefix
        .wait("the end of rsync", || children(worker).is_empty());
    assert_eq!(
        sh(&format!("diff -r {} {}", data.display(), backup.display())),
        ""
    );
    story.at_once(&daemon, || {
        fs::remove_dir_all(data.join("dir 7")).unwrap();
        fs::rename(data.join("old"), data.join("renamed")).unwrap();
    });
    story.prefix.wait("the second backup", || {
        !backup.join("dir 7").exists() && backup.join("renamed").exists()
    });
    story
        .prefix
        .wait("the end of rsync", || children(worker).is_empty());
    assert!(!backup.join("old").exists());
    // Each try is a start in the log: one batch, tried until the disk was there, one more.
    let log = story.prefix.log();
    let failed = log.matches("exited with").count();
    assert_eq!(runs(&story, "rsync"), failed + 2, "{log}");
}

#[test]
fn log_shipping_streams_the_news_and_copies_what_is_rotated() {
    if !have("rsync") {
        return;
    }
    let story = Story::new();
    let logs = story.dir("srv/logs");
    let archive = story.dir("srv/archive");
    story.ssh();
    // Reads three events and ends, as a logger whose server is restarted.
    story.stand_in(
        "logger",
        "for i in 1 2 3; do read -r l || exit; printf '%s\\n' \"$l\" >> @P/out/shipped; done",
    );
    let daemon = serve(&story, "log-ship", &[("settle=10s", "settle=500ms")]);
    story.at_once(&daemon, || {
        for i in 0..4 {
            put(logs.join(format!("app{i}.log")), "line\n");
        }
        put(logs.join("app.pid"), "1");
        // logrotate: rename, and a new file.
        fs::rename(logs.join("app0.log"), logs.join("app0.log.1")).unwrap();
        put(logs.join("app0.log"), "");
    });
    let shipped: Vec<String> = story
        .prefix
        .lines("shipped", 10)
        .iter()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{} {}", event["events"][0].as_str().unwrap(), event["name"])
        })
        .collect();
    let names = ["app0", "app1", "app2", "app3", "app0"];
    let want: Vec<String> = names
        .iter()
        .flat_map(|name| ["IN_CREATE", "IN_CLOSE_WRITE"].map(|e| format!("{e} \"{name}.log\"")))
        .collect();
    assert_eq!(shipped, want, "in order, each once, none lost");
    assert_eq!(
        story.prefix.lines("logger", 4)[0],
        "<--tag><log-ship><--server><logs.example.org><--port><514>"
    );
    story
        .prefix
        .wait("the archive", || archive.join("app0.log.1").exists());
    assert_eq!(
        fs::read_to_string(archive.join("app0.log.1")).unwrap(),
        "line\n"
    );
    assert_eq!(
        fs::read_dir(&archive).unwrap().count(),
        1,
        "only what is rotated"
    );
}

#[test]
fn shapes_work_as_their_authors_meant() {
    if !have("git") || !have("rsync") {
        return;
    }
    let story = Story::new();
    for dir in [
        "srv/upload",
        "srv/in",
        "etc/nginx",
        "srv/My Documents",
        "var/spool/faxin",
        "var/log",
        "srv/photos",
        "srv/site",
        "srv/old",
    ] {
        story.dir(dir);
    }
    story.ssh();
    for name in ["import", "nginx", "old-handler"] {
        story.stand_in(name, "");
    }
    story.stand_in("logger", "[ $# -gt 2 ] || sed 's/^/in: /' >> @P/out/logger");
    put(story.path("etc/fstab"), "first");
    let etc = story.path("etc");
    let git = format!("git -C {}", etc.display());
    sh(&format!(
        "{git} init -q && {git} config user.name t && {git} config user.email t@t && {git} add -A && {git} commit -qm start"
    ));
    // rsync writes to a directory of this name on "the other host".
    let table = example(
        &story,
        "shapes",
        &[("backup:/srv/upload/", "backup:/srv/mirror/")],
    );
    story.prefix.table("shapes", &table);
    let _daemon = story.start();
    let wait_for = |what: &str, name: &str, line: &str| {
        let line = story.fill(line);
        story.prefix.wait(what, || {
            story.prefix.out(name).lines().any(|got| got == line)
        });
    };
    put(story.path("srv/upload/-a b; c"), "x");
    story.prefix.wait("the mirrored file", || {
        story.path("srv/mirror/-a b; c").exists()
    });
    put(story.path("srv/in/file"), "x");
    wait_for("the import", "import", "<@P/srv/in/file>");
    put(etc.join("nginx/site"), "x");
    wait_for("the reload", "nginx", "<-s><reload>");
    put(etc.join("fstab"), "second");
    story.prefix.wait("the commit", || {
        sh(&format!("{git} rev-list --count HEAD")).trim() == "2"
    });
    assert_eq!(sh(&format!("{git} log -1 --format=%s")).trim(), "");
    put(story.path("srv/My Documents/new one"), "x");
    wait_for(
        "the documents' log",
        "logger",
        "<-t><documents><new: new one>",
    );
    put(story.path("var/spool/faxin/fax1"), "x");
    let fax = story.path("var/log/fax.log");
    story.prefix.wait("the fax log", || fax.exists());
    put(story.path("srv/photos/a.png"), "x");
    put(story.path("srv/photos/a.txt"), "x");
    put(story.path("srv/old/o"), "x");
    wait_for(
        "the old handler",
        "old-handler",
        "<256><IN_CREATE><@P/srv/old><o>",
    );
    put(story.path("srv/site/one"), "x");
    wait_for("the photos' log", "logger", "<-t><photos>");
    let log = || story.prefix.log();
    story.prefix.wait("the listing", || {
        log()
            .lines()
            .any(|line| line.contains("CMDOUT") && line.contains("srv/site/one"))
    });
    let line = fs::read_to_string(fax).unwrap();
    assert!(
        line.ends_with(&story.fill(" IN_CREATE @P/var/spool/faxin/fax1\n")),
        "{line}"
    );
    assert!(line.starts_with("20"), "the shell's date: {line}");
}

/// `incrond run TABLE` as a plain user: what it prints comes out of `lines`.
struct Foreground {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Foreground {
    fn start(story: &Story, json: bool) -> Self {
        // Where the build lies a plain user may have no way to.
        let program = story.path("incrond");
        sh(&format!("cp {INCROND} {}", program.display()));
        let table = story.path("quickstart.incron");
        fs::write(&table, example(story, "quickstart", &[])).unwrap();
        let mut command = Command::new(program);
        command.arg("run").arg(table).current_dir("/");
        if json {
            command.arg("--json");
        }
        if is_root() {
            command.uid(65534).gid(65534);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let shown: Box<dyn Read + Send> = if json {
            Box::new(child.stdout.take().unwrap())
        } else {
            Box::new(child.stderr.take().unwrap())
        };
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(shown).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// A line that `wanted` takes, waited for where it has not come yet: what runs beside
    /// each other is told in any order.
    fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        if let Some(line) = self.seen.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(_) => panic!("waited in vain for {what}: {:#?}", self.seen),
            }
        }
    }

    fn end(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// The place of quickstart.incron, which a plain user can write.
fn demo(story: &Story) -> std::path::PathBuf {
    let demo = story.dir("tmp/incron-demo");
    if is_root() {
        for dir in ["tmp", "tmp/incron-demo"] {
            nix::unistd::chown(&story.path(dir), Some(65534.into()), Some(65534.into())).unwrap();
        }
    }
    demo
}

#[test]
fn quickstart_shows_a_person_what_happens() {
    let story = Story::new();
    let demo = demo(&story);
    // As its text says: the directory is made afterwards.
    fs::remove_dir(&demo).unwrap();
    let mut shown = Foreground::start(&story, false);
    shown.until("ready", |line| line.starts_with("ready: 3 lines watched"));
    fs::create_dir(&demo).unwrap();
    put(demo.join("note"), "hello\n");
    let note = demo.join("note").display().to_string();
    shown.until("the event", |l| {
        l.contains(&note) && l.ends_with("IN_CLOSE_WRITE")
    });
    shown.until("the run", |l| {
        l.contains("run ") && l.contains(&format!(": wc -c {note}"))
    });
    shown.until("its output", |l| l.contains(&format!("| 6 {note}")));
    shown.until("its end", |l| l.contains("exited with 0 after"));
    shown.until("the batch", |l| l.contains("| the directory has changed"));
    fs::remove_file(demo.join("note")).unwrap();
    shown.until("the removal", |l| l.contains("| GONE: NOTE"));
    shown.end();
}

#[test]
fn quickstart_tells_a_program_what_happens() {
    let story = Story::new();
    let demo = demo(&story);
    let mut shown = Foreground::start(&story, true);
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let is = |line: &str, kind: &str| json(line)["type"] == kind;
    let table = shown.until("the table", |l| is(l, "table"));
    assert_eq!(json(&table)["lines"], 3);
    shown.until("ready", |l| is(l, "ready"));
    put(demo.join("note"), "hello\n");
    let run = json(&shown.until("the run", |l| is(l, "run")));
    assert_eq!(run["events"][0]["events"][0], "IN_CLOSE_WRITE");
    assert_eq!(run["events"][0]["name"], "note");
    let of_it = |line: &str, kind: &str| is(line, kind) && json(line)["run"] == run["run"];
    let output = json(&shown.until("its output", |l| of_it(l, "output")));
    assert_eq!(output["text"], format!("6 {}", demo.join("note").display()));
    let end = json(&shown.until("its end", |l| of_it(l, "end")));
    assert_eq!(end["exit"], 0);
    shown.end();
}
