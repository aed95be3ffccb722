//! What is shipped beside the programs says what the programs do: every option
//! stands in the completions and in the manual, every key of incron.conf has
//! its default, the units are what systemd understands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use incron::config::Config;

const PROGRAMS: [(&str, &str, &str); 4] = [
    ("incrond", env!("CARGO_BIN_EXE_incrond"), "man/incrond.8"),
    (
        "incrontab",
        env!("CARGO_BIN_EXE_incrontab"),
        "man/incrontab.1",
    ),
    (
        "incronctl",
        env!("CARGO_BIN_EXE_incronctl"),
        "man/incronctl.8",
    ),
    (
        "incron-containers",
        env!("CARGO_BIN_EXE_incron-containers"),
        "man/incron-containers.8",
    ),
];

/// Every command of a program, with options of their own.
fn commands(name: &str) -> &'static [&'static str] {
    match name {
        "incrond" => &["run"],
        "incronctl" => &["status", "simulate", "reload"],
        "incron-containers" => &["provide", "list"],
        _ => &[],
    }
}

/// Every option of a program and of its commands.
fn all_options(name: &str, program: &str) -> BTreeSet<String> {
    let mut all = options(program, &[]);
    for command in commands(name) {
        all.extend(options(program, &[command]));
    }
    all
}

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every option that `--help` names, as `-x` and `--long`.
fn options(program: &str, args: &[&str]) -> BTreeSet<String> {
    let output = Command::new(program)
        .args(args)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let named = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'));
    named
        .flat_map(|line| line.split("  ").next().unwrap_or("").split([' ', ',']))
        .filter(|word| word.starts_with('-') && word.len() > 1)
        .map(|word| word.split(['[', '=']).next().unwrap_or(word).to_owned())
        .collect()
}

/// True where the option stands in a completion file, in that shell's spelling.
fn completes(shell: &str, text: &str, option: &str) -> bool {
    let bare = option.trim_start_matches('-');
    let has = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            let next = text[at + word.len()..].chars().next().unwrap_or(' ');
            !next.is_alphanumeric() && next != '-'
        })
    };
    match shell {
        "fish" if option.starts_with("--") => has(&format!("-l {bare}")),
        "fish" => has(&format!("-s {bare}")) || has(&format!("-s '{bare}'")),
        "zsh" => has(option) || has(&option.replace('?', "\\?")),
        _ => has(option),
    }
}

#[test]
fn completions_know_every_option() {
    for (name, program, _) in PROGRAMS {
        let wanted = all_options(name, program);
        assert!(wanted.len() > 8, "{name}: {wanted:?}");
        for (shell, path) in [
            ("bash", format!("etc/completions/bash/{name}")),
            ("zsh", format!("etc/completions/zsh/_{name}")),
            ("fish", format!("etc/completions/fish/{name}.fish")),
        ] {
            let text = file(&path);
            for option in &wanted {
                assert!(
                    completes(shell, &text, option),
                    "{path} does not know {option}"
                );
            }
            for command in commands(name) {
                assert!(text.contains(command), "{path} does not know {command}");
            }
        }
    }
}

#[test]
fn manuals_describe_every_option() {
    for (name, program, page) in PROGRAMS {
        let text = file(page).replace("\\&", "").replace("\\-", "-");
        let items: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(".It "))
            .collect();
        for option in all_options(name, program) {
            // mdoc writes -x as "Fl x" and --long as "Fl -long".
            let flag = option.strip_prefix('-').unwrap();
            let found = items.iter().any(|item| {
                item.split([' ', ','])
                    .zip(item.split([' ', ',']).skip(1))
                    .any(|(macro_, word)| (macro_ == "Fl" || macro_.is_empty()) && word == flag)
            });
            assert!(found, "{name}: {page} does not describe {option}");
        }
    }
}

/// `# key = value` lines of the shipped file, without the comment sign.
fn defaults(text: &str) -> Vec<String> {
    let key = |line: &str| line.split_once(" =").map(|(key, _)| key.to_owned());
    let is_key = |key: String| !key.is_empty() && key.chars().all(|c| c == '_' || c.is_lowercase());
    let lines = text.lines().filter_map(|line| line.strip_prefix("# "));
    lines
        .filter(|line| key(line).is_some_and(is_key))
        .map(str::to_owned)
        .collect()
}

fn read_conf(text: &str) -> incron::config::Parsed {
    incron::config::parse(Path::new("etc/incron.conf"), text.as_bytes())
}

#[test]
fn the_shipped_configuration_is_the_default() {
    let text = file("etc/incron.conf");
    let parsed = read_conf(&text);
    assert_eq!((parsed.errors, parsed.warnings), (vec![], vec![]));
    assert_eq!(parsed.config, Config::default());

    let shown = defaults(&text);
    assert!(shown.len() >= 18, "every key is shown: {shown:?}");
    let parsed = read_conf(&shown.join("\n"));
    assert_eq!(parsed.errors, [], "a default that is shown is no value");
    let unknown: Vec<_> = parsed
        .warnings
        .iter()
        .filter(|w| w.message.contains("unknown"))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(
        parsed.config,
        Config::default(),
        "a default that is shown is not the default"
    );
}

#[test]
fn the_shipped_access_lists_let_nobody_in_until_the_administrator_does() {
    // Byte for byte what Debian's incron ships, so that an upgrade asks nothing.
    assert_eq!(file("etc/incron.allow"), "");
    assert_eq!(file("etc/incron.deny"), "");
}

#[test]
fn every_directive_of_the_units_is_known_to_systemd() {
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        eprintln!("skipped: no systemd-analyze here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("incron.service");
    for unit in [
        "etc/systemd/system/incron.service",
        "etc/systemd/user/incron.service",
    ] {
        // A program that is there, in place of one that is not installed.
        fs::write(&path, file(unit).replace("/usr/sbin/incrond", "/bin/true")).unwrap();
        let mut command = Command::new("systemd-analyze");
        let output = command
            .args(["verify", "--man=no"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // systemd before 253 says just this about the one word that it does not know.
        let complaints: Vec<&str> = said
            .lines()
            .filter(|line| !line.ends_with("Failed to parse service type, ignoring: notify-reload"))
            .filter(|line| line.contains("incron.service"))
            .collect();
        assert!(complaints.is_empty(), "{unit}: {complaints:?}");
    }
}
