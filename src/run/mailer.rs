//! The mailer is a command like any other, but nobody's line: its runs are
//! numbered apart, and what they report goes to the log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Job, Report, mail};
use crate::schedule::RunId;

/// Its runs are numbered from here.
const FIRST: u64 = 1 << 62;

/// Turns the output of ended commands into jobs for the mailer.
#[derive(Debug)]
pub(super) struct Mailer {
    pub(super) program: PathBuf,
    /// Whom mail is from; None: LOGNAME of the command.
    pub(super) owner: Option<String>,
    next: u64,
    /// Whose output those that run are mailing.
    whose: BTreeMap<RunId, String>,
}

impl Mailer {
    pub(super) fn new() -> Self {
        Self {
            program: mail::MAILER.into(),
            owner: None,
            next: FIRST,
            whose: BTreeMap::new(),
        }
    }

    /// The run that mails `output` of `job`; None where there is nothing to send.
    pub(super) fn run(&mut self, job: &Job, output: Vec<u8>) -> Option<(RunId, Job)> {
        let owner = self.owner.clone().unwrap_or_else(|| mail::owner_of(job));
        let mail = mail::mail(job, &owner, &mail::host(), output, &self.program)?;
        let run = RunId(self.next);
        self.next += 1;
        self.whose.insert(run, mail::whose(job));
        Some((run, mail))
    }

    /// It does not run; whose output it was to mail.
    pub(super) fn over(&mut self, run: RunId) -> String {
        self.whose.remove(&run).unwrap_or_default()
    }

    /// Takes what mailers reported since `first` out of `out`.
    pub(super) fn take_reports(&mut self, out: &mut Vec<Report>, first: usize) {
        if self.next == FIRST {
            return;
        }
        let is_own = |report: &mut Report| match report {
            Report::Output(run, _) | Report::Ended { run, .. } => run.0 >= FIRST,
        };
        for report in out.extract_if(first.., is_own) {
            match report {
                Report::Output(_, line) => {
                    log::warn!("mailer: {}", String::from_utf8_lossy(&line));
                }
                Report::Ended { run, outcome, .. } => {
                    let whose = self.over(run);
                    if !outcome.success() {
                        log::error!("output of {whose} is not mailed: the mailer {outcome}");
                    }
                }
            }
        }
    }
}

/// The job as a mail speaks of it.
pub(super) fn without_input(job: &Job) -> Job {
    Job {
        stdin: Vec::new(),
        ..job.clone()
    }
}
