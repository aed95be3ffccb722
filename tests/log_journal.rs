//! The log through a real journald, in a mount namespace of its own where /run
//! and the journal's directories are empty; and, always, through a socket that
//! takes the native protocol apart.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use incron::log::{Destination, LogSettings, init};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// What the programs of both tests say.
fn speak(socket: Option<&Path>) {
    let mut settings = LogSettings::new(Destination::Journal);
    settings.socket = socket.map(Path::to_owned);
    init(&settings).unwrap();
    log::info!(table = "web", line = 3, path = "/a\nMESSAGE=forged"; "(alice) CMD (make\nsite)");
    let large = "x".repeat(300_000);
    log::error!(output = large.as_str(); "large");
    log::logger().flush();
}

/// The fields of an entry; binary ones by their length.
fn parse(mut bytes: &[u8]) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    while !bytes.is_empty() {
        let end = bytes
            .iter()
            .position(|byte| matches!(byte, b'=' | b'\n'))
            .unwrap();
        let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (start, length) = if bytes[end] == b'=' {
            (
                end + 1,
                bytes[end + 1..]
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .unwrap(),
            )
        } else {
            let length = u64::from_le_bytes(bytes[end + 1..end + 9].try_into().unwrap());
            (end + 9, length as usize)
        };
        let value = String::from_utf8(bytes[start..start + length].to_vec()).unwrap();
        assert!(fields.insert(name, value).is_none());
        bytes = &bytes[start + length + 1..];
    }
    fields
}

#[test]
fn the_native_protocol_is_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    speak(Some(&path));
    let mut buffer = vec![0; 1 << 16];
    let size = socket.recv(&mut buffer).unwrap();
    let fields = parse(&buffer[..size]);
    let get = |name: &str| fields.get(name).map(String::as_str);
    assert_eq!(get("PRIORITY"), Some("6"));
    assert_eq!(get("SYSLOG_FACILITY"), Some("9"));
    assert_eq!(get("SYSLOG_IDENTIFIER"), Some("incrond"));
    assert_eq!(get("MESSAGE"), Some("(alice) CMD (make\\x0asite)"));
    assert_eq!(
        (get("INCRON_TABLE"), get("INCRON_LINE")),
        (Some("web"), Some("3"))
    );
    assert_eq!(get("INCRON_PATH"), Some("/a\nMESSAGE=forged"));

    let mut space = nix::cmsg_space!(std::os::fd::RawFd);
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut [],
        Some(&mut space),
        MsgFlags::empty(),
    )
    .unwrap();
    let mut descriptors = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(rights) = control {
            descriptors.extend(rights);
        }
    }
    assert_eq!(descriptors.len(), 1);
    let mut entry = Vec::new();
    let path = format!("/proc/self/fd/{}", descriptors[0]);
    fs::File::open(path)
        .unwrap()
        .read_to_end(&mut entry)
        .unwrap();
    let fields = parse(&entry);
    assert_eq!(fields["MESSAGE"], "large");
    assert_eq!(fields["INCRON_OUTPUT"].len(), 300_000);
}

const JOURNALD: &str = "/lib/systemd/systemd-journald";

#[test]
fn a_real_journald_finds_our_fields() {
    if !nix::unistd::geteuid().is_root() || !Path::new(JOURNALD).exists() {
        return eprintln!("SKIPPED: needs root and {JOURNALD}");
    }
    // All that journald writes lies in tmpfs of the namespace; it ends with it.
    let script = format!(
        "set -e; mount -t tmpfs none /run; mount -t tmpfs none /var/log; mkdir /var/log/journal
         {JOURNALD} & daemon=$!
         trap 'kill $daemon; wait $daemon || :' EXIT
         soon() {{ for n in $(seq 600); do \"$@\" && return; sleep 0.1; done; return 1; }}
         soon test -S /run/systemd/journal/socket
         \"$0\" a_program_that_logs --exact --ignored >/dev/null
         arrived() {{ journalctl -q SYSLOG_IDENTIFIER=incrond PRIORITY=3 | grep -q large; }}
         soon arrived
         journalctl -o export INCRON_TABLE=web
         journalctl -o export SYSLOG_IDENTIFIER=incrond PRIORITY=3 | wc -c"
    );
    let out = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let said = || format!("{text}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(
        text.contains("MESSAGE=(alice) CMD (make\\x0asite)\n"),
        "{}",
        said()
    );
    assert!(
        text.contains("INCRON_LINE=3\n") && text.contains("SYSLOG_FACILITY=9\n"),
        "{}",
        said()
    );
}

#[test]
#[ignore = "run by a_real_journald_finds_our_fields, in its namespace"]
fn a_program_that_logs() {
    speak(None);
}
