//! Who asks, and whose table it is about.
//!
//! incrontab needs no set-id bit: what it may do is what the caller may do. An
//! installation of Debian's incron made /usr/bin/incrontab set-group-id, and
//! such a bit can survive an upgrade as a dpkg-statoverride; the first thing
//! done here is to give it up.

use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgid, getuid, setresgid, setresuid};

use super::error::Error;

/// The caller, and the owner of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The real user who called.
    pub caller: Uid,
    /// Whose table it is.
    pub owner: String,
}

/// Gives up rights that came from a set-id bit on the program.
///
/// # Errors
/// The kernel refused, which it does not do for a process's real ids.
pub fn drop_set_id() -> Result<(), Error> {
    let (uid, gid) = (getuid(), getgid());
    if (geteuid(), getegid()) == (uid, gid) {
        return Ok(());
    }
    give_up(uid, gid)
        .map_err(|e| Error::Config(format!("cannot give up set-id rights: {}", e.desc())))
}

fn give_up(uid: Uid, gid: Gid) -> nix::Result<()> {
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

impl Subject {
    /// The caller's own table, or with `-u` another's (root only).
    ///
    /// # Errors
    /// The account does not exist, or is another's and the caller is not root.
    pub fn find(wanted: Option<&str>) -> Result<Self, Error> {
        let caller = getuid();
        let owner = match wanted {
            None => match User::from_uid(caller) {
                Ok(Some(user)) => user.name,
                _ => return Err(Error::Nameless(caller.as_raw())),
            },
            Some(name) => named(caller, name)?,
        };
        Ok(Self { caller, owner })
    }

    /// True where the caller may manage every table.
    pub fn is_root(&self) -> bool {
        self.caller.is_root()
    }
}

fn named(caller: Uid, name: &str) -> Result<String, Error> {
    let user = match User::from_name(name) {
        Ok(Some(user)) => user,
        // A plain user learns nothing here about who has an account.
        _ if !caller.is_root() => return Err(Error::NotYours(name.into())),
        _ => return Err(Error::NoSuchUser(name.into())),
    };
    if !caller.is_root() && user.uid != caller {
        return Err(Error::NotYours(name.into()));
    }
    Ok(user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_user_has_the_own_table_only() {
        let nobody = Uid::from_raw(65534);
        assert!(matches!(named(nobody, "root"), Err(Error::NotYours(_))));
        assert!(matches!(
            named(nobody, "no-such-account"),
            Err(Error::NotYours(_))
        ));
        assert_eq!(named(nobody, "nobody").expect("own"), "nobody");
    }

    #[test]
    fn root_has_every_account_that_exists() {
        assert_eq!(named(Uid::from_raw(0), "nobody").expect("exists"), "nobody");
        for name in ["no-such-account", "../etc/shadow", ""] {
            assert!(matches!(
                named(Uid::from_raw(0), name),
                Err(Error::NoSuchUser(_))
            ));
        }
    }
}
