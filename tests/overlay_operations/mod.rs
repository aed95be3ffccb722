//! The operations that a program inside a container does, as a static program that
//! runs on any overlay and in any container (operations.c says how), and what a
//! source tells of them.

#![allow(dead_code)] // each test file uses a part of it

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use incron::event::Event;
use incron::table::Mask;

use crate::watch_kit::names;

/// What is compared: reading an image file is nowhere to be seen.
pub const COMPARED: Mask = incron::watch::overlay::ASKED;

/// The compiled program.
pub struct Operations(PathBuf);

impl Operations {
    /// Compiles the program into `dir`. None without a C compiler that links
    /// statically.
    pub fn build(dir: &Path) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/overlay_operations");
        let program = dir.join("operations");
        let built = Command::new("cc")
            .args(["-O1", "-static", "-o"])
            .arg(&program)
            .arg(source.join("operations.c"))
            .status();
        built.ok()?.success().then_some(Self(program))
    }

    pub fn program(&self) -> &Path {
        &self.0
    }

    /// Their names.
    pub fn all(&self) -> Vec<String> {
        let output = Command::new(&self.0).arg("list").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Does one in `dir`.
    pub fn run(&self, name: &str, dir: &Path) {
        let status = Command::new(&self.0).arg(name).arg(dir).status().unwrap();
        assert!(status.success(), "{name}");
    }
}

/// What is told of each path, in the order of the telling; between paths the order
/// is that of reading directories. A name of O_TMPFILE, `#` and an inode, is no path.
pub type Told = BTreeMap<String, Vec<String>>;

/// The events below `root`, by their path in it.
pub fn told<'a>(events: impl IntoIterator<Item = &'a Event>, root: &Path) -> Told {
    let mut told = Told::new();
    let inside = |path: &Path| match path.strip_prefix(root) {
        Ok(rest) => rest.display().to_string(),
        Err(_) => format!("outside: {}", path.display()),
    };
    for event in events {
        let mask = event.mask & (COMPARED | Mask::ISDIR);
        let path = inside(Path::new(&event.target()));
        if (mask & COMPARED).is_empty() || path.starts_with('#') {
            continue;
        }
        let old = event.old_path.as_deref().map(inside);
        let old = old.map(|old| format!(" <- {old}")).unwrap_or_default();
        told.entry(path)
            .or_default()
            .push(format!("{}{old}", names(mask)));
    }
    told
}
