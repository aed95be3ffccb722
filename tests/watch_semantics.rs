//! docs/semantics.md is made from what this test sees: each operation is done, and
//! what three lines are told is put into the table. `UPDATE_DOCS=1` writes it.

mod watch_kit;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use incron::table::Mask;
use watch_kit::Kit;

const PAGE: &str = "docs/semantics.md";
const BEGIN: &str = "<!-- made by tests/watch_semantics.rs -->\n";
const END: &str = "<!-- end -->\n";

type Row = (&'static str, fn(&Kit), fn(&Kit));

fn nothing(_: &Kit) {}

const ROWS: &[Row] = &[
    ("write a new file: `echo x > d/f`", nothing, |k| {
        k.write("d/f")
    }),
    ("write it again", |k| k.write("d/f"), |k| k.write("d/f")),
    (
        "save by rename: `mv tmp d/f`, tmp outside",
        |k| {
            k.write("d/f");
            k.write("tmp")
        },
        |k| k.mv("tmp", "d/f"),
    ),
    (
        "save by rename: `mv d/.f.swp d/f`",
        |k| {
            k.write("d/f");
            k.write("d/.f.swp")
        },
        |k| k.mv("d/.f.swp", "d/f"),
    ),
    (
        "link a file in: `ln tmp d/f`",
        |k| k.write("tmp"),
        |k| fs::hard_link(k.path("tmp"), k.path("d/f")).unwrap(),
    ),
    (
        "write through another link",
        |k| {
            k.write("d/f");
            fs::hard_link(k.path("d/f"), k.path("other")).unwrap()
        },
        |k| k.write("other"),
    ),
    (
        "read: `cat d/f`",
        |k| k.write("d/f"),
        |k| {
            fs::read(k.path("d/f")).unwrap();
        },
    ),
    (
        "`chmod 600 d/f`",
        |k| k.write("d/f"),
        |k| fs::set_permissions(k.path("d/f"), fs::Permissions::from_mode(0o600)).unwrap(),
    ),
    (
        "`truncate -s 0 d/f` (truncate(2))",
        |k| k.write("d/f"),
        |k| nix::unistd::truncate(&k.path("d/f"), 0).unwrap(),
    ),
    ("`rm d/f`", |k| k.write("d/f"), |k| k.rm("d/f")),
    ("`mv d/f d/g`", |k| k.write("d/f"), |k| k.mv("d/f", "d/g")),
    ("`ln -s x d/f`", nothing, |k| k.link("x", "d/f")),
    ("`mkdir d/s`", nothing, |k| k.mkdir("d/s")),
    ("`mkdir -p d/s/t && echo x > d/s/t/f`", nothing, |k| {
        k.mkdir("d/s/t");
        k.write("d/s/t/f")
    }),
    (
        "`mv tree d/s`, tree/t/f in it",
        |k| {
            k.mkdir("tree/t");
            k.write("tree/t/f")
        },
        |k| k.mv("tree", "d/s"),
    ),
    ("`mv d/s d/u`", |k| k.mkdir("d/s"), |k| k.mv("d/s", "d/u")),
    ("`mv d/s out`", |k| k.mkdir("d/s"), |k| k.mv("d/s", "out")),
    (
        "`chmod 700 d/s`",
        |k| k.mkdir("d/s"),
        |k| fs::set_permissions(k.path("d/s"), fs::Permissions::from_mode(0o700)).unwrap(),
    ),
    (
        "`rmdir d/s`",
        |k| k.mkdir("d/s"),
        |k| fs::remove_dir(k.path("d/s")).unwrap(),
    ),
    ("`rmdir d`", nothing, |k| {
        fs::remove_dir(k.path("d")).unwrap()
    }),
    ("`mv d away`", |k| k.write("d/f"), |k| k.mv("d", "away")),
    (
        "`mv d away; mv away d`",
        |k| k.write("d/f"),
        |k| {
            k.mv("d", "away");
            k.mv("away", "d")
        },
    ),
];

fn told(row: &Row, path: &str, mask: Mask) -> String {
    let mut kit = Kit::new();
    kit.mkdir("d");
    row.1(&kit);
    kit.tick();
    kit.line(path, mask);
    row.2(&kit);
    let told: Vec<String> = kit
        .told()
        .iter()
        .map(|t| format!("`{}`", t.replace("| ", " ").replace('|', " ").trim_end()))
        .collect();
    if told.is_empty() {
        "-".into()
    } else {
        told.join("<br>")
    }
}

#[test]
fn the_table_of_the_page_is_true() {
    let mut table = String::from(
        "| operation | `d` ALL_EVENTS | `d` CLOSE_WRITE | `d/f` CLOSE_WRITE,DELETE_SELF |\n|---|---|---|---|\n",
    );
    for row in ROWS {
        let all = told(row, "d", Mask::ALL_EVENTS);
        let writes = told(row, "d", Mask::CLOSE_WRITE);
        let file = told(row, "d/f", Mask::CLOSE_WRITE | Mask::DELETE_SELF);
        table.push_str(&format!("| {} | {all} | {writes} | {file} |\n", row.0));
    }
    let page = fs::read_to_string(PAGE).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (old, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
    } else {
        assert_eq!(
            old, table,
            "UPDATE_DOCS=1 cargo test --test watch_semantics"
        );
    }
}
