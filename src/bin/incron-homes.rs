//! The provider `homes`; all of it is in the library.
fn main() -> std::process::ExitCode {
    incron::homes::main()
}
