//! `incrond --check`: what is wrong, before it matters. The configuration has
//! been read by then; without names, all tables of the machine are looked at
//! the way the daemon would. A table that was named is explained, too: what
//! each line watches and what it runs.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::access::Access;
use super::accounts::Account;
use super::tables::{self, Rule};
use crate::config::Config;
use crate::control::MAX_TABLE;
use crate::exit::Exit;
use crate::table::{self, Context, Severity};
use crate::worker::{about_provider, find_provider, usual_shell};

/// What was found so far.
struct Findings<'a> {
    config: &'a Config,
    colour: bool,
    /// Tables that are named are for `incrond run`.
    run: bool,
    tables: u32,
    lines: usize,
    errors: u32,
    warnings: u32,
}

/// Checks `files` (tables, or directories of them), or all tables. Findings go
/// to standard output, since they are what was asked for.
pub fn check(config: &Config, files: &[PathBuf]) -> Exit {
    let mut findings = Findings::new(config, false);
    if files.is_empty() {
        findings.everything();
    }
    for file in files {
        findings.named(file);
    }
    findings.sum()
}

/// Checks `table` as one that `incrond run` serves: the caller's, with no more
/// rights than a user's.
pub fn check_run(config: &Config, table: &Path) -> Exit {
    let mut findings = Findings::new(config, true);
    findings.text_of(table);
    findings.sum()
}

/// A reader that has seen enough is no reason to fail.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

impl<'a> Findings<'a> {
    fn new(config: &'a Config, run: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            config,
            colour,
            run,
            tables: 0,
            lines: 0,
            errors: 0,
            warnings: 0,
        }
    }

    fn sum(self) -> Exit {
        let Self {
            tables,
            lines,
            errors,
            warnings,
            ..
        } = self;
        say(&format!(
            "{tables} tables, {lines} good lines, {errors} errors, {warnings} warnings\n"
        ));
        match errors {
            0 => Exit::Success,
            _ => Exit::Config,
        }
    }

    fn everything(&mut self) {
        let euid = nix::unistd::geteuid().as_raw();
        if let Some(dir) = &self.config.system_table_dir {
            let rule = Rule::system(euid);
            if let Err(why) = tables::trusted_directory(dir, &rule.owners)
                && dir.exists()
            {
                self.error(dir, &why.to_string());
            }
            self.directory(dir, true, |_| Ok(rule.clone()));
        }
        let dir = &self.config.user_table_dir;
        if self.config.personal {
            let rule = Rule::personal(euid);
            self.directory(dir, false, |_| Ok(rule.clone()));
        } else {
            let access = Access::read(self.config);
            self.directory(dir, false, |name| user_rule(name, &access));
        }
    }

    /// All tables of a directory that a daemon serves; `rule` says whose may be there.
    fn directory(&mut self, dir: &Path, system: bool, rule: impl Fn(&str) -> Result<Rule, String>) {
        let names = match names(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let dir = dir.display();
                return say(&format!(
                    "{dir} is not yours to read; its tables were not checked\n\n"
                ));
            }
            Err(error) => return self.error(dir, &error.to_string()),
        };
        for name in names {
            let path = dir.join(&name);
            let personal = self.config.personal && !name.as_encoded_bytes().ends_with(b".incron");
            if tables::passed_over(&name).is_some() || personal {
                continue;
            }
            let opened = rule(&name.to_string_lossy())
                .and_then(|rule| tables::open(dir, &name, &rule).map_err(|why| why.to_string()));
            match opened {
                Ok(opened) => self.table(&path, opened.file, system, false),
                Err(why) => self.error(&path, &why),
            }
        }
    }

    /// A table that was named, or a directory of some: whoever owns them, it is
    /// their text that counts.
    fn named(&mut self, path: &Path) {
        if !path.is_dir() {
            return self.text_of(path);
        }
        let names = match names(path) {
            Ok(names) => names,
            Err(error) => return self.error(path, &error.to_string()),
        };
        for name in names
            .iter()
            .filter(|name| tables::passed_over(name).is_none())
        {
            let path = path.join(name);
            match path.is_file() {
                true => self.text_of(&path),
                false => self.error(&path, "it is not a regular file"),
            }
        }
    }

    fn text_of(&mut self, path: &Path) {
        let spool = path.parent() == Some(&self.config.user_table_dir);
        let system = !spool && !self.config.personal && !self.run;
        match std::fs::File::open(path) {
            Ok(file) => self.table(path, file, system, true),
            Err(error) => self.error(path, &error.to_string()),
        }
    }

    fn table(&mut self, path: &Path, file: impl Read, system: bool, explained: bool) {
        let mut text = Vec::new();
        if let Err(error) = file.take(MAX_TABLE as u64 + 1).read_to_end(&mut text) {
            return self.error(path, &error.to_string());
        }
        let origin = path.display().to_string();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let dialect = self.config.dialect;
        let context = Context {
            origin,
            name,
            dialect,
            system,
        };
        let (table, diagnostics) = table::parse(&text, &context);
        let count = |wanted| diagnostics.iter().filter(|d| d.severity == wanted).count() as u32;
        self.tables += 1;
        self.lines += table.lines.len();
        self.errors += count(Severity::Error);
        self.warnings += count(Severity::Warning);
        let shown = table::render(
            &diagnostics,
            &text,
            &context.origin,
            Severity::Warning,
            self.colour,
        );
        if explained {
            let provider = |name: &str| about_provider(&self.config.provider_dir, name);
            let text = table::explain(&table, &diagnostics, usual_shell(system), &provider);
            let origin = table::visible(context.origin.as_bytes());
            say(&format!("{origin}\n{text}\n"));
        }
        say(&shown);
        self.providers(&table, &context.origin);
    }

    /// Warns of lines that wait for a provider.
    fn providers(&mut self, table: &table::Table, origin: &str) {
        let own = nix::unistd::geteuid().as_raw();
        for line in &table.lines {
            let Some((name, _)) = line.path.provider() else {
                continue;
            };
            if let Err(why) = find_provider(&self.config.provider_dir, name, own) {
                self.warnings += 1;
                let (number, why) = (line.number, table::visible(why.to_string().as_bytes()));
                say(&format!("warning: {origin}:{number}: {why}\n\n"));
            }
        }
    }

    fn error(&mut self, path: &Path, why: &str) {
        self.errors += 1;
        let path = table::visible(path.as_os_str().as_bytes());
        say(&format!("error: {path}: {why}\n\n"));
    }
}

fn user_rule(name: &str, access: &Access) -> Result<Rule, String> {
    let account =
        Account::by_name(name).map_err(|error| format!("cannot look up the user: {error}"))?;
    let account = account.ok_or("there is no such user")?;
    access
        .check(name)
        .map_err(|why| format!("the user is not allowed to use incron: {why}"))?;
    Ok(Rule::spool(account.uid))
}

fn names(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
