//! Mounts: what a line is told does not depend on the mount a change came through,
//! and nothing of ours keeps a file system from being unmounted.

mod watch_kit;

use std::path::PathBuf;

use incron::table::Mask;
use incron::watch::{Report, Source};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use watch_kit::apart::{output, status};
use watch_kit::{Kit, kit_or_skip};

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: PathBuf) -> Self {
        let none = None::<&str>;
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        Self(path)
    }

    fn image(image: &std::path::Path, path: PathBuf) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let done = status(mount.args(["-o", "loop"]).arg(image).arg(&path));
        done.is_ok_and(|status| status.success())
            .then_some(Self(path))
    }

    fn bind(from: PathBuf, path: PathBuf) -> Self {
        let none = None::<&str>;
        mount(Some(&from), &path, none, MsFlags::MS_BIND, none).unwrap();
        Self(path)
    }

    /// As an operator would: it fails while anything of ours is open there.
    fn end(self) {
        umount2(&self.0, MntFlags::empty()).unwrap();
        std::mem::forget(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn told(kit: &mut Kit) -> Vec<String> {
    let mut out = Vec::new();
    while kit.source.mounts_changed(kit.clock.now(), &mut out) {}
    let mut told = kit.told();
    for report in out {
        if let Report::Event(_, e) = report {
            told.push(kit.text(&e));
        }
    }
    told.sort();
    told
}

#[test]
fn a_change_through_a_bind_mount_is_told_by_the_path_of_the_line() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/s");
    kit.mkdir("b");
    let bound = Mounted::bind(kit.path("d/s"), kit.path("b"));
    kit.line("d", Mask::CREATE);
    kit.line("b", Mask::CREATE);
    kit.write("b/f");
    assert_eq!(kit.told(), ["CREATE d/s|f", "CREATE b|f"]);
    kit.mkdir("d/s/t");
    kit.write("d/s/t/g");
    let mut all = kit.told();
    all.sort();
    assert_eq!(
        all,
        [
            "CREATE b/t|g",
            "CREATE d/s/t|g",
            "CREATE,ISDIR b|t",
            "CREATE,ISDIR d/s|t"
        ]
    );
    bound.end();
    told(&mut kit);
    kit.write("d/s/h");
    assert_eq!(kit.told(), ["CREATE d/s|h"]);
}

/// As podman has its directory of layers.
#[test]
fn a_directory_that_is_mounted_on_itself_is_as_any_other() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/s/u");
    kit.mkdir("d/t");
    let itself = Mounted::bind(kit.path("d/s"), kit.path("d/s"));
    kit.line("d/s/u", Mask::CREATE);
    kit.write("d/s/u/f");
    assert_eq!(kit.told(), ["CREATE d/s/u|f"]);
    kit.mkdir("d/s/u/v");
    kit.write("d/s/u/v/g");
    assert_eq!(kit.told(), ["CREATE,ISDIR d/s/u|v", "CREATE d/s/u/v|g"]);
    // Another directory's mount hides what its place has.
    let other = Mounted::bind(kit.path("d/t"), kit.path("d/s"));
    told(&mut kit);
    kit.mkdir("d/t/u");
    kit.write("d/s/u/h");
    assert_eq!(kit.told(), ["CREATE d/s/u|h"]);
    other.end();
    told(&mut kit);
    kit.write("d/s/u/i");
    assert_eq!(kit.told(), ["CREATE d/s/u|i"]);
    itself.end();
}

/// As in a container, which has parts of the machine's disk and never all of it.
#[test]
fn parts_of_a_file_system_that_is_mounted_nowhere_are_all_heard() {
    let Some(mut kit) = kit_or_skip() else { return };
    for dir in ["t", "a", "b", "c", "d"] {
        kit.mkdir(dir);
    }
    let whole = Mounted::tmpfs(kit.path("t"));
    for dir in [
        "t/s/old",
        "t/s/in-it",
        "t/much-longer/old",
        "t/much-longer/unseen",
    ] {
        kit.mkdir(dir);
    }
    // Whichever is looked through first, the others are not in it.
    let first = Mounted::bind(kit.path("t/s"), kit.path("a"));
    let second = Mounted::bind(kit.path("t/much-longer"), kit.path("b"));
    whole.end();
    kit.line("a", Mask::CREATE);
    kit.line("b", Mask::CREATE);
    for file in ["a/f", "b/f", "a/old/f", "b/old/f"] {
        kit.write(file);
    }
    let wanted = [
        "CREATE a/old|f",
        "CREATE a|f",
        "CREATE b/old|f",
        "CREATE b|f",
    ];
    assert_eq!(told(&mut kit), wanted);
    // One that comes later, and one that goes.
    let third = Mounted::bind(kit.path("a/in-it"), kit.path("c"));
    first.end();
    told(&mut kit);
    kit.line("c", Mask::CREATE);
    kit.mkdir("b/old/new");
    for file in ["c/f", "b/old/new/f"] {
        kit.write(file);
    }
    let wanted = ["CREATE b/old/new|f", "CREATE c|f", "CREATE,ISDIR b/old|new"];
    assert_eq!(told(&mut kit), wanted);
    // One that is at a second place, and hidden at the first.
    let again = Mounted::bind(kit.path("b"), kit.path("d"));
    let over = Mounted::tmpfs(kit.path("b"));
    told(&mut kit);
    kit.line("d", Mask::CREATE);
    kit.write("d/unseen/f");
    assert_eq!(told(&mut kit), ["CREATE d/unseen|f"]);
    for mounted in [over, again, second, third] {
        mounted.end();
    }
}

#[test]
fn looking_at_what_is_in_a_mount_does_not_keep_it() {
    let Some(mut kit) = kit_or_skip() else { return };
    let dirs: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for dir in &dirs {
        kit.mkdir(&format!("s/{dir}"));
    }
    kit.mkdir("d");
    kit.line("d", Mask::CREATE);
    let place = kit.path("s");
    let operator = std::thread::spawn(move || {
        for dir in &dirs {
            let itself = Mounted::bind(place.clone(), place.clone());
            // The source has never seen this directory, and looks at what it is in.
            std::fs::write(place.join(dir).join("f"), "").unwrap();
            itself.end();
        }
    });
    while !operator.is_finished() {
        assert_eq!(told(&mut kit), [""; 0]);
    }
    operator.join().unwrap();
}

#[test]
fn a_file_system_at_two_places_is_told_at_each() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("one");
    kit.mkdir("two");
    let first = Mounted::tmpfs(kit.path("one"));
    kit.mkdir("one/d");
    let second = Mounted::bind(kit.path("one"), kit.path("two"));
    kit.line("one/d", Mask::CREATE);
    kit.line("two", Mask::CREATE);
    kit.write("one/d/f");
    assert_eq!(kit.told(), ["CREATE two/d|f", "CREATE one/d|f"]);
    first.end();
    told(&mut kit);
    kit.write("two/d/g");
    assert_eq!(kit.told(), ["CREATE two/d|g"]);
    second.end();
}

#[test]
fn a_file_system_is_unmounted_under_its_mark_and_mounted_again() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("m");
    let fs = Mounted::tmpfs(kit.path("m"));
    kit.mkdir("m/d/s");
    kit.line("m/d", Mask::CREATE | Mask::UNMOUNT);
    kit.write("m/d/s/f");
    assert_eq!(kit.told(), ["CREATE m/d/s|f"]);
    fs.end();
    assert_eq!(told(&mut kit), ["UNMOUNT,ISDIR m/d|"]);
    // The path is waited for on what is there now.
    kit.mkdir("m/d");
    kit.write("m/d/g");
    assert_eq!(kit.told(), ["CREATE m/d|g"]);
    let fs = Mounted::tmpfs(kit.path("m"));
    told(&mut kit);
    kit.mkdir("m/d/t");
    kit.write("m/d/t/h");
    assert_eq!(kit.told(), ["CREATE,ISDIR m/d|t", "CREATE m/d/t|h"]);
    fs.end();
    told(&mut kit);
}

/// An ext4 file system in a file. None, and a word about it, where it cannot be had.
fn image(kit: &Kit) -> Option<PathBuf> {
    let image = kit.path("image");
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(8 << 20).unwrap();
    let mut mkfs = std::process::Command::new("mkfs.ext4");
    let made = status(mkfs.arg("-q").arg(&image));
    let made = made.is_ok_and(|status| status.success());
    if !made {
        eprintln!("skipped: no mkfs.ext4");
    }
    made.then_some(image)
}

/// The very same file system, with the same number and the same handles: its mark has gone
/// with the first mount, and nothing in the table says so.
#[test]
fn a_file_system_that_is_mounted_again_at_once_is_marked_again() {
    let Some(mut kit) = kit_or_skip() else { return };
    let Some(image) = image(&kit) else { return };
    kit.mkdir("m");
    let Some(fs) = Mounted::image(&image, kit.path("m")) else {
        return eprintln!("skipped: no loop device");
    };
    kit.mkdir("m/d/s");
    kit.line("m/d", Mask::CREATE | Mask::CLOSE_WRITE);
    kit.write("m/d/s/f");
    assert_eq!(kit.told(), ["CREATE m/d/s|f", "CLOSE_WRITE m/d/s|f"]);
    fs.end();
    let fs = Mounted::image(&image, kit.path("m")).unwrap();
    kit.write("m/d/s/g");
    let missed = ["CLOSE_WRITE m/d/s|g (rescan)", "CREATE m/d/s|g (rescan)"];
    assert_eq!(told(&mut kit), missed);
    kit.write("m/d/s/h");
    assert_eq!(kit.told(), ["CREATE m/d/s|h", "CLOSE_WRITE m/d/s|h"]);
    fs.end();
}

#[test]
fn one_that_is_mounted_before_the_end_of_the_last_is_seen_is_another() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("m");
    let mut fs = Mounted::tmpfs(kit.path("m"));
    kit.line("m", Mask::CREATE | Mask::UNMOUNT);
    for n in 0..20 {
        kit.mkdir("m/d");
        kit.write("m/d/f");
        assert_eq!(kit.told(), ["CREATE,ISDIR m|d", "CREATE m/d|f"], "{n}");
        // As a rule it has the numbers of the last: of the mount and of the device.
        fs.end();
        fs = Mounted::tmpfs(kit.path("m"));
        assert_eq!(told(&mut kit), ["UNMOUNT,ISDIR m|"], "{n}");
    }
    fs.end();
    told(&mut kit);
}

#[test]
fn a_disk_that_is_mounted_again_at_once_is_heard() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("m");
    let (image, top) = (kit.path("image"), kit.path("m"));
    std::fs::File::create(&image)
        .unwrap()
        .set_len(8 << 20)
        .unwrap();
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        let done = output(std::process::Command::new(program).args(args));
        done.is_ok_and(|done| done.status.success())
    };
    let mount = || {
        let options = ["-o", "loop"].map(std::ffi::OsStr::new);
        let words = [&options[..], &[image.as_os_str(), top.as_os_str()]].concat();
        run("mount", &words).then(|| Mounted(top.clone()))
    };
    let quietly = std::ffi::OsStr::new("-q");
    if !run("mkfs.ext4", &[quietly, image.as_os_str()]) {
        return eprintln!("skipped: no mkfs.ext4");
    }
    let Some(mut disk) = mount() else {
        return eprintln!("skipped: no loop devices");
    };
    kit.mkdir("m/d");
    kit.line("m/d", Mask::CREATE | Mask::UNMOUNT);
    for name in ["a", "b", "c"] {
        kit.write(&format!("m/d/{name}"));
        assert_eq!(kit.told(), [format!("CREATE m/d|{name}")]);
        // The number of the file system is in its blocks: it is the same again.
        disk.end();
        disk = mount().unwrap();
        assert_eq!(told(&mut kit), ["UNMOUNT,ISDIR m/d|"]);
    }
    disk.end();
    told(&mut kit);
}

#[test]
fn a_mount_below_the_path_is_a_part_of_its_tree() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/m/hidden");
    kit.line("d", Mask::CREATE);
    let below = std::fs::File::open(kit.path("d/m/hidden")).unwrap();
    let fs = Mounted::tmpfs(kit.path("d/m"));
    told(&mut kit);
    kit.mkdir("d/m/s");
    kit.write("d/m/s/f");
    assert_eq!(kit.told(), ["CREATE,ISDIR d/m|s", "CREATE d/m/s|f"]);
    // What happens under the mount is at no path.
    use std::os::fd::AsRawFd;
    std::fs::write(format!("/proc/self/fd/{}/x", below.as_raw_fd()), "x").unwrap();
    assert_eq!(kit.told(), [""; 0]);
    assert_eq!(kit.source.fanotify_figures().unwrap().marks, 2);
    fs.end();
    told(&mut kit);
    assert_eq!(kit.source.fanotify_figures().unwrap().marks, 1);
    kit.write("d/m/hidden/g");
    assert_eq!(kit.told(), ["CREATE d/m/hidden|g"]);
}

#[test]
fn a_link_on_another_file_system_is_heard_of() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("m");
    let fs = Mounted::tmpfs(kit.path("m"));
    kit.mkdir("m/one");
    kit.mkdir("m/two");
    kit.link("m/one", "now");
    kit.line("now", Mask::CREATE);
    kit.write("m/one/f");
    assert_eq!(kit.told(), ["CREATE now|f"]);
    kit.link("m/two", "next");
    kit.mv("next", "now");
    assert_eq!(kit.told(), [""; 0]);
    kit.write("m/one/g");
    kit.write("m/two/h");
    assert_eq!(kit.told(), ["CREATE now|h"]);
    fs.end();
    told(&mut kit);
}

#[test]
fn a_mount_goes_with_the_directory_that_it_is_in() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/a/m");
    kit.line("d", Mask::CREATE | Mask::MOVE);
    let mut mounted = Mounted::tmpfs(kit.path("d/a/m"));
    assert_eq!(told(&mut kit), [""; 0]);
    kit.mv("d/a", "d/b");
    mounted.0 = kit.path("d/b/m");
    let renamed = ["MOVED_FROM,ISDIR d|a", "MOVED_TO,ISDIR d|b <- d/a"];
    assert_eq!(kit.told(), renamed);
    kit.write("d/b/m/f");
    kit.write("d/b/g");
    let mut told = kit.told();
    told.sort();
    assert_eq!(told, ["CREATE d/b/m|f", "CREATE d/b|g"]);
    mounted.end();
}
