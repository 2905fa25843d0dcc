//! pullproof proves, over and over, that every image that workloads need can still be pulled.
//!
//! # Bird's eye
//!
//! Arrows are values, never callbacks. Shells fetch, pure modules decide, shells act.
//!
//! ```text
//! clusters, YAML, lists --> inventory --> images --> verify::round <--> registry
//!                                                         |
//!                                              verify::judge --> state --> Snapshot --> metrics, http, cli
//! ```
//!
//! [`inventory`] says who uses which image, and whether that is the whole truth. [`images`] groups
//! uses into images, one for a reference and the credential that pulls it. For each registry a
//! [`prover`] runs rounds: [`verify::round`] is a machine without input or output that says what to
//! ask and takes the answers, [`registry`] puts the questions, as whom [`credential_source`] says,
//! [`verify::judge`] reads verdicts from the table of objects, and [`drift`] compares what runs with it. [`state`] holds what is known of all images and gives out snapshots, of
//! which everything that is shown is a function. [`app`] composes them, [`cli`] calls it.
//!
//! # Invariants
//!
//! - I1. `broken` needs a positive fact, confirmed on a new connection after the registry answered a
//!   control. Whatever is not proof is `unknown`; nothing is `pullable` before it was proven.
//! - I2. An error is never an empty list: a source that could not be read in full says so, and its
//!   last complete state goes on being verified.
//! - I3. Pure modules never read the time, the environment, the network or a disk
//!   (`tests/it/boundaries.rs` holds the list).
//! - I4. Metrics, page and API are functions of one [`state::Snapshot`]: what leaves the inventory
//!   leaves all of them at once.
//! - I5. Credentials go to the registry's own host and its token realms only, and one identity's
//!   answers are never another's.
//! - I6. A round costs one request for a tag and one for a distinct object, however many images share
//!   it, and never fetches a manifest twice in its life.
//! - I7. To a registry's storage only [`vault`] writes, and to a registry itself only
//!   [`registry::client::change`]; what takes something away does so with a permit that only
//!   [`collection::gate`] makes.
//!
//! # Where things are
//!
//! The start of the program is [`cli::main`]; of the daemon, [`app::serve::serve`]; of a verdict,
//! [`verify::round`]; of a metric, [`metrics::catalog`]; of an Event on a workload, [`events`]; of a drawn tree, [`explain`]; of an error about the configuration,
//! [`config`].

pub mod app;
pub mod baseline;
pub mod cli;
pub mod clock;
pub mod collection;
pub mod config;
pub mod credential_source;
pub mod credentials;
pub mod demo;
pub mod drift;
pub mod events;
pub mod explain;
pub mod files;
pub mod gc;
pub mod http;
pub mod images;
pub mod inventory;
pub mod metrics;
pub mod mirrors;
pub mod oci;
pub mod pace;
pub mod pattern;
pub mod prover;
pub mod registry;
pub mod remembered;
pub mod retention;
pub mod second;
pub mod state;
pub mod storage;
pub mod store;
pub mod telemetry;
pub mod traffic;
pub mod vault;
pub mod verify;
pub mod view;
pub mod yaml;
