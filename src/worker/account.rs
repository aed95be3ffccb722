//! Who a line's commands run as, where `user=` or `group=` says so (system
//! tables only; the parser refuses them elsewhere).

use std::ffi::CString;

use nix::unistd::{Group, User, getgid, getgrouplist, getuid};

use crate::run::Identity;
use crate::table::Options;

/// A line's account could not be found.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// No such user.
    #[error("user={0}: there is no such account")]
    NoUser(String),
    /// No such group.
    #[error("group={0}: there is no such group")]
    NoGroup(String),
    /// The name service failed.
    #[error("{0}: the account cannot be looked up: {1}")]
    Lookup(String, nix::errno::Errno),
}

/// Whom a line's commands become; None: they stay who the worker is.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Numbers for the spawn.
    pub identity: Option<Identity>,
    /// For HOME, LOGNAME, USER and SHELL.
    pub user: Option<User>,
}

/// Looks up `user=` and `group=` of a line.
pub fn of(options: &Options) -> Result<Account, AccountError> {
    let user = options.user.as_deref().map(user).transpose()?;
    let group = options.group.as_deref().map(group).transpose()?;
    if user.is_none() && group.is_none() {
        return Ok(Account::default());
    }
    let uid = user.as_ref().map_or_else(getuid, |user| user.uid);
    let gid = match (&group, &user) {
        (Some(group), _) => group.gid,
        (None, Some(user)) => user.gid,
        (None, None) => getgid(),
    };
    let groups = match &user {
        Some(user) => member_of(user)?,
        None => vec![gid.as_raw()],
    };
    let identity = Identity {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        groups,
    };
    Ok(Account {
        identity: Some(identity),
        user,
    })
}

fn user(name: &str) -> Result<User, AccountError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(AccountError::NoUser(name.into())),
        Err(error) => Err(AccountError::Lookup(name.into(), error)),
    }
}

fn group(name: &str) -> Result<Group, AccountError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => Err(AccountError::NoGroup(name.into())),
        Err(error) => Err(AccountError::Lookup(name.into(), error)),
    }
}

/// The supplementary groups of an account, as login(1) would set them.
fn member_of(user: &User) -> Result<Vec<u32>, AccountError> {
    let lookup = |error| AccountError::Lookup(user.name.clone(), error);
    let name =
        CString::new(user.name.as_str()).map_err(|_| AccountError::NoUser(user.name.clone()))?;
    let groups = getgrouplist(&name, user.gid).map_err(lookup)?;
    Ok(groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
}
