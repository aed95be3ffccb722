//! Options as a table writes them: for explanations, and to test that what is
//! written means what was read.

use super::duration::text as time;
use super::{Batch, Busy, Dialect, Kind, Options, Output, Shell, Source, Stdin};
use std::os::unix::ffi::OsStrExt;

impl Options {
    /// The words of a mask field that say what differs from the dialect's defaults.
    pub fn written(&self, dialect: Dialect) -> Vec<String> {
        let plain = Options::for_dialect(dialect);
        let mut words = Words(Vec::new());
        self.what(&plain, &mut words);
        self.when(&plain, &mut words);
        self.how(&plain, &mut words);
        words.0
    }

    /// What is watched, and which of its events count.
    fn what(&self, plain: &Options, words: &mut Words) {
        words.say("recursive", self.recursive != plain.recursive, || {
            self.recursive.to_string()
        });
        words.some("depth", self.depth.as_ref(), u32::to_string);
        words.say("dotdirs", self.dotdirs, || "true".into());
        words.say("include", !self.include.is_empty(), || globs(&self.include));
        words.say("exclude", !self.exclude.is_empty(), || globs(&self.exclude));
        words.some("type", self.kind.as_ref(), |kind| match kind {
            Kind::File => "file".into(),
            Kind::Dir => "dir".into(),
        });
        let source = match self.source {
            Source::Auto | Source::Poll => None,
            Source::Inotify => Some("inotify"),
            Source::Fanotify => Some("fanotify"),
        };
        words.some("source", source.as_ref(), |s| (*s).into());
        words.some("poll", self.poll.as_ref(), |d| time(*d));
        let implied = !self.by.is_empty() || !self.exe.is_empty();
        words.say("who", self.who && !implied, || "true".into());
        words.say("by", !self.by.is_empty(), || {
            escape(self.by.join(":").as_bytes())
        });
        words.say("exe", !self.exe.is_empty(), || globs(&self.exe));
        words.say("catch-up", self.catch_up, || "true".into());
    }

    /// When the command runs.
    fn when(&self, plain: &Options, words: &mut Words) {
        words.say("settle", !self.settle.is_zero(), || time(self.settle));
        words.some("max-wait", self.max_wait.as_ref(), |d| time(*d));
        words.some("batch", self.batch.as_ref(), |batch| match batch {
            Batch::Time(d) => time(*d),
            Batch::Count(n) => n.to_string(),
        });
        let busy = match self.busy {
            Busy::Parallel => "parallel",
            Busy::Queue => "queue",
            Busy::Skip => "skip",
            Busy::Restart => "restart",
        };
        words.say("busy", self.busy != plain.busy, || busy.into());
        words.some("jobs", self.jobs.as_ref(), u32::to_string);
        words.say("limit", self.limit != plain.limit, || {
            format!("{}/{}", self.limit.runs, time(self.limit.per))
        });
        words.say("loopable", self.no_loop, || "false".into());
    }

    /// How it runs.
    fn how(&self, plain: &Options, words: &mut Words) {
        words.say("run", self.stream, || "stream".into());
        let implied = if self.batch.is_some() || self.stream {
            Stdin::Json
        } else {
            Stdin::None
        };
        let stdin = match self.stdin {
            Stdin::None => "none",
            Stdin::Json => "json",
            Stdin::Paths => "paths",
            Stdin::Paths0 => "paths0",
        };
        words.say("stdin", self.stdin != implied, || stdin.into());
        let shell = if self.shell == Shell::Yes {
            "yes"
        } else {
            "no"
        };
        words.say("shell", self.shell != Shell::Auto, || shell.into());
        words.some("timeout", self.timeout.as_ref(), |d| time(*d));
        words.say("kill-after", self.kill_after != plain.kill_after, || {
            time(self.kill_after)
        });
        words.say("retry", self.retry != 0, || self.retry.to_string());
        words.some("user", self.user.as_ref(), |name| escape(name.as_bytes()));
        words.some("group", self.group.as_ref(), |name| escape(name.as_bytes()));
        words.some("cwd", self.cwd.as_ref(), |p| {
            escape(p.as_os_str().as_bytes())
        });
        words.some("umask", self.umask.as_ref(), |mode| format!("{mode:03o}"));
        words.some("nice", self.nice.as_ref(), i32::to_string);
        words.say("output", self.output != Output::Log, || {
            match &self.output {
                Output::Discard => "discard".into(),
                Output::Mail => "mail".into(),
                Output::File(file) => escape(file.as_os_str().as_bytes()),
                Output::Log => "log".into(),
            }
        });
        words.some("key", self.key.as_ref(), |key| escape(key.as_bytes()));
    }
}

struct Words(Vec<String>);

impl Words {
    fn say(&mut self, name: &str, said: bool, value: impl FnOnce() -> String) {
        if said {
            self.0.push(format!("{name}={}", value()));
        }
    }

    fn some<T>(&mut self, name: &str, value: Option<&T>, text: impl FnOnce(&T) -> String) {
        if let Some(value) = value {
            self.0.push(format!("{name}={}", text(value)));
        }
    }
}

/// Globs joined by `:`; they are escaped already but for what ends a word.
fn globs(globs: &[String]) -> String {
    let mut text = String::new();
    for (i, glob) in globs.iter().enumerate() {
        if i > 0 {
            text.push(':');
        }
        let mut chars = glob.chars();
        while let Some(c) = chars.next() {
            if matches!(c, ',' | ' ' | '\t') {
                text.push('\\');
            }
            text.push(c);
            if c == '\\' {
                text.extend(chars.next());
            }
        }
    }
    text
}

/// A plain value. Bytes that are not UTF-8 are shown, not kept: this is for people.
fn escape(value: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(value).chars() {
        if matches!(c, ',' | ' ' | '\t' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
