//! The `icecore` command: everything is in the library.

fn main() -> std::process::ExitCode {
    icecore::cli::main()
}
