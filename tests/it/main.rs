//! The integration tests, one binary: real programs around the library and the daemon.

mod parts;
mod support;
