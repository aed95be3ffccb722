//! The calls of libpam that a session needs (pam(3)), for the feature `pam`.
//!
//! By hand, because that is less to read than a binding with its own
//! dependencies. Needs Linux-PAM 1.4 (2020), for `pam_start_confdir`.

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr;

// _pam_types.h: a part of the library's stable interface.
const SUCCESS: c_int = 0;
const BUF_ERR: c_int = 5;
const CONV_ERR: c_int = 19;
const ERROR_MSG: c_int = 3;
const TEXT_INFO: c_int = 4;
const MAX_NUM_MSG: usize = 32;
const TTY: c_int = 3;
const SILENT: c_int = 0x8000;
const ESTABLISH_CRED: c_int = 0x2;
const DELETE_CRED: c_int = 0x4;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct Conversation {
    talk: extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

#[repr(C)]
struct RawHandle {
    _opaque: [u8; 0],
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        dir: *const c_char,
        handle: *mut *mut RawHandle,
    ) -> c_int;
    fn pam_end(handle: *mut RawHandle, status: c_int) -> c_int;
    fn pam_set_item(handle: *mut RawHandle, kind: c_int, item: *const c_void) -> c_int;
    fn pam_acct_mgmt(handle: *mut RawHandle, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut RawHandle, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut RawHandle, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut RawHandle, flags: c_int) -> c_int;
    fn pam_getenvlist(handle: *mut RawHandle) -> *mut *mut c_char;
    fn pam_strerror(handle: *mut RawHandle, status: c_int) -> *const c_char;
}

/// PAM said no, or failed; both mean no.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct PamError {
    /// The call, as pam(3) names it.
    step: &'static str,
    /// In the library's words.
    reason: String,
    /// In its numbers.
    status: c_int,
}

/// An open session of one user. Dropped, it is neither closed nor freed: after
/// a fork it is one of the two processes that closes it, as [`PamSession::close`] says.
#[derive(Debug)]
pub struct PamSession {
    handle: *mut RawHandle,
}

impl PamSession {
    /// Asks `service` whether `user` may, and opens a session. Modules change
    /// this very process: limits, login uid, groups, mask. `dir` stands for
    /// /etc/pam.d.
    pub fn open(service: &str, user: &str, dir: Option<&Path>) -> Result<Self, PamError> {
        let session = Self::start(service, user, dir)?;
        match session.establish(service) {
            Ok(()) => Ok(session),
            Err(error) => {
                // SAFETY: live until here; `session` is gone after it.
                unsafe { pam_end(session.handle, error.status) };
                Err(error)
            }
        }
    }

    fn establish(&self, service: &str) -> Result<(), PamError> {
        // There is no terminal, but pam_access and pam_time ask for its name.
        let tty = CString::new(service).unwrap_or_default();
        // SAFETY: the handle is live; the library copies the string (pam_set_item(3)).
        let status = unsafe { pam_set_item(self.handle, TTY, tty.as_ptr().cast()) };
        self.check("pam_set_item", status)?;
        // SAFETY: the handle is live, and takes a number.
        let status = unsafe { pam_acct_mgmt(self.handle, SILENT) };
        self.check("pam_acct_mgmt", status)?;
        // SAFETY: the handle is live, and takes numbers.
        let status = unsafe { pam_setcred(self.handle, ESTABLISH_CRED | SILENT) };
        self.check("pam_setcred", status)?;
        // SAFETY: the handle is live, and takes a number.
        let status = unsafe { pam_open_session(self.handle, SILENT) };
        let opened = self.check("pam_open_session", status);
        if opened.is_err() {
            // SAFETY: the handle is live, and takes numbers.
            unsafe { pam_setcred(self.handle, DELETE_CRED | SILENT) };
        }
        opened
    }

    fn start(service: &str, user: &str, dir: Option<&Path>) -> Result<Self, PamError> {
        let nul = |_| PamError {
            step: "pam_start",
            reason: "a name holds a NUL".to_owned(),
            status: BUF_ERR,
        };
        let service = CString::new(service).map_err(nul)?;
        let user = CString::new(user).map_err(nul)?;
        let dir = dir
            .map(|dir| CString::new(dir.as_os_str().as_bytes()))
            .transpose()
            .map_err(nul)?;
        let conversation = Conversation {
            talk,
            data: ptr::null_mut(),
        };
        let mut handle = ptr::null_mut();
        // SAFETY: all pointers are to live values or null where pam_start(3)
        // allows it; the library copies what it keeps.
        let status = unsafe {
            pam_start_confdir(
                service.as_ptr(),
                user.as_ptr(),
                &conversation,
                dir.as_ref().map_or(ptr::null(), |dir| dir.as_ptr()),
                &mut handle,
            )
        };
        let session = Self { handle };
        session.check("pam_start", status)?;
        Ok(session)
    }

    /// What modules want in the environment (pam_env and others).
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        // SAFETY: the handle is live.
        let list = unsafe { pam_getenvlist(self.handle) };
        let mut found = Vec::new();
        if list.is_null() {
            return found;
        }
        for at in 0.. {
            // SAFETY: the list ends with a null, where this loop ends, too.
            let entry = unsafe { *list.add(at) };
            if entry.is_null() {
                break;
            }
            // SAFETY: a string of the library's that nobody else holds.
            found.extend(pair(unsafe { CStr::from_ptr(entry) }));
            // SAFETY: allocated for us to free (pam_getenvlist(3)), once.
            unsafe { libc::free(entry.cast()) };
        }
        // SAFETY: likewise the list itself.
        unsafe { libc::free(list.cast()) };
        found
    }

    /// Ends the session; called in the process that stayed for it.
    pub fn close(self) -> Result<(), PamError> {
        // SAFETY: the handle is live, and takes a number.
        let status = unsafe { pam_close_session(self.handle, SILENT) };
        let closed = self.check("pam_close_session", status);
        // SAFETY: the handle is live, and takes numbers.
        unsafe { pam_setcred(self.handle, DELETE_CRED | SILENT) };
        // SAFETY: live until here; `self` is gone after it.
        unsafe { pam_end(self.handle, status) };
        closed
    }

    fn check(&self, step: &'static str, status: c_int) -> Result<(), PamError> {
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: the handle is ignored and may be null; the string is static.
        let text = unsafe { pam_strerror(self.handle, status) };
        let reason = match text.is_null() {
            true => format!("error {status}"),
            // SAFETY: not null, so a string of the library's, as above.
            false => unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned(),
        };
        Err(PamError {
            step,
            reason,
            status,
        })
    }
}

fn pair(entry: &CStr) -> Option<(OsString, OsString)> {
    let bytes = entry.to_bytes();
    let at = bytes.iter().position(|&b| b == b'=').filter(|&at| at > 0)?;
    let (name, value) = bytes.split_at(at);
    let value = value.get(1..).unwrap_or_default();
    Some((
        OsStr::from_bytes(name).to_owned(),
        OsString::from_vec(value.to_vec()),
    ))
}

/// Nobody is there to be asked: a question is an error, a message is passed over.
extern "C" fn talk(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    _data: *mut c_void,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 || count > MAX_NUM_MSG {
        return CONV_ERR;
    }
    for at in 0..count {
        // SAFETY: Linux-PAM passes an array of `count` pointers to messages (pam_conv(3)).
        let style = unsafe { (**messages.add(at)).style };
        if style != ERROR_MSG && style != TEXT_INFO {
            return CONV_ERR;
        }
    }
    // SAFETY: a new allocation; the module frees it with free(3).
    let answers = unsafe { libc::calloc(count, size_of::<Response>()) };
    if answers.is_null() {
        return BUF_ERR;
    }
    // SAFETY: the caller's place for the pointer.
    unsafe { *responses = answers.cast() };
    SUCCESS
}

/// Empties this process's environment, so that no module finds anything in it.
pub fn clear_environment() -> io::Result<()> {
    // SAFETY: called while one thread runs, and before anything reads the
    // environment again.
    match unsafe { libc::clearenv() } {
        0 => Ok(()),
        _ => Err(io::Error::other("cannot clear the environment")),
    }
}
