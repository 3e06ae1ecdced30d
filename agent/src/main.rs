//! The `ingot` program. Everything it does is in the library; see `lib.rs` for the map.

fn main() -> std::process::ExitCode {
    ingot::main()
}
