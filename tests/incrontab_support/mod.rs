//! A private world for the tests of incrontab: a configuration, a directory
//! for scratch files, and a daemon made of a variable, so that every test runs
//! as any user and without incrond.

#![allow(dead_code)] // each test file uses its own part

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use incron::control::{Answer, Request};

/// What the pretended daemon knows.
#[derive(Debug, Default)]
pub struct State {
    /// The one table.
    pub table: Option<Vec<u8>>,
    /// Answers everything with this, as (reason, message).
    pub refuses: Option<(&'static str, &'static str)>,
    /// Every request, in order.
    pub asked: Vec<Request>,
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub state: Arc<Mutex<State>>,
}

impl World {
    /// With a daemon that has this table.
    pub fn new(table: Option<&[u8]>) -> Self {
        let world = Self::without_daemon();
        world.state.lock().unwrap().table = table.map(<[u8]>::to_vec);
        let listener = UnixListener::bind(world.path("control.sock")).unwrap();
        let state = world.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(&stream, &state);
            }
        });
        world
    }

    /// Where nobody listens; only root can do anything.
    pub fn without_daemon() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["spool", "tmp", "system"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let conf: String = [
            ("system_table_dir", "system"),
            ("user_table_dir", "spool"),
            ("allowed_users", "allow"),
            ("denied_users", "deny"),
            ("control_socket", "control.sock"),
        ]
        .iter()
        .map(|(key, name)| format!("{key} = {}\n", dir.path().join(name).display()))
        .collect();
        std::fs::write(dir.path().join("incron.conf"), conf).unwrap();
        Self {
            dir,
            state: Arc::default(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn table(&self) -> Option<Vec<u8>> {
        self.state.lock().unwrap().table.clone()
    }

    /// `incrontab -f CONF ARGS`, with nothing of the tester's own taste in it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incrontab"));
        command.arg("-f").arg(self.path("incron.conf")).args(args);
        command
            .env_remove("VISUAL")
            .env_remove("EDITOR")
            .env("TMPDIR", self.path("tmp"));
        command.current_dir(self.dir.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::new(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses early does not read it all.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::new(child.wait_with_output().unwrap())
    }

    /// Scratch directories that are still there.
    pub fn left_over(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        Self {
            code: output.status.code(),
            out: output.stdout,
            err,
        }
    }
}

/// The name of whoever runs the tests.
pub fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .unwrap()
        .name
}

pub fn is_root() -> bool {
    nix::unistd::getuid().is_root()
}

/// Writes an executable script, by a process of its own: a descriptor of ours that is open
/// for writing may be inherited by what a test beside this one starts, and then the script
/// cannot be executed (ETXTBSY).
pub fn script(path: &Path, text: &str) {
    let write = ["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"];
    let written = Command::new("sh").args(write).arg(path).arg(text).status();
    assert!(written.unwrap().success());
}

/// Copies a program, by a process of its own: see [`script`].
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

fn serve(stream: &UnixStream, state: &Mutex<State>) {
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line).is_err() {
        return;
    }
    let Ok(request) = serde_json::from_str(&line) else {
        return;
    };
    let answer = answer(&mut state.lock().unwrap(), request);
    let mut text = serde_json::to_vec(&answer).unwrap();
    text.push(b'\n');
    let mut stream = stream;
    let _ = stream.write_all(&text);
}

fn answer(state: &mut State, request: Request) -> Answer {
    state.asked.push(request.clone());
    if let Some((reason, message)) = state.refuses {
        return Answer::Refused {
            reason: reason.into(),
            message: message.into(),
        };
    }
    let done = Answer::Done {
        lines: Some(1),
        errors: Some(0),
    };
    // Its text does for a version.
    let version = state
        .table
        .as_ref()
        .map_or_else(String::new, |text| format!("v{}", STANDARD.encode(text)));
    match (request, &state.table) {
        (
            Request::Install {
                expect: Some(expect),
                ..
            }
            | Request::Remove {
                expect: Some(expect),
                ..
            },
            _,
        ) if expect != version => Answer::Refused {
            reason: "changed".into(),
            message: "changed".into(),
        },
        (Request::Install { table, .. }, _) => {
            state.table = Some(STANDARD.decode(table).unwrap());
            done
        }
        (_, None) => Answer::NoTable,
        (Request::Get { .. }, Some(table)) => Answer::Table {
            table: STANDARD.encode(table),
            version,
        },
        (Request::Remove { .. }, Some(_)) => {
            state.table = None;
            done
        }
        _ => done,
    }
}
