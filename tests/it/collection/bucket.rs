//! The same in a bucket, with versions and without, under real registries whose storage it is.

mod desk;
mod failed;
mod journals;
mod killed;
mod refused;
mod vanished;
mod whole;
