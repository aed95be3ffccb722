//! Asking a daemon of a test prefix what it serves.

#![allow(dead_code)] // each test file uses a part of it

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use incron::control::{Answer, Client, Request};
use serde_json::Value;

use super::common::Prefix;

/// One request over a connection of its own.
pub fn ask(prefix: &Prefix, request: &Request) -> Answer {
    ask_at(&prefix.path("run/control.sock"), request)
}

pub fn ask_at(socket: &Path, request: &Request) -> Answer {
    Client::connect(socket).unwrap().ask(request).unwrap()
}

pub fn install(user: &str, table: &[u8]) -> Request {
    Request::Install {
        user: user.into(),
        table: BASE64.encode(table),
        expect: None,
    }
}

pub fn remove(user: &str) -> Request {
    Request::Remove {
        user: user.into(),
        expect: None,
    }
}

pub fn text(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Table { table, .. } => BASE64.decode(table).unwrap(),
        other => panic!("no table: {other:?}"),
    }
}

/// The word for programs of a refusal.
pub fn reason(answer: &Answer) -> &str {
    match answer {
        Answer::Refused { reason, .. } => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// What the daemon says of the worker of `owner`; None: there is none.
pub fn worker(prefix: &Prefix, owner: &str) -> Option<Value> {
    let Answer::Status { workers, .. } = ask(prefix, &Request::Status) else {
        panic!("no status")
    };
    workers.into_iter().find(|worker| worker["owner"] == owner)
}

/// Lines served for `owner`.
pub fn lines(prefix: &Prefix, owner: &str) -> u64 {
    worker(prefix, owner).map_or(0, |worker| worker["lines"].as_u64().unwrap_or(0))
}

/// The worker's process, once it is running.
pub fn pid(prefix: &Prefix, owner: &str) -> i32 {
    let mut pid = 0;
    prefix.wait(&format!("the worker of {owner}"), || {
        let Some(worker) = worker(prefix, owner) else {
            return false;
        };
        pid = worker["pid"].as_i64().unwrap_or(0) as i32;
        worker["state"] == "running"
    });
    pid
}

/// Waits until `owner` has so many lines served.
pub fn wait_lines(prefix: &Prefix, owner: &str, count: u64) {
    prefix.wait(&format!("{count} lines of {owner}"), || {
        lines(prefix, owner) == count
    });
}
