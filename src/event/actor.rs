//! The process behind an event: what is known of it, and how it is written.
//!
//! `watch::actor` fills it in; this is only its form, in memory and in JSON.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::LineId;
use super::json::{JsonError, bytes, field, number, push_string, raw, string};

/// The process behind an event. What is not known is None or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// Its number in the daemon's pid namespace; 0 where not even that is known.
    pub pid: i32,
    /// Its number in its own pid namespace, where that is another one.
    pub ns_pid: Option<i32>,
    /// Its parent's number when it was made.
    pub ppid: Option<i32>,
    /// Its program.
    pub exe: Option<PathBuf>,
    /// Its arguments, from its name on.
    pub cmdline: Vec<OsString>,
    /// Its effective user.
    pub uid: Option<u32>,
    /// That user's name.
    pub user: Option<String>,
    /// Whoever logged in to start it (`/proc/PID/loginuid`).
    pub login_uid: Option<u32>,
    /// That user's name.
    pub login: Option<String>,
    /// Its effective group.
    pub gid: Option<u32>,
    /// Its audit session (`/proc/PID/sessionid`).
    pub session: Option<u32>,
    /// Its cgroup: the path of the unified hierarchy, else that of systemd's.
    pub cgroup: Option<String>,
    /// The identity of the container that it runs in.
    pub container: Option<String>,
    /// Its parents, the nearest first, at most 8.
    pub parents: Vec<Parent>,
    /// The line whose command it is or descends from: of this worker, now. Not told in
    /// JSON; only with `Confidence::Exact` does None mean that there is none.
    pub line: Option<LineId>,
    /// How all this is known.
    pub confidence: Confidence,
}

/// One step up from an actor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// Its number in the daemon's pid namespace.
    pub pid: i32,
    /// Its program, where known.
    pub exe: Option<PathBuf>,
}

/// How an actor is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confidence {
    /// Recorded when the process began or executed its program.
    Exact,
    /// Read from /proc after the event.
    Late,
    /// Only the number is known: the process was gone.
    Pid,
    /// Nothing is known.
    #[default]
    None,
}

impl Confidence {
    /// All, with the words they have in JSON and INCRON_CONFIDENCE.
    const WORDS: [(Self, &str); 4] = [
        (Self::Exact, "exact"),
        (Self::Late, "late"),
        (Self::Pid, "pid"),
        (Self::None, "none"),
    ];

    /// As it stands in JSON and in INCRON_CONFIDENCE.
    pub fn text(self) -> &'static str {
        let of = Self::WORDS
            .iter()
            .find(|(confidence, _)| *confidence == self);
        of.map_or("none", |(_, text)| text)
    }
}

impl Actor {
    /// Of whom only the number is known.
    pub fn of_pid(pid: i32) -> Self {
        Self {
            pid,
            confidence: Confidence::Pid,
            ..Self::default()
        }
    }

    /// Appends `,"actor":{...}`.
    pub(crate) fn write_json(&self, json: &mut String) {
        field(json, "actor");
        json.push_str("{\"pid\":");
        json.push_str(&self.pid.to_string());
        for (name, pid) in [("ns_pid", self.ns_pid), ("ppid", self.ppid)] {
            if let Some(pid) = pid {
                field(json, name);
                json.push_str(&pid.to_string());
            }
        }
        write_exe(json, self.exe.as_deref());
        if !self.cmdline.is_empty() {
            write_words(json, &self.cmdline);
        }
        let id = |json: &mut String, name, id: Option<u32>| {
            if let Some(id) = id {
                number(json, name, u64::from(id));
            }
        };
        let text = |json: &mut String, name, text: &Option<String>| {
            if let Some(text) = text {
                string(json, name, text);
            }
        };
        id(json, "uid", self.uid);
        text(json, "user", &self.user);
        id(json, "login_uid", self.login_uid);
        text(json, "login", &self.login);
        id(json, "gid", self.gid);
        id(json, "session", self.session);
        text(json, "cgroup", &self.cgroup);
        text(json, "container", &self.container);
        if !self.parents.is_empty() {
            json.push_str(",\"parents\":[");
            for (i, parent) in self.parents.iter().enumerate() {
                json.push_str(if i == 0 { "{\"pid\":" } else { ",{\"pid\":" });
                json.push_str(&parent.pid.to_string());
                write_exe(json, parent.exe.as_deref());
                json.push('}');
            }
            json.push(']');
        }
        string(json, "confidence", self.confidence.text());
        json.push('}');
    }
}

fn write_exe(json: &mut String, exe: Option<&Path>) {
    if let Some(exe) = exe {
        bytes(json, "exe", "exe_raw", exe.as_os_str().as_bytes());
    }
}

/// The command line; beside it, where a word is not UTF-8, all words in base64.
fn write_words(json: &mut String, words: &[OsString]) {
    use base64::Engine;
    let list = |json: &mut String, name, write: &dyn Fn(&mut String, &OsStr)| {
        field(json, name);
        json.push('[');
        for (i, word) in words.iter().enumerate() {
            if i > 0 {
                json.push(',');
            }
            write(json, word);
        }
        json.push(']');
    };
    list(json, "cmdline", &|json, word| {
        push_string(json, &String::from_utf8_lossy(word.as_bytes()));
    });
    if words.iter().any(|word| word.to_str().is_none()) {
        list(json, "cmdline_raw", &|json, word| {
            let raw = base64::engine::general_purpose::STANDARD.encode(word.as_bytes());
            push_string(json, &raw);
        });
    }
}

#[derive(Deserialize)]
pub(super) struct ActorFields {
    pid: i32,
    ns_pid: Option<i32>,
    ppid: Option<i32>,
    exe: Option<String>,
    exe_raw: Option<String>,
    #[serde(default)]
    cmdline: Vec<String>,
    cmdline_raw: Option<Vec<String>>,
    uid: Option<u32>,
    user: Option<String>,
    login_uid: Option<u32>,
    login: Option<String>,
    gid: Option<u32>,
    session: Option<u32>,
    cgroup: Option<String>,
    container: Option<String>,
    #[serde(default)]
    parents: Vec<ParentFields>,
    confidence: Option<String>,
}

#[derive(Deserialize)]
struct ParentFields {
    pid: i32,
    exe: Option<String>,
    exe_raw: Option<String>,
}

impl ActorFields {
    pub(super) fn actor(self) -> Result<Actor, JsonError> {
        let cmdline = match self.cmdline_raw {
            Some(words) => words
                .into_iter()
                .map(|word| raw("".into(), Some(word), "cmdline_raw"))
                .collect::<Result<_, _>>()?,
            None => self.cmdline.into_iter().map(OsString::from).collect(),
        };
        let parents = self.parents.into_iter().map(|parent| {
            Ok::<_, JsonError>(Parent {
                pid: parent.pid,
                exe: read_exe(parent.exe, parent.exe_raw)?,
            })
        });
        let word = self.confidence.as_deref().unwrap_or("none");
        let confidence = Confidence::WORDS.iter().find(|(_, text)| *text == word);
        Ok(Actor {
            pid: self.pid,
            ns_pid: self.ns_pid,
            ppid: self.ppid,
            exe: read_exe(self.exe, self.exe_raw)?,
            cmdline,
            uid: self.uid,
            user: self.user,
            login_uid: self.login_uid,
            login: self.login,
            gid: self.gid,
            session: self.session,
            cgroup: self.cgroup,
            container: self.container,
            parents: parents.collect::<Result<_, _>>()?,
            line: None,
            confidence: confidence.ok_or(JsonError::Field("confidence"))?.0,
        })
    }
}

fn read_exe(exe: Option<String>, exe_raw: Option<String>) -> Result<Option<PathBuf>, JsonError> {
    exe.map(|exe| raw(exe.into(), exe_raw, "exe_raw").map(PathBuf::from))
        .transpose()
}
