//! The inventory against real API servers: what is found, and what is said when it cannot be.

mod following;
mod lists;
mod rights_lost;
mod scale;
mod stale;
mod watches;
