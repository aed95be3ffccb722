//! Where everything is for `incrond --user`: the directories of the XDG base
//! directory specification.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError};

/// The defaults for the user whose environment `var` reads, and the usual place
/// of the configuration.
pub(super) fn defaults(
    var: impl Fn(&str) -> Option<OsString>,
) -> Result<(Config, PathBuf), ConfigError> {
    // By the specification a relative path is as good as none.
    let absolute = |name| {
        var(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = |name, below: &str| {
        absolute(name)
            .or_else(|| absolute("HOME").map(|home| home.join(below)))
            .ok_or(ConfigError::Variable("HOME"))
    };
    let tables = home("XDG_CONFIG_HOME", ".config")?.join("incron");
    let state = home("XDG_STATE_HOME", ".local/state")?.join("incron");
    let runtime = absolute("XDG_RUNTIME_DIR").ok_or(ConfigError::Variable("XDG_RUNTIME_DIR"))?;
    let runtime = runtime.join("incron");
    let file = tables.join("incron.conf");
    let config = Config {
        system_table_dir: None,
        user_table_dir: tables,
        lockfile_dir: runtime.clone(),
        control_socket: runtime.join(name_of(Path::new(crate::paths::CONTROL_SOCKET))),
        state_dir: state,
        personal: true,
        ..Config::default()
    };
    Ok((config, file))
}

fn name_of(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_and_their_defaults() {
        let (config, file) = defaults(|name| match name {
            "HOME" => Some("/home/a".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/1".into()),
            "XDG_STATE_HOME" => Some("relative".into()),
            _ => None,
        })
        .unwrap();
        assert_eq!(file, Path::new("/home/a/.config/incron/incron.conf"));
        assert_eq!(config.user_table_dir, Path::new("/home/a/.config/incron"));
        assert_eq!(config.state_dir, Path::new("/home/a/.local/state/incron"));
        assert_eq!(
            config.control_socket,
            Path::new("/run/user/1/incron/control.sock")
        );
        assert_eq!(
            config.lock_file(),
            Path::new("/run/user/1/incron/incrond.pid")
        );
        assert_eq!(config.system_table_dir, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = defaults(|_| None).unwrap_err();
        assert!(none.to_string().contains("HOME"), "{none}");
    }
}
