//! The only unsafe code.
#![allow(unsafe_code)]

pub(crate) mod memory;
pub(crate) mod pipe;
pub mod process;
pub mod spawn;
