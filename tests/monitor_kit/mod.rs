//! The container monitor as it is used: a daemon in a prefix of its own, a table with
//! `@containers`, and the real helper as its provider.

#![allow(dead_code)] // each test file uses a part of it

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::containers_kit::PROGRAM;
use crate::story::Story;
use crate::story::common::{Daemon, children};

/// A prefix whose provider `@containers` is ours.
pub struct Monitor {
    pub story: Story,
}

impl Monitor {
    /// `options` are those of `incron-containers provide`.
    pub fn new(options: &[&str]) -> Self {
        Self::with("", options)
    }

    /// With these lines added to incron.conf.
    pub fn with(extra: &str, options: &[&str]) -> Self {
        let story = Story::with(&format!("provider_dir = @P/providers\n{extra}"));
        story.dir("providers");
        let text = format!("#!/bin/sh\nexec {PROGRAM} provide {}\n", options.join(" "));
        story.script("providers/containers", &text);
        Self { story }
    }

    /// The table that is shipped, its program the one built here, with these words
    /// after it.
    pub fn shipped(&self, words: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/incron.d/containers");
        let table = std::fs::read_to_string(path).unwrap();
        let installed = "/usr/libexec/incron/incron-containers log";
        assert!(table.trim_end().ends_with(installed), "{table}");
        let ours = format!("{PROGRAM} log {words}");
        let table = table.replace(installed, self.story.fill(&ours).trim_end());
        self.story.prefix.table("containers", &table);
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&self) -> Daemon<'_> {
        self.story.start()
    }

    /// Waits for an event of the path `last` in an output file of JSON lines. All events
    /// from the byte `from` on, and the end of what was read.
    pub fn until(&self, name: &str, from: usize, last: &str) -> (Vec<Value>, usize) {
        let mark = format!("\"path\":\"{last}\"");
        let mut end = from;
        self.story.prefix.wait(&format!("{mark} in {name}"), || {
            let text = self.story.prefix.out(name);
            // The last line may be half written.
            end = text.rfind('\n').map_or(0, |end| end + 1);
            text.get(from..end).is_some_and(|new| new.contains(&mark))
        });
        let text = self.story.prefix.out(name);
        let lines = text[from..end].lines();
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        (lines.map(parse).collect(), end)
    }

    /// Waits until an output file has a line with this text; the line.
    pub fn line(&self, name: &str, text: &str) -> String {
        let mut found = None;
        let what = format!("{text:?} in {name}");
        self.story.prefix.wait(&what, || {
            let out = self.story.prefix.out(name);
            found = out.lines().find(|l| l.contains(text)).map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// What `incronctl status` says.
    pub fn status(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incronctl"));
        command.arg("status").args(words);
        let output = command.arg("-f").arg(self.story.prefix.conf()).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    /// Events that the stream of a line of the one table lost.
    pub fn lost(&self, line: u64) -> u64 {
        let status: Value = serde_json::from_str(&self.status(&["--json"])).unwrap();
        let lines = status["workers"][0]["lines"].as_array().unwrap().iter();
        let mut lines = lines.filter(|one| one["line"] == line);
        lines.next().unwrap()["stream"]["lost"].as_u64().unwrap()
    }

    /// Processes of the system's worker: the provider's, the helper's.
    pub fn helpers(&self, daemon: &Daemon<'_>) -> Vec<nix::unistd::Pid> {
        daemon.workers().into_iter().flat_map(children).collect()
    }
}

/// A shell in a container; what it is told is done before the next line is read.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    /// `command` runs `sh` in a container, its input open.
    pub fn new(command: &mut Command) -> Shell {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Shell {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Gives it a line.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// A line that it printed.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the shell has ended: {line:?}");
        line.trim_end().to_owned()
    }

    /// Gives it a script, and waits for its end.
    #[track_caller]
    pub fn run(&mut self, script: &str) {
        self.say(&format!("{script}\necho done"));
        while self.hear() != "done" {}
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
