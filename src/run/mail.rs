//! `output=mail`: what a command printed as a mail, the way cron sends it.
//!
//! Pure: a message is made here, and a [`Job`] that hands it to the mailer. The
//! runner runs that job like any other.

use std::ffi::OsString;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Job;
use crate::table::Output;

/// The program that takes mail on standard input, on every system with a mailer.
pub const MAILER: &str = "/usr/sbin/sendmail";

/// A mailer that hangs must not stay for ever.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Longer commands are cut in the subject.
const MAX_SUBJECT: usize = 160;
/// Bytes of text in one encoded word (RFC 2047: at most 75 characters encoded).
const ENCODED_WORD: usize = 45;

/// The line whose command a job is, for the log.
pub(super) fn whose(job: &Job) -> String {
    match (variable(job, "INCRON_TABLE"), variable(job, "INCRON_LINE")) {
        (Some(table), Some(line)) => format!("line {line} of {}", one_line(&table)),
        _ => "a command".to_owned(),
    }
}

/// The job that mails `output` of `job`; None where nothing is to be sent: no
/// output, or `MAILTO=` is empty. Without MAILTO it goes to `owner`.
pub fn mail(job: &Job, owner: &str, host: &str, output: Vec<u8>, mailer: &Path) -> Option<Job> {
    let to = variable(job, "MAILTO").unwrap_or_else(|| owner.to_owned());
    let to = one_line(&to);
    if to.is_empty() || output.is_empty() {
        return None;
    }
    let from = variable(job, "MAILFROM").map(|from| one_line(&from));
    let from = from
        .filter(|from| !from.is_empty())
        .unwrap_or_else(|| owner.to_owned());
    let subject = format!("incron <{owner}@{host}> {}", command(job));
    let mut message = format!(
        "From: {from} (incron)\nTo: {to}\nSubject: {}\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset={}\nContent-Transfer-Encoding: 8bit\n\
         Auto-Submitted: auto-generated\nPrecedence: bulk\n",
        header_text(&subject),
        if std::str::from_utf8(&output).is_ok() {
            "UTF-8"
        } else {
            "unknown-8bit"
        },
    );
    for name in [
        "INCRON_TABLE",
        "INCRON_LINE",
        "INCRON_TARGET",
        "INCRON_EVENT",
    ] {
        if let Some(value) = variable(job, name) {
            let header = name.to_ascii_lowercase().replace('_', "-");
            message.push_str(&format!("X-{header}: {}\n", header_text(&value)));
        }
    }
    message.push('\n');
    let mut stdin = message.into_bytes();
    stdin.extend_from_slice(&output);
    Some(Job {
        base: Rc::from([]),
        // -i: a line with a single dot does not end it; -t: recipients from the headers.
        argv: vec![mailer.into(), "-i".into(), "-t".into()],
        env: mailer_env(job),
        cwd: None,
        umask: None,
        nice: None,
        identity: job.identity.clone(),
        stdin,
        output: Output::Log,
        timeout: Some(TIMEOUT),
        kill_after: Duration::from_secs(5),
    })
}

/// A mailer trusts its environment: it gets a fixed PATH and the user's names only.
fn mailer_env(job: &Job) -> Vec<(OsString, OsString)> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut env = vec![(OsString::from("PATH"), OsString::from(path))];
    let names = ["HOME", "LOGNAME", "USER"];
    env.extend(
        job.variables()
            .filter(|(name, _)| names.iter().any(|n| name == n))
            .cloned(),
    );
    env
}

fn variable(job: &Job, name: &str) -> Option<String> {
    let value = job.variables().find(|(key, _)| key == name)?;
    Some(value.1.to_string_lossy().into_owned())
}

/// The text of `SHELL -c TEXT`, or the words of a direct command.
fn command(job: &Job) -> String {
    let words: Vec<_> = job.argv.iter().map(|word| word.to_string_lossy()).collect();
    match words.as_slice() {
        [_, dash_c, text, ..] if dash_c == "-c" => text.to_string(),
        words => words.join(" "),
    }
}

/// A header ends at its newline: what came from a file name must not begin another.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .into()
}

/// Free text in a header: cut, and encoded (RFC 2047) where it is not ASCII.
fn header_text(text: &str) -> String {
    let text: String = one_line(text).chars().take(MAX_SUBJECT).collect();
    if text.is_ascii() {
        return text;
    }
    let mut words = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = (1..=rest.len().min(ENCODED_WORD))
            .rev()
            .find(|&end| rest.is_char_boundary(end));
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\n ")
}

/// The name of the job's user for a worker that was not told its owner's.
pub(super) fn owner_of(job: &Job) -> String {
    let name = variable(job, "LOGNAME").or_else(|| variable(job, "USER"));
    name.map(|name| one_line(&name))
        .filter(|name| !name.is_empty())
        .unwrap_or("root".into())
}

/// This machine's name.
pub(super) fn host() -> String {
    let name = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_else(|_| b"localhost".into());
    one_line(&String::from_utf8_lossy(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(env: &[(&str, &str)]) -> Job {
        let mut job = Job::new(["/bin/sh", "-c", "make site"]);
        job.env = env
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        job
    }

    fn text(job: &Job, output: &[u8]) -> Option<String> {
        let mail = mail(job, "alice", "box", output.to_vec(), Path::new(MAILER))?;
        Some(String::from_utf8_lossy(&mail.stdin).into_owned())
    }

    #[test]
    fn it_looks_like_crons() {
        let message = text(&job(&[("INCRON_TABLE", "web")]), b"hello\n").unwrap();
        assert!(message.starts_with("From: alice (incron)\nTo: alice\n"));
        assert!(message.contains("\nSubject: incron <alice@box> make site\n"));
        assert!(message.contains("\nX-incron-table: web\n"));
        assert!(message.ends_with("\n\nhello\n"));
    }

    #[test]
    fn mailto_decides() {
        let message = text(&job(&[("MAILTO", "ops@example.org")]), b"x").unwrap();
        assert!(message.contains("\nTo: ops@example.org\n"));
        assert_eq!(text(&job(&[("MAILTO", "")]), b"x"), None);
        assert_eq!(text(&job(&[]), b""), None);
    }

    #[test]
    fn no_value_begins_a_header_of_its_own() {
        let env = [
            ("MAILTO", "a\nBcc: b@example.org"),
            ("INCRON_TARGET", "/x\r\nBcc: c\n\nbody"),
        ];
        let message = text(&job(&env), b"x").unwrap();
        assert!(!message.contains("\nBcc"), "{message}");
        assert_eq!(message.matches("\n\n").count(), 1, "{message}");
    }

    #[test]
    fn names_that_are_not_ascii_are_encoded_words() {
        let name = "/srv/\u{fc}bung/".to_owned() + &"\u{4e2d}".repeat(40);
        let message = text(&job(&[("INCRON_TARGET", &name)]), b"\xff").unwrap();
        let header = message.split("X-incron-target: ").nth(1).unwrap();
        let header = header
            .split("\nX-")
            .next()
            .unwrap()
            .split("\n\n")
            .next()
            .unwrap();
        assert!(header.is_ascii() && header.lines().all(|line| line.trim().len() <= 75));
        assert!(message.contains("charset=unknown-8bit"));
    }
}
