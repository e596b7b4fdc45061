//! The command `certwright`: what the library does, for people and scripts.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
