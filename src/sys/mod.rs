//! The only unsafe code.
#![allow(unsafe_code)]

pub mod process;
pub mod spawn;
