//! What a provider says: one JSON object a line (incron-provider(7)).
//!
//! A provider may be wrong, or repeat names that somebody else chose: what it says
//! is bounded and checked here, once, and a [`Member`] cannot be wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

/// PATH_MAX of <linux/limits.h> without its NUL.
const LONGEST_PATH: usize = 4095;
/// An id is a key, not a text, in bytes.
const LONGEST_ID: usize = 1024;
/// Labels go into the environment of commands, which the kernel bounds.
const MOST_LABELS: usize = 64;
/// Names and values of one path's labels together, in bytes.
const MOST_LABEL_TEXT: usize = 16 * 1024;
/// As many layers as overlayfs takes (OVL_MAX_STACK).
const MOST_LAYERS: usize = 500;

/// Labels of a path, shared by its events.
pub(super) type Labels = Rc<BTreeMap<String, String>>;

/// One path of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The provider's name for it.
    pub id: Rc<str>,
    /// What is watched: absolute, no `.`, `..` or empty component, no slash at its
    /// end unless it is `/`.
    pub path: Vec<u8>,
    /// What events show in its place; the same form.
    pub shown: Vec<u8>,
    /// None where there are none.
    pub labels: Option<Labels>,
    /// Where it is the upper layer of an overlay.
    pub overlay: Option<Overlay>,
}

/// What is known of an overlay beside its upper layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlay {
    /// The layers below, the top one first.
    pub lower: Vec<PathBuf>,
    /// fuse-overlayfs writes it, in a way of its own.
    pub fuse: bool,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A path belongs to the set.
    Add(Box<Member>),
    /// It does so no longer.
    Remove(String),
    /// All that belongs to it now has been said.
    Ready,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wire {
    Add(Box<Add>),
    Remove(String),
    Ready(bool),
}

#[derive(Deserialize)]
struct Add {
    id: String,
    path: Option<String>,
    path_raw: Option<String>,
    shown: Option<String>,
    shown_raw: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    lower: Vec<String>,
    #[serde(default)]
    lower_raw: Vec<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Plain,
    Overlay,
    FuseOverlay,
}

/// Reads a line, without its newline. The error says what is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<Message, String> {
    match serde_json::from_slice(line).map_err(|error| error.to_string())? {
        Wire::Add(add) => Ok(Message::Add(Box::new(member(*add)?))),
        Wire::Remove(id) => Ok(Message::Remove(id)),
        Wire::Ready(true) => Ok(Message::Ready),
        Wire::Ready(false) => Err("`ready` can only be true".into()),
    }
}

fn member(add: Add) -> Result<Member, String> {
    if add.id.is_empty() || add.id.len() > LONGEST_ID {
        return Err(format!("`id` must have 1 to {LONGEST_ID} bytes"));
    }
    let path = one_path("path", add.path, add.path_raw)?.ok_or("`path` is missing")?;
    let shown = one_path("shown", add.shown, add.shown_raw)?;
    let text = |(name, value): (&String, &String)| name.len() + value.len();
    let size: usize = add.labels.iter().map(text).sum();
    if add.labels.len() > MOST_LABELS || size > MOST_LABEL_TEXT {
        return Err(format!(
            "more than {MOST_LABELS} labels, or than {MOST_LABEL_TEXT} bytes of them"
        ));
    }
    let layers = (add.lower.len(), add.lower_raw.len());
    if add.kind == Kind::Plain && layers != (0, 0) {
        return Err("`lower` belongs to `\"kind\":\"overlay\"`".into());
    }
    if layers.0 + layers.1 > MOST_LAYERS {
        return Err(format!("more than {MOST_LAYERS} layers"));
    }
    Ok(Member {
        id: add.id.into(),
        shown: shown.unwrap_or_else(|| path.clone()),
        path,
        labels: (!add.labels.is_empty()).then(|| Rc::new(add.labels)),
        overlay: match add.kind {
            Kind::Plain => None,
            kind => Some(Overlay {
                lower: lower(add.lower, add.lower_raw)?,
                fuse: kind == Kind::FuseOverlay,
            }),
        },
    })
}

/// `lower_raw` has all of them, where one is not UTF-8.
fn lower(plain: Vec<String>, raw: Vec<String>) -> Result<Vec<PathBuf>, String> {
    let paths: Vec<Vec<u8>> = if raw.is_empty() {
        plain.into_iter().map(String::into_bytes).collect()
    } else {
        let decoded = raw.iter().map(|one| base64("lower_raw", one));
        decoded.collect::<Result<_, _>>()?
    };
    let path = |path: Vec<u8>| Ok(OsString::from_vec(absolute("lower", &path)?).into());
    paths.into_iter().map(path).collect()
}

fn one_path(
    field: &str,
    plain: Option<String>,
    raw: Option<String>,
) -> Result<Option<Vec<u8>>, String> {
    let path = match (plain, raw) {
        (_, Some(raw)) => base64(field, &raw)?,
        (Some(plain), None) => plain.into_bytes(),
        (None, None) => return Ok(None),
    };
    absolute(field, &path).map(Some)
}

fn base64(field: &str, text: &str) -> Result<Vec<u8>, String> {
    BASE64
        .decode(text)
        .map_err(|_| format!("`{field}` is not base64"))
}

/// The path without what makes no difference, so that it is the beginning of every
/// path below it.
fn absolute(field: &str, path: &[u8]) -> Result<Vec<u8>, String> {
    if path.first() != Some(&b'/') || path.len() > LONGEST_PATH || path.contains(&0) {
        return Err(format!(
            "`{field}` must be absolute, of at most {LONGEST_PATH} bytes, none of them 0"
        ));
    }
    let mut clean = Vec::with_capacity(path.len());
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err(format!("`{field}` must not hold `..`")),
            name => {
                clean.push(b'/');
                clean.extend_from_slice(name);
            }
        }
    }
    if clean.is_empty() {
        clean.push(b'/');
    }
    Ok(clean)
}

impl Member {
    /// What it takes of memory, about, in bytes.
    pub fn size(&self) -> usize {
        let labels = self.labels.iter().flat_map(|labels| labels.iter());
        let labels: usize = labels.map(|(name, value)| name.len() + value.len()).sum();
        let layers = self.overlay.iter().flat_map(|overlay| &overlay.lower);
        let layers: usize = layers.map(|path| path.as_os_str().len()).sum();
        self.id.len() + self.path.len() + self.shown.len() + labels + layers
    }

    /// True where the other one is watched in the same way: at most its labels differ.
    pub fn same_place(&self, other: &Member) -> bool {
        (&self.path, &self.shown, &self.overlay) == (&other.path, &other.shown, &other.overlay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(text: &str) -> Member {
        match parse(text.as_bytes()).unwrap() {
            Message::Add(member) => *member,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_may_be_said() {
        assert_eq!(parse(br#"{"ready":true}"#), Ok(Message::Ready));
        assert_eq!(
            parse(br#" {"remove":"a b"} "#),
            Ok(Message::Remove("a b".into()))
        );
        let member = add(r#"{"add":{"id":"x","path":"//a/./b//","labels":{"k":"v"},"new":1}}"#);
        assert_eq!(member.path, b"/a/b");
        assert_eq!(member.shown, b"/a/b");
        assert_eq!(member.labels.unwrap()["k"], "v");
        assert_eq!(member.overlay, None);
        let member = add(
            r#"{"add":{"id":"x","path_raw":"L/8=","shown":"/","kind":"overlay","lower":["/l/1","/l/2"]}}"#,
        );
        assert_eq!(member.path, b"/\xff");
        assert_eq!(member.shown, b"/");
        let overlay = Overlay {
            lower: vec!["/l/1".into(), "/l/2".into()],
            fuse: false,
        };
        assert_eq!(member.overlay, Some(overlay));
        let member = add(r#"{"add":{"id":"x","path":"/a","kind":"fuse-overlay"}}"#);
        assert!(member.overlay.unwrap().fuse);
    }

    #[test]
    fn what_may_not() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "\"ready\"",
            r#"{"ready":false}"#,
            r#"{"ready":true}{"ready":true}"#,
            r#"{"gone":"x"}"#,
            r#"{"remove":1}"#,
            r#"{"add":{"id":"","path":"/a"}}"#,
            r#"{"add":{"id":"x"}}"#,
            r#"{"add":{"path":"/a"}}"#,
            r#"{"add":{"id":"x","path":"a"}}"#,
            r#"{"add":{"id":"x","path":""}}"#,
            r#"{"add":{"id":"x","path":"/a/../b"}}"#,
            r#"{"add":{"id":"x","path":"/a\u0000b"}}"#,
            r#"{"add":{"id":"x","path_raw":"%"}}"#,
            r#"{"add":{"id":"x","path":"/a","labels":{"k":1}}}"#,
            r#"{"add":{"id":"x","path":"/a","lower":["/b"]}}"#,
            r#"{"add":{"id":"x","path":"/a","kind":"overlay","lower":["b"]}}"#,
            r#"{"add":{"id":"x","path":"/a","kind":"other"}}"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let long = format!(r#"{{"add":{{"id":"x","path":"/{}"}}}}"#, "x".repeat(5000));
        assert!(parse(long.as_bytes()).is_err());
        let deep = "[".repeat(1 << 20);
        assert!(parse(deep.as_bytes()).is_err());
        assert!(parse(b"\xff\xfe").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any path that is taken begins every path below it, and no bytes panic.
        #[test]
        fn any_path(path in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..40)) {
            if let Ok(clean) = absolute("path", &path) {
                prop_assert!(clean == b"/" || !clean.ends_with(b"/"));
                prop_assert!(!clean.windows(2).any(|two| two == b"//"));
                prop_assert_eq!(absolute("path", &clean), Ok(clean));
            }
            let _ = parse(&path);
        }
    }
}
