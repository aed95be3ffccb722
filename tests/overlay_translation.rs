//! What an upper layer tells is translated into what a user inside would say: each
//! operation is done on a real overlay, and the translation of what the inotify
//! source tells of the upper directory is compared with what it tells of the merged
//! one.

mod overlay_operations;
mod watch_kit;

use std::path::Path;
use std::process::{Command, Stdio};

use incron::event::Event;
use incron::table::Mask;
use incron::watch::overlay::{ASKED, Layer};
use overlay_operations::{Operations, Told, told};
use watch_kit::Kit;

/// Runs an ignored test of this file where its mounts are nobody else's.
fn in_a_namespace(test: &str) {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root, to mount");
    }
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .status();
    assert!(status.unwrap().success(), "{test}");
}

#[test]
fn every_operation_is_told_as_a_user_inside_would() {
    in_a_namespace("mounted");
}

struct Overlay {
    kit: Kit,
    layer: Layer,
}

/// How the overlay is mounted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Kernel(&'static str),
    Fuse,
}

impl Overlay {
    fn new(operations: &Operations, way: Way) -> Self {
        let mut kit = Kit::new();
        for dir in ["bottom", "top", "upper", "work", "merged"] {
            kit.mkdir(dir);
        }
        operations.run("image", &kit.path("bottom"));
        let (program, options) = match way {
            // Unmounting does not wait for the disk.
            Way::Kernel(options) => ("mount -t overlay overlay", format!(",volatile{options}")),
            Way::Fuse => ("fuse-overlayfs", String::new()),
        };
        let script = format!(
            "cd {} && {program} -o lowerdir=top:bottom,upperdir=upper,workdir=work{options} merged",
            kit.path("").display()
        );
        let mut mount = Command::new("sh");
        let mounted = mount.args(["-c", &script]).stderr(Stdio::null());
        let mounted = mounted.status().unwrap();
        assert!(mounted.success(), "{script}");
        operations.run("before", &kit.path("merged"));
        let lower = vec![kit.path("top"), kit.path("bottom")];
        let mut layer = match way {
            Way::Kernel(_) => Layer::new(kit.path("upper"), lower),
            Way::Fuse => Layer::fuse(kit.path("upper"), lower),
        };
        kit.line("upper", ASKED);
        kit.line("merged", ASKED);
        kit.events();
        layer.settle();
        Self { kit, layer }
    }

    /// What was done as the upper layer tells it, translated, and as the merged
    /// directory does.
    fn done(&mut self, operations: &Operations, name: &str) -> (Told, Told) {
        operations.run(name, &self.kit.path("merged"));
        let (mut upper, mut merged) = (Vec::new(), Vec::new());
        for (line, event) in self.kit.events() {
            match line {
                1 => upper.extend(self.layer.translate(&event)),
                _ => merged.push(event),
            }
        }
        let ours = told(&upper, &self.kit.path("upper"));
        (ours, told(&merged, &self.kit.path("merged")))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.kit.path("merged")).status();
    }
}

/// What is told otherwise, and why it cannot be known better.
fn otherwise(name: &str, options: &str, truth: &mut Told) {
    let mut put = |path: &str, told: &[&str]| {
        let told: Vec<String> = told.iter().map(|&text| text.into()).collect();
        truth.insert(path.into(), told);
    };
    match name {
        // overlay.opaque is set on it first, which looks like a chmod.
        "rename_upper_dir" if !options.contains("redirect_dir") => {
            put("udir", &["ATTRIB,ISDIR", "MOVED_FROM,ISDIR"]);
        }
        // Its copy looks like a whiteout when the whiteout is there by then.
        "rename_image_symlink" => put("isym", &["DELETE"]),
        // inotify: the directory was not watched when the name arrived in it.
        "rename_into_image_dir" => put("idir/u", &["MOVED_TO"]),
        "replace_image_dir" => put("idir/f", &["MODIFY", "CLOSE_WRITE"]),
        _ => {}
    }
}

#[test]
#[ignore = "run by every_operation_is_told_as_a_user_inside_would, in its namespace"]
fn mounted() {
    let dir = tempfile::tempdir().unwrap();
    let Some(operations) = Operations::build(dir.path()) else {
        return eprintln!("SKIPPED: no C compiler here");
    };
    let mut wrong = Vec::new();
    let mut rows = String::new();
    for options in ["", ",userxattr", ",redirect_dir=on"] {
        for name in operations.all() {
            let mut overlay = Overlay::new(&operations, Way::Kernel(options));
            let (ours, mut truth) = overlay.done(&operations, &name);
            if options.is_empty() {
                rows.push_str(&row(&name, &ours, &truth));
            }
            otherwise(&name, options, &mut truth);
            if ours != truth {
                wrong.push(format!(
                    "{name} ({options})\n  ours  {ours:?}\n  truth {truth:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    compare_with_page(&rows);
}

/// A row of docs/containers.md.
fn row(name: &str, ours: &Told, truth: &Told) -> String {
    let cell = |told: &Told| {
        let paths = told.iter().map(|(path, events)| {
            let events: Vec<String> = events.iter().map(|text| text.replace(',', " ")).collect();
            format!("{path}: {}", events.join(", "))
        });
        paths.collect::<Vec<_>>().join("; ")
    };
    let inside = if ours == truth {
        String::new()
    } else {
        cell(truth)
    };
    format!("| {name} | {} | {inside} |\n", cell(ours))
}

/// The rows are those of the page; INCRON_WRITE_SEMANTICS=1 writes them there.
fn compare_with_page(rows: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/containers.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once("<!-- begin operations -->\n").unwrap();
    let (table, tail) = rest.split_once("<!-- end operations -->").unwrap();
    let columns: String = table.split_inclusive('\n').take(2).collect();
    let ours = format!("{columns}{rows}");
    if std::env::var_os("INCRON_WRITE_SEMANTICS").is_some() {
        let text = format!("{head}<!-- begin operations -->\n{ours}<!-- end operations -->{tail}");
        return std::fs::write(&path, text).unwrap();
    }
    assert_eq!(
        ours, table,
        "INCRON_WRITE_SEMANTICS=1 writes docs/containers.md anew"
    );
}

#[test]
fn what_was_queued_before_the_layers_were_looked_at_is_not_new() {
    in_a_namespace("looked_at_late");
}

/// A layer is watched before it is looked at: the look has seen what is queued by then.
#[test]
#[ignore = "run by what_was_queued_before_the_layers_were_looked_at_is_not_new"]
fn looked_at_late() {
    let mut kit = Kit::serving(incron::table::Source::Fanotify);
    let sh = |kit: &Kit, text: &str| {
        let script = format!("cd {} && {text}", kit.path("").display());
        let done = Command::new("sh").args(["-ec", &script]).status();
        assert!(done.unwrap().success(), "{text}");
    };
    for dir in ["bottom/d/e", "upper", "work", "merged"] {
        kit.mkdir(dir);
    }
    for file in ["d/f", "d/gone", "d/again", "d/e/g"] {
        kit.write(&format!("bottom/{file}"));
    }
    kit.line("upper", ASKED);
    sh(
        &kit,
        "mount -t overlay overlay -o lowerdir=bottom,upperdir=upper,workdir=work merged
         echo >> merged/d/f; rm merged/d/gone; rm -r merged/d/e
         rm merged/d/again; echo > merged/d/again",
    );
    let mut layer = Layer::new(kit.path("upper"), vec![kit.path("bottom")]);
    let translated = |kit: &mut Kit, layer: &mut Layer| -> Vec<String> {
        let events = kit.events();
        let events = events.iter().flat_map(|(_, e)| layer.translate(e));
        events.map(|e| kit.text(&e)).collect()
    };
    let mut early = translated(&mut kit, &mut layer);
    early.retain(|told| told.contains(" upper/d"));
    let all = [
        "MODIFY upper/d|f",
        "CLOSE_WRITE upper/d|f",
        "CREATE upper/d|again",
        "MODIFY upper/d|again",
        "CLOSE_WRITE upper/d|again",
    ];
    assert_eq!(early, all);
    layer.settle();
    sh(&kit, "rm -r merged/d");
    let mut late = translated(&mut kit, &mut layer);
    late.sort();
    late.dedup();
    let all = [
        "DELETE upper/d|again",
        "DELETE upper/d|f",
        "DELETE,ISDIR upper|d",
    ];
    assert_eq!(late, all);
    sh(&kit, "umount merged");
}

#[test]
fn fuse_overlayfs_is_told_by_its_names() {
    in_a_namespace("mounted_by_fuse");
}

/// The last thing that happened to each name, and whether content changed. What
/// else fuse-overlayfs does there (writes after a link, closes late, removes what a
/// rename replaces) cannot be told from a user's doing.
fn outline(told: &Told) -> Vec<(String, Option<String>, bool)> {
    let outline = told.iter().map(|(path, events)| {
        let is_name = |text: &&String| {
            ["CREATE", "DELETE", "MOVED"]
                .iter()
                .any(|n| text.starts_with(n))
        };
        let last = events.iter().rfind(is_name);
        let last = last.map(|text| text.replace("MOVED_FROM", "DELETE").replace(" <- ", " "));
        let written = events.iter().any(|text| text == "MODIFY");
        (path.clone(), last, written)
    });
    outline.collect()
}

#[test]
#[ignore = "run by fuse_overlayfs_is_told_by_its_names, in its namespace"]
fn mounted_by_fuse() {
    let dir = tempfile::tempdir().unwrap();
    let found = Command::new("fuse-overlayfs").arg("--version").output();
    let Some(operations) = Operations::build(dir.path()).filter(|_| found.is_ok()) else {
        return eprintln!("SKIPPED: no fuse-overlayfs, or no C compiler here");
    };
    let mut wrong = Vec::new();
    for name in operations.all() {
        // It knows no O_TMPFILE. What replaces a directory is told by a scan.
        if [
            "tmpfile_linkat",
            "replace_image_dir",
            "rename_into_image_dir",
        ]
        .contains(&name.as_str())
        {
            continue;
        }
        let mut overlay = Overlay::new(&operations, Way::Fuse);
        let (ours, truth) = overlay.done(&operations, &name);
        let ours = outline(&ours);
        let names = |all: &[(String, Option<String>, bool)]| -> Vec<_> {
            let all = all.iter().filter(|(_, last, _)| last.is_some());
            all.map(|(path, last, _)| (path.clone(), last.clone()))
                .collect()
        };
        let truth = outline(&truth);
        let missed = truth.iter().find(|(path, _, written)| {
            *written && !ours.iter().any(|(our, _, written)| our == path && *written)
        });
        if names(&ours) != names(&truth) || missed.is_some() {
            wrong.push(format!("{name}\n  ours  {ours:?}\n  truth {truth:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_deleted_name_of_the_image_is_known_from_before() {
    in_a_namespace("hidden_by_layers");
}

/// A layer between hides what the bottom one has; links lead nowhere; what nothing
/// is known of stays as it is.
#[test]
#[ignore = "run by a_deleted_name_of_the_image_is_known_from_before, in its namespace"]
fn hidden_by_layers() {
    let kit = Kit::new();
    for dir in ["bottom/d", "top/d", "upper/e", "work", "merged", "away"] {
        kit.mkdir(dir);
    }
    for file in [
        "bottom/gone",
        "bottom/d/f",
        "bottom/kept",
        "top/d/g",
        "away/kept",
    ] {
        kit.write(file);
    }
    let sh = |text: &str| {
        let script = format!("cd {} && {text}", kit.path("").display());
        assert!(
            Command::new("sh")
                .args(["-ec", &script])
                .status()
                .unwrap()
                .success(),
            "{text}"
        );
    };
    sh(
        "mknod top/gone c 0 0; setfattr -n trusted.overlay.opaque -v y top/d; ln -s ../away upper/l",
    );
    let lower = vec![kit.path("top"), kit.path("bottom")];
    let mut layer = Layer::new(kit.path("upper"), lower);
    layer.settle();
    let mut told = |mask: Mask, path: &str, old: Option<&str>| -> Vec<String> {
        let path = kit.path(path);
        let event = Event {
            mask,
            watch: path.parent().unwrap().into(),
            name: path.file_name().unwrap().into(),
            old_path: old.map(|old| kit.path(old)),
            time: std::time::SystemTime::now(),
            origin: incron::event::Origin::Kernel,
            actor: None,
            seq: 1,
            labels: None,
        };
        layer
            .translate(&event)
            .iter()
            .map(|e| kit.text(e))
            .collect()
    };
    // Nobody inside sees these, so they are made, not copied.
    for path in ["upper/gone", "upper/d/f", "upper/e/new"] {
        assert_eq!(told(Mask::CREATE, path, None).len(), 1, "{path}");
    }
    // These are there, so they are copied: what was merged with it stays.
    assert_eq!(told(Mask::CREATE, "upper/d/g", None), [""; 0]);
    assert_eq!(
        told(
            Mask::CREATE | Mask::MODIFY | Mask::CLOSE_WRITE,
            "upper/kept",
            None
        ),
        ["MODIFY,CLOSE_WRITE upper|kept"]
    );
    // A link inside leads nowhere, whatever stands at its end.
    let event = told(Mask::MOVED_TO, "upper/l/kept", None);
    assert_eq!(event, ["MOVED_TO upper/l|kept"]);
    // Not of this layer, or of nothing that is known.
    assert_eq!(
        told(Mask::CREATE, "upper2/kept", None),
        ["CREATE upper2|kept"]
    );
    let merged = Mask::CREATE | Mask::DELETE;
    assert_eq!(
        told(merged, "upper/kept", None),
        ["CREATE,DELETE upper|kept"]
    );
    // A whiteout whose old name is in the work directory is one; from inside it is a rename.
    assert_eq!(
        told(Mask::MOVED_TO, "upper/kept", Some("work/work/#1")),
        ["DELETE upper|kept"]
    );
    assert_eq!(
        told(Mask::MOVED_TO, "upper/kept", Some("upper/e/new")),
        ["MOVED_TO upper|kept <- upper/e/new"]
    );
    let dir = Mask::MOVED_TO;
    let all = ["DELETE upper/d|g", "DELETE,ISDIR upper|d"];
    assert_eq!(told(dir, "upper/d", None), all);
}
