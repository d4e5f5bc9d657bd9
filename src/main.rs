//! The program `rc`.

fn main() {}
