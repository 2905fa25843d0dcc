//! The inventory against real API servers: what is found, and what is said when it cannot be.

mod drift;
mod kubelet;
mod pods;
