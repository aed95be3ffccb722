//! Commands that wait until they are let through, so that nothing depends on speed.

use std::fs;
use std::io::Write;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Prefix;

/// A FIFO, `@O/gate`, that commands read one line from before they go on.
pub fn gate(prefix: &Prefix) -> fs::File {
    let path = prefix.path("out/gate");
    mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap();
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).open(path).unwrap()
}

/// Lets one command through.
pub fn open(gate: &mut fs::File) {
    gate.write_all(b"go\n").unwrap();
}
