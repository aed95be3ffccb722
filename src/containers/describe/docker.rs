//! config.v2.json of docker: a container's name, image and labels.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::containers::files;

/// What is known of one container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    name: String,
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// The settings of container `id`. dockerd's data-root is a key of its
    /// configuration; but the container's root is always below it.
    pub fn find(root: &Path, id: &str) -> Option<Settings> {
        let file = |dir: &Path| dir.join("containers").join(id).join("config.v2.json");
        let read = |dir: &Path| files::read(&file(dir), files::METADATA).ok();
        let text = root.ancestors().skip(1).find_map(read)?;
        serde_json::from_slice(&text).ok()
    }

    /// Its name, without docker's slash before it.
    pub fn name(&self) -> &str {
        self.name.strip_prefix('/').unwrap_or(&self.name)
    }

    /// The image's name as it was given.
    pub fn image(&self) -> &str {
        &self.config.image
    }

    /// A label; those of Kubernetes name the pod.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_from_the_root_upwards() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("overlay2/f00/merged");
        let settings = dir.path().join("containers/aa");
        std::fs::create_dir_all(&settings).unwrap();
        let text = r#"{"Name":"/d 1","Config":{"Image":"bb:1","Labels":null},"State":{}}"#;
        std::fs::write(settings.join("config.v2.json"), text).unwrap();
        let found = Settings::find(&root, "aa").unwrap();
        assert_eq!((found.name(), found.image()), ("d 1", "bb:1"));
        assert_eq!(found.label("x"), None);
        assert!(Settings::find(&root, "bb").is_none());
        std::fs::write(settings.join("config.v2.json"), &text[..20]).unwrap();
        assert!(Settings::find(&root, "aa").is_none());
    }
}
