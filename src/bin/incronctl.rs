//! The operator's tool; all of it is in the library.
fn main() -> std::process::ExitCode {
    incron::incronctl::main()
}
