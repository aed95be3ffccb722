//! stub
pub mod access;
pub mod accounts;
pub mod cli;
pub mod daemonize;
pub mod lock;
pub mod tables;
/// x
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
