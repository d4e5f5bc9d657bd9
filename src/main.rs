//! The program `rc`.

fn main() -> std::process::ExitCode {
    relay_commander::run(std::env::args_os())
}
