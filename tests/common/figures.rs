//! What `incronctl` tells of a daemon in a prefix.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{LIMIT, Prefix};

/// The operator's tool.
pub const INCRONCTL: &str = env!("CARGO_BIN_EXE_incronctl");

pub fn incronctl(prefix: &Prefix, words: &[&str]) -> Command {
    let mut command = Command::new(INCRONCTL);
    command
        .args(words)
        .arg("-f")
        .arg(prefix.conf())
        .stdin(Stdio::null());
    command
}

pub fn run(prefix: &Prefix, words: &[&str]) -> Output {
    incronctl(prefix, words).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// The line, as `--json` tells it; Null while there is none.
pub fn line(prefix: &Prefix, name: &str) -> Value {
    let output = run(prefix, &["status", "--json", "--line", name]);
    match output.status.success() {
        true => json(&output)["workers"][0]["lines"][0].clone(),
        false => Value::Null,
    }
}

/// The first worker, as `--json` tells it.
pub fn worker(prefix: &Prefix) -> Value {
    json(&run(prefix, &["status", "--json"]))["workers"][0].clone()
}

/// Waits until the line's figures are these; all of them.
pub fn wait_figures(prefix: &Prefix, name: &str, wanted: &[(&str, u64)]) -> Value {
    let mut got = Value::Null;
    let is = |got: &Value| {
        wanted.iter().all(|(figure, value)| {
            let figure = figure.split('.').fold(got, |value, part| &value[part]);
            figure == *value
        })
    };
    let end = std::time::Instant::now() + LIMIT;
    prefix.wait(&format!("{wanted:?} of {name}"), || {
        got = line(prefix, name);
        assert!(
            is(&got) || std::time::Instant::now() < end,
            "{wanted:?} are not in {got}"
        );
        is(&got)
    });
    got
}
