//! `by=` and `exe=` of a line, compiled: whose changes it wants.
//!
//! An actor that is not known is nobody's: a line that leaves some out is told of
//! it, for silence would hide what it is to show; a line that wants only some is
//! not, and the worker counts it.

use super::Options;
use super::glob::{Glob, TooManyAlternatives, expand_braces};

/// Decides by its actor whether a line wants an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhoFilter {
    users: Sides<User>,
    programs: Sides<Program>,
}

/// What a line says to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is told.
    Yes,
    /// It does not ask for this actor.
    No,
    /// It asks for some actors, and this one is not known.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    Number(u32),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Program {
    /// `dpkg`, `*.sh`: the last component.
    Name(Glob),
    /// `/usr/lib/*`: these components, the first of the path.
    Path(Vec<Glob>),
}

/// Those that are meant and, with `!`, those that are not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sides<T> {
    only: Vec<T>,
    not: Vec<T>,
}

impl<T> Default for Sides<T> {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            not: Vec::new(),
        }
    }
}

impl WhoFilter {
    /// Compiles a line's options. Fails only for braces that stand for too much.
    pub fn new(options: &Options) -> Result<Self, TooManyAlternatives> {
        let mut filter = Self::default();
        for word in &options.by {
            let (side, name) = filter.users.side(word);
            side.push(match name.parse() {
                Ok(uid) => User::Number(uid),
                Err(_) => User::Name(name.into()),
            });
        }
        for word in &options.exe {
            let (side, glob) = filter.programs.side(word);
            for one in expand_braces(glob.as_bytes())? {
                side.push(Program::new(&one));
                if side.len() > 4096 {
                    return Err(TooManyAlternatives);
                }
            }
        }
        Ok(filter)
    }

    /// True where every actor is wanted.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.programs.is_empty()
    }

    /// Asks for the effective user, his name, and the program; None: not known.
    pub fn wants(&self, uid: Option<u32>, name: Option<&str>, exe: Option<&[u8]>) -> Wanted {
        let user = self.users.want(uid, |user, uid| match user {
            User::Number(number) => *number == uid,
            User::Name(text) => name == Some(text),
        });
        // A program that was replaced while it ran, as by its own upgrade.
        let exe = exe.map(|exe| exe.strip_suffix(b" (deleted)").unwrap_or(exe));
        let program = self.programs.want(exe, |program, exe| program.matches(exe));
        match (user, program) {
            (Wanted::No, _) | (_, Wanted::No) => Wanted::No,
            (Wanted::Unknown, _) | (_, Wanted::Unknown) => Wanted::Unknown,
            _ => Wanted::Yes,
        }
    }
}

impl<T> Sides<T> {
    fn side<'a>(&mut self, word: &'a str) -> (&mut Vec<T>, &'a str) {
        match word.strip_prefix('!') {
            Some(rest) => (&mut self.not, rest),
            None => (&mut self.only, word),
        }
    }

    fn is_empty(&self) -> bool {
        self.only.is_empty() && self.not.is_empty()
    }

    fn want<V: Copy>(&self, value: Option<V>, is: impl Fn(&T, V) -> bool) -> Wanted {
        let Some(value) = value else {
            return if self.only.is_empty() {
                Wanted::Yes
            } else {
                Wanted::Unknown
            };
        };
        let any = |side: &[T]| side.iter().any(|one| is(one, value));
        if (self.only.is_empty() || any(&self.only)) && !any(&self.not) {
            Wanted::Yes
        } else {
            Wanted::No
        }
    }
}

impl Program {
    fn new(glob: &[u8]) -> Self {
        let names = glob.split(|b| *b == b'/').filter(|name| !name.is_empty());
        match glob.first() {
            Some(b'/') => Self::Path(names.map(Glob::new).collect()),
            _ => Self::Name(Glob::new(glob)),
        }
    }

    fn matches(&self, exe: &[u8]) -> bool {
        let mut names = exe.split(|b| *b == b'/').filter(|name| !name.is_empty());
        match self {
            Self::Name(glob) => names.next_back().is_some_and(|name| glob.matches(name)),
            Self::Path(globs) => globs
                .iter()
                .all(|glob| names.next().is_some_and(|name| glob.matches(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(by: &[&str], exe: &[&str]) -> WhoFilter {
        let list = |words: &[&str]| words.iter().map(|w| (*w).to_string()).collect();
        WhoFilter::new(&Options {
            by: list(by),
            exe: list(exe),
            ..Options::default()
        })
        .unwrap()
    }

    #[test]
    fn users_by_name_and_number() {
        let f = filter(&["alice", "1002", "!bob"], &[]);
        assert_eq!(f.wants(Some(1001), Some("alice"), None), Wanted::Yes);
        assert_eq!(f.wants(Some(1002), None, None), Wanted::Yes);
        assert_eq!(f.wants(Some(1003), Some("bob"), None), Wanted::No);
        assert_eq!(f.wants(Some(0), Some("root"), None), Wanted::No);
        assert_eq!(f.wants(None, None, None), Wanted::Unknown);
        let f = filter(&["!root"], &[]);
        assert_eq!(f.wants(Some(0), Some("root"), None), Wanted::No);
        assert_eq!(f.wants(Some(1), None, None), Wanted::Yes);
        assert_eq!(
            f.wants(None, None, None),
            Wanted::Yes,
            "an unknown actor is told"
        );
    }

    #[test]
    fn programs_by_name_and_path() {
        let is = |f: &WhoFilter, exe: &str| f.wants(None, None, Some(exe.as_bytes()));
        let f = filter(&[], &["/usr/bin/{dpkg,apt*}", "*.sh"]);
        assert_eq!(is(&f, "/usr/bin/dpkg"), Wanted::Yes);
        assert_eq!(is(&f, "/usr/bin/dpkg (deleted)"), Wanted::Yes);
        assert_eq!(is(&f, "/usr/bin/apt-get"), Wanted::Yes);
        assert_eq!(is(&f, "/home/eve/x.sh"), Wanted::Yes);
        assert_eq!(is(&f, "/home/usr/bin/dpkg"), Wanted::No);
        assert_eq!(is(&f, "/home/x.sh/eve"), Wanted::No, "a directory's name");
        assert_eq!(f.wants(None, None, None), Wanted::Unknown);
        let f = filter(&[], &["!/usr/lib/git-core"]);
        assert_eq!(is(&f, "/usr/lib/git-core/git"), Wanted::No);
        assert_eq!(is(&f, "/usr/lib/git-corex"), Wanted::Yes);
        assert_eq!(is(&f, "/tmp/.hidden"), Wanted::Yes);
        assert_eq!(f.wants(None, None, None), Wanted::Yes);
        assert_eq!(is(&filter(&[], &["/tmp/*"]), "/tmp/.hidden"), Wanted::Yes);
    }

    #[test]
    fn both_must_want_it() {
        let f = filter(&["!root"], &["/tmp"]);
        assert_eq!(f.wants(Some(0), Some("root"), None), Wanted::No);
        assert_eq!(f.wants(Some(9), None, None), Wanted::Unknown);
        assert_eq!(f.wants(None, None, Some(b"/tmp/x")), Wanted::Yes);
    }
}
