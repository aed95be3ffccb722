//! The only unsafe code: system calls that have no safe wrapper, one operation
//! a function, each with the reason why it cannot be undefined.

#![allow(unsafe_code)]

mod fd;

pub use fd::own_fd;
