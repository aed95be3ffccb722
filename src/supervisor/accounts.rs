//! Accounts of the machine, as far as a worker needs them.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::paths;
use crate::sys::Identity;

/// An account, looked up once; nothing of it is read again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one among them.
    pub groups: Vec<u32>,
    /// Home directory, as passwd has it.
    pub home: PathBuf,
    /// Login shell; /bin/sh where passwd has none.
    pub shell: PathBuf,
}

impl Account {
    /// The account of this name. None: there is none. An error: the name
    /// service did not say.
    pub fn by_name(name: &str) -> io::Result<Option<Self>> {
        User::from_name(name)?.map(Self::new).transpose()
    }

    /// The account of this number, likewise.
    pub fn by_uid(uid: u32) -> io::Result<Option<Self>> {
        User::from_uid(Uid::from_raw(uid))?
            .map(Self::new)
            .transpose()
    }

    /// What a process needs to become this account.
    pub fn identity(&self) -> Identity {
        Identity {
            uid: self.uid,
            gid: self.gid,
            groups: self.groups.clone(),
        }
    }

    /// The variables that say whose a process is.
    pub fn environment(&self) -> [(&'static str, &std::ffi::OsStr); 5] {
        let name = self.name.as_ref();
        [
            ("LOGNAME", name),
            ("USER", name),
            ("USERNAME", name),
            ("HOME", self.home.as_os_str()),
            ("SHELL", self.shell.as_os_str()),
        ]
    }

    fn new(user: User) -> io::Result<Self> {
        let name = CString::new(user.name.as_str())?;
        let groups = getgrouplist(&name, user.gid)?;
        let shell = match user.shell.as_os_str().is_empty() {
            true => PathBuf::from(paths::SHELL),
            false => user.shell,
        };
        Ok(Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            home: user.dir,
            shell,
        })
    }
}
