//! `pullproof`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    pullproof::cli::main()
}
