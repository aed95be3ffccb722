//! A daemon with a provider that says what the test says: a script that prints a
//! file, then whatever comes through a FIFO. Killed and started again, it prints the
//! file anew, once the test lets it.

#![allow(dead_code)] // each test file uses a part of it

#[path = "../story/mod.rs"]
pub mod story;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use story::{Story, put};

pub const INCRONCTL: &str = env!("CARGO_BIN_EXE_incronctl");

/// Prints `NAME.first`, then what comes through `NAME.feed`.
pub const FED: &str = "cat @P/NAME.first; exec cat @P/NAME.feed";

pub struct Set {
    pub story: Story,
}

impl Set {
    /// A daemon's prefix, with a directory for providers.
    pub fn new() -> Self {
        let story = Story::with("provider_dir = @P/providers");
        story.dir("providers");
        Self { story }
    }

    /// A provider that does `body`, a piece of sh.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let body = self.story.fill(body).replace("NAME", name);
        let text = format!("#!/bin/sh\n{body}\n");
        self.story.script(&format!("providers/{name}"), &text)
    }

    /// A provider that says `first` at each start, and then what is fed to it.
    pub fn fed(&self, name: &str, first: &str) -> Feed {
        put(
            self.story.path(&format!("{name}.first")),
            &self.story.fill(first),
        );
        let fifo = self.story.path(&format!("{name}.feed"));
        mkfifo(&fifo, Mode::from_bits_truncate(0o666)).unwrap();
        let feed = fs::OpenOptions::new().read(true).write(true).open(fifo);
        self.script(name, FED);
        Feed(feed.unwrap())
    }

    /// What status tells of a provider of the system's worker; Null: it knows none.
    pub fn provider(&self, name: &str) -> Value {
        let worker = self.worker();
        let all = worker["providers"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|known| known["name"] == name)
            .unwrap_or_default()
    }

    pub fn worker(&self) -> Value {
        let output = std::process::Command::new(INCRONCTL)
            .args(["status", "--json", "-f"])
            .arg(self.story.prefix.conf())
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let workers = told["workers"].as_array().cloned().unwrap_or_default();
        let is_system = |worker: &Value| worker["system"] == true;
        workers.into_iter().find(is_system).unwrap_or_default()
    }

    pub fn wait_members(&self, name: &str, count: u64) {
        let what = format!("{count} paths of {name}");
        self.story
            .prefix
            .wait(&what, || self.provider(name)["members"] == count);
    }

    /// The process of a provider, once it has another than `not`.
    pub fn pid(&self, name: &str, not: i64) -> i64 {
        let mut pid = 0;
        self.story.prefix.wait("the provider's process", || {
            pid = self.provider(name)["pid"].as_i64().unwrap_or(not);
            pid != not
        });
        pid
    }
}

/// The other end of a provider's FIFO.
pub struct Feed(fs::File);

impl Feed {
    pub fn say(&mut self, text: &str) {
        writeln!(self.0, "{text}").unwrap();
    }

    pub fn add(&mut self, id: &str, path: impl AsRef<std::path::Path>) {
        self.say(&add(id, path));
    }
}

pub fn add(id: &str, path: impl AsRef<std::path::Path>) -> String {
    let path = path.as_ref().to_str().unwrap();
    serde_json::json!({"add": {"id": id, "path": path, "labels": {"id": id}}}).to_string()
}

pub const READY: &str = "{\"ready\":true}";
