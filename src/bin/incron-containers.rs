//! The container monitor's helper; all of it is in the library.
fn main() -> std::process::ExitCode {
    incron::containers::main()
}
