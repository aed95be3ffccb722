//! Globs against examples, and against globset as an oracle.

use super::*;
use proptest::prelude::*;

fn yes(glob: &str, name: &str) {
    assert!(
        Glob::new(glob.as_bytes()).matches(name.as_bytes()),
        "{glob} {name}"
    );
}

fn no(glob: &str, name: &str) {
    assert!(
        !Glob::new(glob.as_bytes()).matches(name.as_bytes()),
        "{glob} {name}"
    );
}

#[test]
fn shapes() {
    yes("a.jpg", "a.jpg");
    no("a.jpg", "aXjpg");
    yes("*.jpg", "a.jpg");
    yes("*.jpg", ".jpg");
    no("*.jpg", "a.jpgx");
    yes("a*", "a");
    yes("a*", "abc");
    yes("*", "");
    yes("a*b*c", "aXbXc");
    no("a*b*c", "aXbX");
    yes("a?c", "abc");
    yes("a?c", "aéc");
    no("a?c", "ac");
    yes(r"\*", "*");
    no(r"\*", "x");
}

#[test]
fn classes() {
    yes("[a-c]x", "bx");
    no("[a-c]x", "dx");
    yes("[!a-c]x", "dx");
    yes("[^a-c]x", "dx");
    yes("[]x]", "]");
    yes("[a-]", "-");
    yes("[[:digit:]]", "7");
    no("[[:digit:]]", "x");
    yes("[é]", "é");
    yes(r"[\]]", "]");
    yes("[abc", "[abc");
    no("[]", "");
}

#[test]
fn hidden_names_need_their_dot() {
    let star = Glob::new(b"*");
    assert!(star.matches(b".x") && !star.matches_shown(b".x") && star.matches_shown(b"x"));
    assert!(Glob::new(b".*").matches_shown(b".x"));
    assert!(Glob::new(b".x").matches_shown(b".x"));
    assert!(!Glob::new(b"?x").matches_shown(b".x"));
}

#[test]
fn names_of_any_bytes() {
    assert!(Glob::new(b"?").matches(b"\xff"));
    assert!(Glob::new(b"[!a]").matches(b"\xff"));
    assert!(Glob::new(b"*\xff").matches(b"a\xff"));
}

fn expand(text: &str) -> Vec<String> {
    expand_braces(text.as_bytes())
        .unwrap()
        .into_iter()
        .map(|b| String::from_utf8(b).unwrap())
        .collect()
}

#[test]
fn braces_as_in_bash() {
    assert_eq!(expand("a{b,c}d"), ["abd", "acd"]);
    assert_eq!(expand("{a,b}{c,d}"), ["ac", "ad", "bc", "bd"]);
    assert_eq!(expand("{a,{b,c}}"), ["a", "b", "c"]);
    assert_eq!(expand("{a}"), ["{a}"]);
    assert_eq!(expand("{a,b"), ["{a,b"]);
    assert_eq!(expand("{{a,b"), ["{{a,b"]);
    assert_eq!(expand("{x{a,b}"), ["{xa", "{xb"]);
    assert_eq!(expand(r"\{a,b}"), [r"\{a,b}"]);
    assert_eq!(expand("{,a}"), ["", "a"]);
}

#[test]
fn braces_are_bounded() {
    assert_eq!(
        expand_braces("{a,b}".repeat(40).as_bytes()),
        Err(TooManyAlternatives)
    );
    assert_eq!(
        expand_braces(format!("{{{}}}", ",".repeat(60_000)).as_bytes()),
        Err(TooManyAlternatives)
    );
    assert!(expand_braces("{".repeat(60_000).as_bytes()).is_ok());
    assert!(expand_braces("{a}".repeat(20_000).as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn total(glob in proptest::collection::vec(any::<u8>(), 0..40), name in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Glob::new(&glob).matches(&name);
        let _ = expand_braces(&glob);
    }

    /// globset agrees where both read the same language.
    #[test]
    fn as_globset(glob in "[ab*?]{0,8}", name in "[ab]{0,10}") {
        let oracle = globset::GlobBuilder::new(&glob).literal_separator(true).build().unwrap();
        // globset reads `**` as its own operator.
        prop_assume!(!glob.contains("**"));
        prop_assert_eq!(
            Glob::new(glob.as_bytes()).matches(name.as_bytes()),
            oracle.compile_matcher().is_match(&name)
        );
    }

    #[test]
    fn a_text_matches_itself_escaped(name in proptest::collection::vec(1u8.., 0..20)) {
        let escaped: Vec<u8> = name.iter().flat_map(|b| [b'\\', *b]).collect();
        let glob = Glob::new(&escaped);
        prop_assert!(glob.matches(&name));
        prop_assert_eq!(glob.literal(), Some(&name[..]));
    }
}
