//! Standard error as a log: for people, for systemd and for programs.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use incron::log::{Destination, LogSettings, init};

/// What a program that logs these records writes to standard error.
fn logged(destination: &str, prepare: impl FnOnce(&mut Command)) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_program_that_logs", "--exact", "--ignored", "--nocapture"]);
    command
        .env("TEST_DESTINATION", destination)
        .env_remove("JOURNAL_STREAM");
    command.env("TZ", "Asia/Kolkata").stdout(Stdio::null());
    prepare(&mut command);
    let out = command.output().unwrap();
    String::from_utf8(out.stderr).unwrap()
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn a_program_that_logs() {
    let destination = std::env::var("TEST_DESTINATION").unwrap().parse().unwrap();
    init(&LogSettings::new(destination)).unwrap();
    log::info!(table = "web", line = 3, ok = true, message = "mine"; "(alice) CMD (a\nb)");
    log::debug!("not at level info");
    log::error!("broken");
    log::logger().flush();
}

#[test]
fn people_get_time_level_and_message() {
    let text = logged("stderr", |_| {});
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let words: Vec<&str> = lines[0].splitn(5, ' ').collect();
    assert_eq!((words[2], words[4]), ("info", "(alice) CMD (a\\x0ab)"));
    assert!(words[3].starts_with("incrond[") && words[3].ends_with("]:"));
    // Local time, 5:30 before UTC.
    let local = format!("{}T{}+05:30", words[0], words[1]);
    let logged: jiff::Timestamp = local.parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(logged);
    assert!(age.as_secs().abs() < 3600, "{text}");
}

#[test]
fn systemd_gets_priorities() {
    let (mut read, write) = std::io::pipe().unwrap();
    let stat = nix::sys::stat::fstat(write.as_fd()).unwrap();
    logged("stderr", |command| {
        command
            .env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino))
            .stderr(write);
    });
    let mut text = String::new();
    std::io::Read::read_to_string(&mut read, &mut text).unwrap();
    assert_eq!(text, "<6>(alice) CMD (a\\x0ab)\n<3>broken\n");
}

#[test]
fn programs_get_one_object_a_line() {
    let text = logged("json", |_| {});
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], "(alice) CMD (a\nb)");
    assert_eq!(
        (&lines[0]["table"], &lines[0]["line"]),
        (&"web".into(), &3.into())
    );
    assert_eq!(
        (&lines[0]["ok"], &lines[0]["message_"]),
        (&true.into(), &"mine".into())
    );
    assert_eq!(
        (&lines[1]["level"], &lines[1]["ident"]),
        (&"error".into(), &"incrond".into())
    );
    assert!(
        lines[0]["time"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
}

#[test]
fn a_reader_that_does_not_read_stops_nobody() {
    let (read, write) = std::io::pipe().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_program_that_floods", "--exact", "--ignored"]);
    let status = command
        .stdout(Stdio::null())
        .stderr(write)
        .status()
        .unwrap();
    assert!(status.success());
    drop(read);
}

#[test]
#[ignore = "run by a_reader_that_does_not_read_stops_nobody"]
fn a_program_that_floods() {
    init(&LogSettings::new(Destination::Stderr)).unwrap();
    (0..10_000).for_each(|n| log::info!("line {n} {}", "x".repeat(100)));
}

#[test]
fn an_unknown_destination_is_refused_with_what_is_known() {
    let error = "syslgo".parse::<Destination>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`syslgo` is no log destination; syslog, journal, stderr and json are"
    );
}
