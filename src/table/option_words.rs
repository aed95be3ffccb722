//! `name=value` words of the mask field into one typed [`Options`].

use std::time::Duration;

use super::diagnostics::{Reporter, Span, quoted};
use super::option_choices as choices;
use super::option_values::{self as values, Wrong};
use super::{Busy, Dialect, Filter, Options, Source, Stdin, WhoFilter};

/// Every option, as documented in incrontab(5).
pub(super) const NAMES: [&str; 32] = [
    "recursive",
    "depth",
    "dotdirs",
    "include",
    "exclude",
    "type",
    "source",
    "poll",
    "who",
    "by",
    "exe",
    "settle",
    "max-wait",
    "batch",
    "busy",
    "jobs",
    "limit",
    "loopable",
    "run",
    "stdin",
    "shell",
    "timeout",
    "kill-after",
    "retry",
    "user",
    "group",
    "cwd",
    "umask",
    "nice",
    "output",
    "key",
    "catch-up",
];

/// `source=poll` without `poll=`.
const DEFAULT_POLL: Duration = Duration::from_secs(30);
/// 1 s, 2 s, 4 s ...: the last pause of 16 is 9 hours.
const MAX_RETRY: u32 = 16;

/// The options of one line as they are read.
pub(super) struct OptionWords {
    options: Options,
    seen: Vec<(&'static str, Span)>,
    old_no_loop: Option<Span>,
    system: bool,
    dialect: Dialect,
}

impl OptionWords {
    pub fn new(system: bool, dialect: Dialect) -> Self {
        let options = Options::for_dialect(dialect);
        Self {
            options,
            seen: Vec::new(),
            old_no_loop: None,
            system,
            dialect,
        }
    }

    /// The old word `IN_NO_LOOP`.
    pub fn no_loop(&mut self, span: Span) {
        self.old_no_loop = Some(span);
    }

    /// One `name=value`, still escaped.
    pub fn set(&mut self, name: &[u8], value: &[u8], span: Span, report: &mut Reporter) {
        let text = std::str::from_utf8(name).unwrap_or_default();
        let Some(name) = NAMES.iter().copied().find(|n| *n == text) else {
            let help = match report.nearest(text, NAMES.iter().copied()) {
                Some(near) => format!("did you mean `{near}=`?"),
                None => "incrontab(5) lists the options".into(),
            };
            report.error(span, format!("unknown option {}", quoted(name)), help);
            return;
        };
        if self.has(name) && !matches!(name, "include" | "exclude" | "by" | "exe") {
            report.error(
                span,
                format!("`{name}=` is given twice"),
                "take one of them out",
            );
            return;
        }
        self.seen.push((name, span));
        if !self.system && (matches!(name, "user" | "group") || tells_who(name, value)) {
            report.error(
                span,
                format!("`{name}=` is for tables of the system directory"),
                match name {
                    "user" | "group" => "a user's table always runs as that user: take it out",
                    _ => "the kernel tells only root whose process it was: take it out",
                },
            );
        } else if let Err(help) = self.apply(name, value) {
            report.error(
                span,
                format!("{} is no value of `{name}=`", quoted(value)),
                help,
            );
        } else {
            self.differs(name, span, report);
        }
    }

    fn apply(&mut self, name: &str, value: &[u8]) -> Result<(), Wrong> {
        let o = &mut self.options;
        match name {
            "recursive" => o.recursive = values::boolean(value)?,
            "depth" => o.depth = Some(values::number(value, 0, 4096)?),
            "dotdirs" => o.dotdirs = values::boolean(value)?,
            "include" => o.include.extend(values::globs(value)?),
            "exclude" => o.exclude.extend(values::globs(value)?),
            "type" => o.kind = Some(values::choice(value, &choices::KINDS)?),
            "source" => o.source = values::choice(value, &choices::SOURCES)?,
            "poll" => o.poll = Some(choices::poll(value)?),
            "who" => o.who = values::boolean(value)?,
            "by" => o.by.extend(choices::users(value)?),
            "exe" => o.exe.extend(choices::programs(value)?),
            "settle" => o.settle = values::time(value)?,
            "max-wait" => o.max_wait = Some(values::positive(value)?),
            "batch" => o.batch = Some(choices::batch(value)?),
            "busy" => o.busy = values::choice(value, &choices::BUSY)?,
            "jobs" => o.jobs = Some(values::number(value, 1, 100_000)?),
            "limit" => o.limit = choices::limit(value)?,
            "loopable" => o.no_loop = !values::boolean(value)?,
            "run" => o.stream = values::choice(value, &[("each", false), ("stream", true)])?,
            "stdin" => o.stdin = values::choice(value, &choices::STDIN)?,
            "shell" => o.shell = values::choice(value, &choices::SHELL)?,
            _ => return self.apply_run(name, value),
        }
        Ok(())
    }

    /// The options of how the command runs.
    fn apply_run(&mut self, name: &str, value: &[u8]) -> Result<(), Wrong> {
        let least_nice = if self.system { -20 } else { 0 };
        let o = &mut self.options;
        match name {
            "timeout" => o.timeout = Some(values::positive(value)?),
            "kill-after" => o.kill_after = values::time(value)?,
            "retry" => o.retry = values::number(value, 0, MAX_RETRY)?,
            "user" => o.user = Some(values::account(value)?),
            "group" => o.group = Some(values::account(value)?),
            "cwd" => o.cwd = Some(choices::path(values::absolute(value)?)),
            "umask" => o.umask = Some(values::umask(value)?),
            "nice" => o.nice = Some(values::nice(value, least_nice)?),
            "output" => o.output = choices::output(value)?,
            "key" => o.key = Some(values::key(value)?),
            "catch-up" => o.catch_up = values::boolean(value)?,
            // NAMES and the two matches are kept in step by a test.
            _ => return Err("incrontab(5) lists the options".into()),
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.seen.iter().any(|(n, _)| *n == name)
    }

    fn span(&self, name: &str) -> Option<Span> {
        self.seen
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, span)| *span)
    }

    /// Notes on what incron 0.5.12 made of a word.
    fn differs(&self, name: &str, span: Span, report: &mut Reporter) {
        let ignored = match name {
            "recursive" => self.options.recursive,
            "loopable" => self.options.no_loop,
            "dotdirs" => !self.options.dotdirs,
            _ => true,
        };
        if ignored {
            report.note(span, format!("incron 0.5.x ignores this `{name}=`"));
        }
    }

    /// The finished options; what contradicts what is reported.
    pub fn finish(mut self, field: Span, report: &mut Reporter) -> Options {
        self.check_loop(report);
        self.check_sources(report);
        self.check_who(report);
        self.check_pairs(report);
        if self.has("poll") {
            self.options.source = Source::Poll;
        } else if self.options.source == Source::Poll {
            self.options.poll = Some(DEFAULT_POLL);
        }
        if (self.options.batch.is_some() || self.options.stream) && !self.has("stdin") {
            self.options.stdin = Stdin::Json;
        }
        if let Err(e) = WhoFilter::new(&self.options) {
            let span = self.span("exe").unwrap_or(field);
            report.error(span, e.to_string(), "write fewer alternatives, or a `*`");
        }
        if let Err(e) = Filter::new(&self.options) {
            let span = self
                .span("include")
                .or(self.span("exclude"))
                .unwrap_or(field);
            report.error(span, e.to_string(), "write fewer alternatives, or a `*`");
        }
        self.options
    }

    fn check_loop(&mut self, report: &mut Reporter) {
        let written = self.old_no_loop.or_else(|| self.span("loopable"));
        let no_loop = self.old_no_loop.is_some() || self.options.no_loop;
        if let Some(span) = written.filter(|_| no_loop && self.options.stream) {
            report.error(
                span,
                "IN_NO_LOOP contradicts `run=stream`: its command runs all the time",
                "take it out, and let `exclude=` name what the command writes",
            );
        }
        let Some(span) = self.old_no_loop else { return };
        if self.has("loopable") && !self.options.no_loop {
            report.error(
                span,
                "IN_NO_LOOP contradicts `loopable=true`",
                "take one of them out",
            );
        }
        if self.dialect == Dialect::V0_5_12 {
            report.note(
                span,
                "incron 0.5.12 reads IN_NO_LOOP and does nothing about it",
            );
        }
        self.options.no_loop = true;
    }

    /// Who did it is known of what fanotify tells, and of nothing else.
    fn check_who(&mut self, report: &mut Reporter) {
        let o = &self.options;
        let asks = [
            (o.who, "who"),
            (!o.by.is_empty(), "by"),
            (!o.exe.is_empty(), "exe"),
        ];
        let Some((_, name)) = asks.into_iter().find(|(asked, _)| *asked) else {
            return;
        };
        let Some(span) = self.span(name) else { return };
        let polled = self.has("poll") || o.source == Source::Poll;
        if polled || o.source == Source::Inotify {
            let source = if polled { "poll" } else { "inotify" };
            report.error(
                span,
                format!("`{name}=` contradicts `source={source}`: it does not tell who did it"),
                "take one of them out",
            );
        }
        if self.has("who") && !o.who {
            report.error(
                span,
                format!("`{name}=` contradicts `who=false`"),
                "take one of them out",
            );
        }
        self.options.who = true;
    }

    fn check_sources(&self, report: &mut Reporter) {
        if let (Some(span), true) = (self.span("poll"), self.has("source"))
            && self.options.source != Source::Poll
        {
            report.error(
                span,
                "`poll=` contradicts `source=`",
                "`poll=` implies `source=poll`: take one of them out",
            );
        }
    }

    fn check_pairs(&self, report: &mut Reporter) {
        let o = &self.options;
        let mut refuse = |name: &str, wrong: bool, message: &str, help: &str| {
            if let Some(span) = self.span(name).filter(|_| wrong) {
                report.error(span, message, help);
            }
        };
        refuse(
            "depth",
            !o.recursive,
            "`depth=` means nothing without recursion",
            if self.has("recursive") {
                "take one of them out"
            } else {
                "add `recursive=true`"
            },
        );
        refuse(
            "max-wait",
            (o.settle.is_zero() && o.batch.is_none()) || o.max_wait.is_some_and(|w| w < o.settle),
            "`max-wait=` bounds `settle=` or `batch=`, and is no shorter than `settle=`",
            "give both: `settle=2s,max-wait=20s`, or `batch=100,max-wait=5s`",
        );
        refuse(
            "kill-after",
            o.timeout.is_none() && o.busy != Busy::Restart && !o.stream,
            "`kill-after=` means nothing without `timeout=`, `busy=restart` or `run=stream`",
            "add `timeout=`",
        );
        let streams = "a stream command runs all the time and reads each event: take it out";
        for name in ["batch", "busy", "timeout", "retry", "jobs", "limit"] {
            let message = format!("`{name}=` contradicts `run=stream`");
            refuse(name, o.stream, &message, streams);
        }
        refuse(
            "stdin",
            o.stream && o.stdin != Stdin::Json,
            "`run=stream` reads events as JSON lines",
            "write `stdin=json`, or take it out",
        );
    }
}

/// The option asks for more than a user's own processes.
fn tells_who(name: &str, value: &[u8]) -> bool {
    matches!(name, "by" | "exe") || name == "who" && value == b"true"
}
