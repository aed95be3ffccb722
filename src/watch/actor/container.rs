//! The container of a process: by the name of its cgroup, as the engines give it,
//! else by the layer that its root directory is. Pure.

/// Before the identity in a name such as `docker-ID.scope`.
const PREFIXES: [&str; 5] = ["docker-", "libpod-", "cri-containerd-", "crio-", "podman-"];
/// Before the name of a container of LXC.
const LXC: [&str; 2] = ["lxc.payload.", "lxc.payload/"];

/// By the lines of `/proc/PID/cgroup`: the innermost identity of 64 hexadecimal
/// digits, or the name of an LXC container.
pub fn of_cgroups(text: &str) -> Option<String> {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths()
        .find_map(|path| path.rsplit('/').find_map(identity))
        .or_else(|| paths().find_map(lxc))
}

fn identity(name: &str) -> Option<String> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    // `libpod-conmon-ID` is what watches a container, from outside.
    let id = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    let id = id.unwrap_or(name);
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (id.len() == 64 && id.bytes().all(hex)).then(|| id.to_owned())
}

fn lxc(path: &str) -> Option<String> {
    let after = LXC.iter().find_map(|word| Some(path.split_once(word)?.1));
    let after = after.or_else(|| path.strip_prefix("/lxc/"))?;
    let name = after.split('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// By `/proc/PID/mountinfo`: the layer that a root directory on overlayfs writes to,
/// by the name that its engine gave it. None: its root is no container's.
pub fn of_mounts(text: &str) -> Option<String> {
    let mut roots = text
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"));
    let (_, after) = roots.next_back()?.split_once(" - ")?;
    let options = after.strip_prefix("overlay ")?.split(' ').nth(1)?;
    let upper = options
        .split(',')
        .find_map(|o| o.strip_prefix("upperdir="))?;
    let mut names = upper.rsplit('/');
    // LAYER/diff of podman and docker, N/fs of containerd.
    names
        .find(|name| !matches!(*name, "" | "diff" | "fs"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_of_cgroups() {
        for path in [
            "/system.slice/docker-@.scope",
            "/machine.slice/libpod-@.scope",
            "/machine.slice/libpod-@.scope/container",
            "/docker/@",
            "/libpod_parent/libpod-@",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-pod1.slice/cri-containerd-@.scope",
            "/kubepods/besteffort/pod12/@",
            "/kubepods.slice/crio-@.scope",
        ] {
            let text = format!("1:name=systemd:/\n0::{}\n", path.replace('@', ID));
            assert_eq!(of_cgroups(&text).as_deref(), Some(ID), "{path}");
        }
        for text in [
            "0::/\n".to_owned(),
            "0::/user.slice/session-1.scope\n".to_owned(),
            format!("0::/machine.slice/libpod-conmon-{ID}.scope\n"),
            format!("0::/x-{}\n", &ID[1..]),
            String::new(),
            "::".into(),
        ] {
            assert_eq!(of_cgroups(&text), None, "{text}");
        }
        assert_eq!(
            of_cgroups("0::/lxc.payload.web/init.scope").as_deref(),
            Some("web")
        );
    }

    #[test]
    fn layers_of_root_directories() {
        let text = format!(
            "1 0 8:1 / /old rw - ext4 /dev/sda rw\n\
             7 1 0:9 / / rw,relatime - overlay overlay rw,lowerdir=l/A,upperdir=/v/overlay/{ID}/diff,workdir=/w\n\
             8 7 0:5 / /proc rw - proc proc rw\n"
        );
        assert_eq!(of_mounts(&text).as_deref(), Some(ID));
        let n = "7 1 0:9 / / rw - overlay overlay rw,upperdir=/s/snapshots/12/fs\n";
        assert_eq!(of_mounts(n).as_deref(), Some("12"));
        assert_eq!(of_mounts("1 0 8:1 / / rw - ext4 /dev/sda rw\n"), None);
    }
}
