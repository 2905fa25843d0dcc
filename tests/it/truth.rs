//! pullproof's verdicts against a registry whose faults are scripted, over real sockets.
//!
//! The table holds one case or more for every row of the fault catalogue (R1 to R23); the random run
//! draws images and faults and holds each verdict against an oracle that reads the script and shares
//! no code with what it judges.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what is pending is said where the runner shows it"
)]

mod bulkhead;
mod case;
mod client;
mod oracle;
mod random;
mod rows;
mod table;
mod world;
