//! The program `rc` under its long name: `rc` is a shell on some systems.

/// See docs/decisions/0015.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    relay_commander::run(std::env::args_os())
}
