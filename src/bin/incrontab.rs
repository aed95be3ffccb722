//! The table editor; all of it is in the library.
fn main() -> std::process::ExitCode {
    incron::incrontab::main()
}
