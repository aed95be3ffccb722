//! Lines whose path is a pattern: what matches now, and what matches later.

mod watch_kit;

use incron::table::{Mask, PathSpec};
use watch_kit::Kit;

fn pattern(kit: &mut Kit, rest: &str, mask: Mask) -> u32 {
    let written = kit.path(rest).into_os_string();
    kit.line_with("", mask, |r| {
        r.path = PathSpec {
            written,
            pattern: true,
        }
    })
}

#[test]
fn files_that_match_now_and_later_are_told_by_their_path() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.write("d/a.conf");
    pattern(
        &mut kit,
        "d/*.conf",
        Mask::CREATE | Mask::CLOSE_WRITE | Mask::DELETE,
    );
    kit.write("d/a.conf");
    kit.write("d/b.conf");
    kit.write("d/c.txt");
    kit.rm("d/a.conf");
    let want = [
        "CLOSE_WRITE d/a.conf|",
        "CREATE d/b.conf|",
        "CLOSE_WRITE d/b.conf|",
        "DELETE d/a.conf|",
    ];
    assert_eq!(kit.told(), want);
}

#[test]
fn a_matching_file_saved_by_rename_is_a_save() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    pattern(&mut kit, "d/*.conf", Mask::CLOSE_WRITE);
    kit.write("d/.tmp");
    kit.mv("d/.tmp", "d/x.conf");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/x.conf| <- d/.tmp"]);
}

#[test]
fn directories_that_match_are_served_with_their_subtree() {
    let mut kit = Kit::new();
    kit.mkdir("home/alice/inbox/sub");
    kit.mkdir("home/alice/other");
    pattern(&mut kit, "home/*/inbox", Mask::CREATE);
    kit.write("home/alice/inbox/f");
    kit.write("home/alice/inbox/sub/g");
    kit.write("home/alice/other/h");
    kit.write("home/alice/i");
    assert_eq!(
        kit.told(),
        ["CREATE home/alice/inbox|f", "CREATE home/alice/inbox/sub|g"]
    );
    kit.mkdir("home/bob/inbox");
    kit.write("home/bob/inbox/f");
    assert_eq!(kit.told(), ["CREATE home/bob/inbox|f (scan)"]);
    kit.mv("home/bob", "home/carol");
    assert_eq!(kit.told(), ["CREATE home/carol/inbox|f (scan)"]);
    kit.write("home/carol/inbox/g");
    assert_eq!(kit.told(), ["CREATE home/carol/inbox|g"]);
    kit.rm("home/carol");
    kit.told();
    kit.mkdir("home/carol/inbox");
    kit.told();
    kit.write("home/carol/inbox/again");
    assert_eq!(kit.told(), ["CREATE home/carol/inbox|again"]);
}

#[test]
fn a_slash_at_the_end_means_directories_and_stays() {
    let mut kit = Kit::new();
    kit.mkdir("d/a");
    pattern(&mut kit, "d/*/", Mask::CREATE);
    kit.write("d/file");
    kit.write("d/a/f");
    assert_eq!(kit.told(), ["CREATE d/a/|f"]);
}

#[test]
fn braces_and_stars_of_any_depth() {
    let mut kit = Kit::new();
    kit.mkdir("srv/x/y");
    pattern(&mut kit, "srv/**/{a,b}.log", Mask::CREATE);
    kit.write("srv/a.log");
    kit.write("srv/x/y/b.log");
    kit.write("srv/x/c.log");
    kit.mkdir("srv/n/m");
    kit.write("srv/n/m/a.log");
    assert_eq!(
        kit.told(),
        [
            "CREATE srv/a.log|",
            "CREATE srv/x/y/b.log|",
            "CREATE srv/n/m/a.log| (scan)"
        ]
    );
}

#[test]
fn the_base_of_a_pattern_is_waited_for() {
    let mut kit = Kit::new();
    pattern(&mut kit, "later/*.conf", Mask::CREATE);
    kit.mkdir("later");
    kit.write("later/a.conf");
    assert_eq!(kit.told(), ["CREATE later/a.conf| (scan)"]);
    kit.write("later/b.conf");
    assert_eq!(kit.told(), ["CREATE later/b.conf|"]);
}

#[test]
fn self_events_of_a_match_are_told() {
    let mut kit = Kit::new();
    kit.mkdir("d/a");
    pattern(
        &mut kit,
        "d/*",
        Mask::DELETE_SELF | Mask::ATTRIB | Mask::DELETE,
    );
    std::fs::remove_dir(kit.path("d/a")).unwrap();
    assert_eq!(kit.told(), ["DELETE_SELF d/a|"]);
}
