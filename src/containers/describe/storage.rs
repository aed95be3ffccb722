//! containers.json of containers/storage, which podman, CRI-O and buildah share:
//! a container's names, image and layer, by its id.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use crate::containers::files;

/// Containers that a reboot outlives, and those that it does not (`podman run --rm`).
const FILES: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// What is known of one container.
#[derive(Debug, Default, Deserialize)]
pub struct Stored {
    /// The container's id.
    pub id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    metadata: String,
    /// Name of the layer's directory.
    #[serde(default)]
    pub layer: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Metadata {
    image_name: String,
    pod_name: String,
}

impl Stored {
    /// Its name; empty where it has none.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether buildah made it: podman and CRI-O always say something of their own.
    pub fn is_built(&self) -> bool {
        self.metadata.is_empty()
    }

    /// Name of its image and of its pod; empty where not known.
    pub fn image_and_pod(&self) -> (String, String) {
        let metadata: Metadata = serde_json::from_str(&self.metadata).unwrap_or_default();
        (metadata.image_name, metadata.pod_name)
    }

    /// The container `id` in the directory `OVERLAY-containers`; None where it is not
    /// there, or where the file is half written.
    pub fn find(dir: &Path, id: &str) -> Option<Stored> {
        let read = |name: &&str| files::read(&dir.join(name), files::METADATA).ok();
        FILES.iter().filter_map(read).find_map(|text| {
            let mut json = serde_json::Deserializer::from_slice(&text);
            Search(id).deserialize(&mut json).ok().flatten()
        })
    }
}

impl Stored {
    /// All of a file; None where it is half written.
    pub fn all(file: &Path) -> Option<Vec<Stored>> {
        serde_json::from_slice(&files::read(file, files::METADATA).ok()?).ok()
    }
}

/// Keeps one of the list: a store may hold thousands.
struct Search<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = Option<Stored>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = Option<Stored>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(stored) = list.next_element::<Stored>()? {
            if stored.id == self.0 {
                found = Some(stored);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"[{"id":"aa","names":["x"],"layer":"1"},
        {"id":"bb","names":["c\u001b1","y"],"layer":"2","image":"sha",
         "metadata":"{\"image-name\":\"localhost/bb:2\",\"name\":\"c1\"}","flags":{}}]"#;

    #[test]
    fn the_one_that_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("volatile-containers.json"), LIST).unwrap();
        let found = Stored::find(dir.path(), "bb").unwrap();
        assert_eq!((found.name(), &*found.layer), ("c\u{1b}1", "2"));
        assert_eq!(
            found.image_and_pod(),
            ("localhost/bb:2".into(), String::new())
        );
        let found = Stored::find(dir.path(), "aa").unwrap();
        assert_eq!(found.image_and_pod(), (String::new(), String::new()));
        assert!(Stored::find(dir.path(), "cc").is_none());
    }

    #[test]
    fn half_a_file_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for end in 0..LIST.len() {
            std::fs::write(dir.path().join("containers.json"), &LIST[..end]).unwrap();
            assert!(Stored::find(dir.path(), "bb").is_none(), "{end}");
        }
    }
}
