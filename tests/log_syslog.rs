//! The log through a real rsyslogd on a socket of its own, which is killed and
//! started again. One test: a program has one logger.

mod log_support;

use std::fs;

use incron::log::{Destination, Escaped, LogSettings, init};
use log_support::rsyslogd::Rsyslogd;
use log_support::wait_for;

#[test]
fn messages_survive_a_restart_of_syslogd_and_cannot_forge_lines() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path();
    let mut settings = LogSettings::new(Destination::Syslog);
    settings.socket = Some(prefix.join("log.sock"));
    // Before any syslogd runs: kept.
    init(&settings).unwrap();
    log::info!("ready to process filesystem events");
    let Some(first) = Rsyslogd::start(prefix) else {
        return eprintln!("SKIPPED: /usr/sbin/rsyslogd is not installed");
    };
    log::info!(table = "web", line = 3; "(alice) CMD (make site)");
    log::error!(
        "file {}",
        Escaped(b"x\nNov 20 01:02:03 sshd[1]: forged \x1b[2J \xff")
    );
    log::warn!("raw\nnewline");
    let messages = || fs::read_to_string(prefix.join("messages")).unwrap_or_default();
    wait_for(prefix, || messages().lines().count() >= 4);
    let text = messages();
    let lines: Vec<&str> = text.lines().collect();
    let pid = std::process::id();
    assert!(lines[0].starts_with("78 "), "{text}"); // cron.info
    assert!(lines[0].ends_with(&format!(
        "incrond[{pid}]: ready to process filesystem events"
    )));
    assert!(
        lines[1].ends_with(&format!("incrond[{pid}]: (alice) CMD (make site)")),
        "{text}"
    );
    assert!(
        lines[2].starts_with("75 ") && lines[2].ends_with("forged \\x1b[2J \\xff"),
        "{text}"
    );
    assert!(lines[2].contains("file x\\x0aNov 20"), "{text}");
    assert!(
        lines[3].starts_with("76 ") && lines[3].ends_with("raw\\x0anewline"),
        "{text}"
    );

    first.kill();
    log::info!("said while nobody listened");
    log::info!("and more");
    let second = Rsyslogd::start(prefix).unwrap();
    log::info!("{}", "x".repeat(100_000));
    wait_for(prefix, || messages().lines().count() >= 7);
    let text = messages();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[4].ends_with("said while nobody listened"), "{text}");
    assert!(lines[5].ends_with("and more"));
    assert!(
        lines[6].ends_with("x...") && lines[6].len() < 8300,
        "{} {}",
        lines[6].len(),
        &lines[6][lines[6].len() - 60..]
    );

    // Gone between two messages: the one that finds it out is not lost.
    second.kill();
    let third = Rsyslogd::start(prefix).unwrap();
    log::info!("found it restarted");
    wait_for(prefix, || messages().contains("found it restarted"));

    // A flood while it is away is bounded and said.
    third.kill();
    (0..5000).for_each(|n| log::info!("flood {n}"));
    let _fourth = Rsyslogd::start(prefix).unwrap();
    wait_for(prefix, || {
        log::logger().flush();
        messages().contains("log messages were lost")
    });
    let text = messages();
    assert!(text.contains("flood 0\n") && text.contains("flood 1023\n"));
    assert!(
        text.contains("3976 log messages were lost"),
        "{}",
        &text[text.len() - 200..]
    );
}
