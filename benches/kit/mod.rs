//! What the benchmarks in Rust share: C programs to measure beside.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `name` of benches/ in `dir`; the program.
pub fn compile(name: &str, flags: &[&str], dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches")
        .join(name);
    let program = dir.join(name).with_extension("");
    let status = Command::new("gcc")
        .args(flags)
        .arg("-O2")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "gcc {name}");
    program
}
