//! `pullproof`: arguments in, exit code out.

use std::process::ExitCode;

/// Rounds allocate and free by the million, and glibc keeps much of that: at 100,000 images a sixth of
/// what is resident. How this one is set up is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pullproof::cli::main()
}
