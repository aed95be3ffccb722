//! IN_COMPLETE with programs that bring files: each uploads or downloads a file of some
//! megabytes while the daemon runs, and the run for its last IN_COMPLETE finds all of it.
//! docs/semantics.md shows what was seen (INCRON_WRITE_SEMANTICS=1 writes it anew).

mod story;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use story::common::is_root;
use story::{Check, Story, have, sh};

struct Program {
    /// As in docs/semantics.md.
    name: &'static str,
    needs: &'static [&'static str],
    /// A piece of sh: `$D` is the watched directory, `$S` a scratch directory with the
    /// file `f`, `$P` a free port. `serve` starts a server that ends with it.
    upload: &'static str,
    /// How much of the file is there in the end.
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// It breaks off.
    Some,
}

const SFTP: &str = "/usr/lib/openssh/sftp-server";

const SERVE: &str = "serve() { \"$@\" >$S/log 2>&1 & server=$!; trap 'kill $server; wait $server || :' EXIT; }; \
    again() { for n in $(seq 2400); do \"$@\" && return; sleep 0.05; done; cat $S/log; false; }";

const VSFTPD: &str = "mkdir $S/empty; chmod 777 $D; printf 'listen=YES\nlisten_ipv6=NO\nbackground=NO\n\
    listen_address=127.0.0.1\nlisten_port=%s\nanonymous_enable=YES\nno_anon_password=YES\nwrite_enable=YES\n\
    anon_upload_enable=YES\nanon_other_write_enable=YES\nanon_umask=022\n\
    seccomp_sandbox=NO\nxferlog_enable=NO\nanon_root=%s/..\nsecure_chroot_dir=%s/empty\n' \
    $P $D $S > $S/ftp.conf; serve vsftpd $S/ftp.conf";

const SAMBA: &str = "mkdir $S/smb; printf '[global]\nserver role = standalone server\nmap to guest = Bad User\n\
    smb ports = %s\ninterfaces = lo\nbind interfaces only = yes\ndisable netbios = yes\nload printers = no\n\
    private dir = %s/smb\nlock directory = %s/smb\nstate directory = %s/smb\ncache directory = %s/smb\n\
    pid directory = %s/smb\nncalrpc dir = %s/smb/rpc\nlog file = %s/smb/log\n\
    [w]\npath = %s\nguest ok = yes\nread only = no\nforce user = root\n' $P $S $S $S $S $S $S $S $D > $S/conf; \
    serve smbd -F -s $S/conf";

/// A download by a window that nobody sees, with the words of WebDriver.
const BROWSER: &str = r#"
    chromedriver --port=0 >$S/driver 2>&1 & driver=$!; trap 'kill $driver $server; wait $driver $server || :' EXIT
    again grep -q 'successfully on port' $S/driver
    sessions=http://127.0.0.1:$(sed -n 's/.*successfully on port \([0-9]*\).*/\1/p' $S/driver)/session
    args='"--headless","--no-sandbox","--disable-gpu","--disable-quic","--no-first-run","--disable-sync",
        "--disable-background-networking","--disable-component-update","--user-data-dir='$S/profile'"'
    options='{"binary":"/usr/bin/chromium","args":['$args'],"prefs":{"download.default_directory":"'$D'"}}'
    curl -sSf -o $S/session -d '{"capabilities":{"alwaysMatch":{"goog:chromeOptions":'"$options"'}}}' $sessions
    session=$sessions/$(sed 's/.*"sessionId":"\([^"]*\)".*/\1/' $S/session)
    curl -sSf -d '{"url":"http://127.0.0.1:'$P'/f"}' $session/url
    again cmp -s $S/f $D/f
    curl -sSf -X DELETE $session"#;

const fn program(
    name: &'static str,
    needs: &'static [&'static str],
    upload: &'static str,
) -> Program {
    Program {
        name,
        needs,
        upload,
        part: Part::All,
    }
}

const PROGRAMS: &[Program] = &[
    program(
        "`sftp`, put",
        &["sftp", SFTP],
        "echo put $S/f $D/f | sftp -q -b - -D $SFTP",
    ),
    program(
        "`sftp`, put -p",
        &["sftp", SFTP],
        "echo put -p $S/f $D/f | sftp -q -b - -D $SFTP",
    ),
    program(
        "`sftp`, reput of half a file",
        &["sftp", SFTP],
        "head -c 1500000 $S/f > $D/f; echo reput $S/f $D/f | sftp -q -b - -D $SFTP",
    ),
    program("`scp`", &["scp", SFTP], "scp -q -D $SFTP $S/f host:$D/f"),
    program("rsync", &["rsync"], "rsync $S/f $D/f"),
    program("rsync --inplace", &["rsync"], "rsync --inplace $S/f $D/f"),
    program(
        "rsync --delay-updates",
        &["rsync"],
        "rsync --delay-updates $S/f $D/f",
    ),
    program(
        "vsftpd, STOR",
        &["vsftpd", "curl"],
        "ftp; again curl -sS -T $S/f ftp://127.0.0.1:$P/watched/f",
    ),
    program(
        "vsftpd, STOR and APPE",
        &["vsftpd", "curl"],
        "ftp; head -c 1500000 $S/f > $S/1; tail -c +1500001 $S/f > $S/2; \
         again curl -sS -T $S/1 ftp://127.0.0.1:$P/watched/f; curl -sS -a -T $S/2 ftp://127.0.0.1:$P/watched/f",
    ),
    Program {
        part: Part::Some,
        ..program(
            "vsftpd, STOR, broken off",
            &["vsftpd", "curl"],
            "ftp; again curl -sS ftp://127.0.0.1:$P/; \
             curl -s --limit-rate 100k -T $S/f ftp://127.0.0.1:$P/watched/f & \
             client=$!; again test -s $D/f; kill $client; ! wait $client",
        )
    },
    program(
        "Samba, put",
        &["smbd", "smbclient"],
        "smb; again smbclient -p $P -N //127.0.0.1/w -c \"put $S/f f\"",
    ),
    program(
        "`curl -o`",
        &["curl", "python3"],
        "web; again curl -sSf -o $D/f http://127.0.0.1:$P/f",
    ),
    program(
        "Chromium, a download",
        &["chromium", "chromedriver", "curl", "python3"],
        "web; again curl -sSf -o /dev/null http://127.0.0.1:$P/f; browser",
    ),
    program(
        "`wget`",
        &["wget", "curl", "python3"],
        "web; again curl -sSf -o /dev/null http://127.0.0.1:$P/f; wget -q -O $D/f http://127.0.0.1:$P/f",
    ),
];

const TABLE: &str = "\
@W IN_CLOSE_WRITE,IN_MOVED_TO echo $# $% >> @O/told
@W IN_COMPLETE,exclude=marker echo $# $$(cksum < $@/$# 2>&1) >> @O/complete
";

/// What was told of one program; None where it is not installed.
fn act(program: &Program) -> Option<(String, String)> {
    if !program.needs.iter().all(|name| have(name)) {
        return None;
    }
    let story = Story::new();
    let scratch = story.dir("scratch");
    story.prefix.table("t", TABLE);
    let _daemon = story.start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (s, d) = (scratch.display(), story.prefix.watched());
    let script = format!(
        "set -e; S={s} D={} P={port} SFTP={SFTP}\n{SERVE}\nftp() {{ {VSFTPD}; }}\nsmb() {{ {SAMBA}; }}\n\
         web() {{ serve python3 -m http.server -b 127.0.0.1 -d $S $P; }}\n\
         browser() {{ {BROWSER}; }}\n\
         head -c 3000000 /dev/urandom > $S/f\n{}",
        d.display(),
        program.upload,
    );
    sh(&script);
    if program.part == Part::All {
        sh(&format!("cmp {s}/f {}/f", d.display()));
    }
    let sum = sh(&format!("cksum < {}/f", d.display()));
    let whole = format!("f {}", sum.trim());
    let seen = || {
        story
            .prefix
            .out("complete")
            .lines()
            .any(|line| line == whole)
    };
    story
        .prefix
        .wait(&format!("{}: all of it", program.name), seen);
    fs::write(d.join("marker"), "").unwrap();
    story.prefix.wait("the last event", || {
        story.prefix.out("told").contains("marker")
    });
    Some((cell(&story, "told"), cell(&story, "complete")))
}

/// What a line was told, equal things counted; names made up are `(other)`.
fn cell(story: &Story, name: &str) -> String {
    let all = story.prefix.out(name);
    let events: Vec<String> = all
        .lines()
        .filter(|line| !line.starts_with("marker"))
        .map(|line| {
            let mut words = line.split(' ');
            let file = words
                .next()
                .filter(|name| *name == "f")
                .unwrap_or("(other)");
            match words.next().and_then(|event| event.strip_prefix("IN_")) {
                Some(event) => format!("{file} {event}"),
                None => file.to_owned(),
            }
        })
        .collect();
    let kinds: BTreeSet<&String> = events.iter().collect();
    let text =
        kinds.into_iter().map(
            |kind| match events.iter().filter(|event| *event == kind).count() {
                1 => kind.clone(),
                n => format!("{n} x {kind}"),
            },
        );
    text.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_last_complete_finds_the_whole_file() {
    if !is_root() {
        return eprintln!("left out: the servers need root");
    }
    let row = |program: &Program| {
        let (told, complete) = act(program)?;
        Some(format!("| {} | {told} | {complete} |\n", program.name))
    };
    let text: String = PROGRAMS.iter().filter_map(row).collect();
    println!("{text}");
    story::semantics("uploads", &text, Check::First);
}
