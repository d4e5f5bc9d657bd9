//! The program `rc` under its long name: `rc` is a shell on some systems.

fn main() -> std::process::ExitCode {
    relay_commander::run(std::env::args_os())
}
