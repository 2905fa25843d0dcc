//! A registry's storage as it is read: from a bucket of a real S3 server, by the library.

mod between;
mod faults;
mod listing;
mod tree;
