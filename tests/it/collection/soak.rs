//! Collections beside clients that push, retag, delete and use old content again all the time, each in every
//! way in which a registry may be run. Whatever was acknowledged can be pulled in the end, byte for byte, and
//! nothing that is needed was away for longer than the collection that was under way, and one more.
//!
//! Clients and collections meet where they meet: nothing is in step with anything, and a loss that needs a
//! certain order is found only now and then. The orders that are known have tests of their own.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::oneshot;

use self::driver::Driver;
use self::pusher::Pusher;
use self::site::{Cache, Setup, Site, Storage};
use self::world::World;
use crate::support::parts::require;
use crate::support::registry::Version;

mod driver;
mod journals;
mod prober;
mod pusher;
mod recipe;
mod site;
mod world;

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Acknowledged, at least.
    pushes: usize,
    /// Collections that were not refused, at least.
    collections: usize,
    /// A client takes at most so long from one thing to the next.
    pause: Duration,
}

/// Over the twelve of them more than 2,000 pushes.
const SHORT: Scale = Scale {
    pushes: 170,
    collections: 5,
    pause: Duration::from_millis(500),
};

const LONG: Scale = Scale {
    pushes: 10_000,
    collections: 50,
    pause: Duration::from_millis(150),
};

const CLIENTS: usize = 4;

/// In a bucket everything takes some requests, and so much longer.
const SHORT_IN_BUCKET: Scale = Scale {
    pushes: 80,
    collections: 3,
    ..SHORT
};

/// Clients go on until the last collection has ended, and each is longer than the one before: with as many as in a
/// directory they push far more than is asked for.
const LONG_IN_BUCKET: Scale = Scale {
    collections: 15,
    ..LONG
};

macro_rules! soaks {
    ($($name:ident: $version:ident, $cache:ident, $replicas:literal;)+) => {
        $(mod $name {
            use super::*;

            const SETUP: Setup = Setup {
                version: Version::$version,
                cache: Cache::$cache,
                replicas: $replicas,
                storage: Storage::Filesystem,
            };

            #[tokio::test]
            async fn nothing_acknowledged_is_lost() {
                require!("docker-registry", "registry-3.1", "redis-server", "crane", "regctl");
                soak(stringify!($name), SETUP, SHORT).await;
            }

            #[tokio::test]
            #[ignore = "it takes many minutes: `make long`"]
            async fn nothing_acknowledged_is_lost_for_long() {
                require!("docker-registry", "registry-3.1", "redis-server", "crane", "regctl");
                soak(stringify!($name), SETUP, LONG).await;
            }
        })+
    };
}

soaks! {
    v2_without_cache_alone: V2, Off, 1;
    v2_without_cache_of_two: V2, Off, 2;
    v2_with_memory_alone: V2, InMemory, 1;
    v2_with_memory_of_two: V2, InMemory, 2;
    v2_with_redis_alone: V2, Redis, 1;
    v2_with_redis_of_two: V2, Redis, 2;
    v3_without_cache_alone: V3, Off, 1;
    v3_without_cache_of_two: V3, Off, 2;
    v3_with_memory_alone: V3, InMemory, 1;
    v3_with_memory_of_two: V3, InMemory, 2;
    v3_with_redis_alone: V3, Redis, 1;
    v3_with_redis_of_two: V3, Redis, 2;
}

macro_rules! soaks_in_buckets {
    ($($name:ident: $version:ident, $cache:ident, $replicas:literal, $has_versions:literal;)+) => {
        $(mod $name {
            use super::*;

            pub(super) const SETUP: Setup = Setup {
                version: Version::$version,
                cache: Cache::$cache,
                replicas: $replicas,
                storage: Storage::Bucket { has_versions: $has_versions },
            };

            #[tokio::test]
            #[ignore = "it takes many minutes: `make long`"]
            async fn nothing_acknowledged_is_lost_for_long() {
                require!("docker-registry", "registry-3.1", "versitygw", "crane", "regctl");
                soak(stringify!($name), SETUP, LONG_IN_BUCKET).await;
            }
        })+
    };
}

soaks_in_buckets! {
    v2_in_a_bucket_alone: V2, Off, 1, false;
    v2_in_a_bucket_of_two: V2, InMemory, 2, false;
    v2_in_versions_alone: V2, InMemory, 1, true;
    v2_in_versions_of_two: V2, Off, 2, true;
    v3_in_a_bucket_alone: V3, InMemory, 1, false;
    v3_in_a_bucket_of_two: V3, Off, 2, false;
    v3_in_versions_alone: V3, Off, 1, true;
    v3_in_versions_of_two: V3, InMemory, 2, true;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_in_a_bucket_with_versions() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    let name = "in a bucket with versions";
    soak(name, v3_in_versions_of_two::SETUP, SHORT_IN_BUCKET).await;
}

async fn soak(name: &str, setup: Setup, scale: Scale) {
    let seed = fastrand::u64(..);
    eprintln!("{name}: seed {seed}");
    let site = Arc::new(Site::start(setup).await);
    let world = Arc::new(World::new(&site));
    let mut pushers = Vec::new();
    for number in 0..CLIENTS {
        let random = fastrand::Rng::with_seed(seed.wrapping_add(number as u64));
        let mut pusher = Pusher::new(number, &site, &world, random, scale.pause).await;
        // Something to keep before the first collection looks.
        pusher.settle_in().await;
        pushers.push(pusher);
    }
    let mut driver = Driver::new(&site, &world);
    let (pushed, have_ended) = oneshot::channel();
    let push = async {
        join_all(pushers.into_iter().map(Pusher::run)).await;
        pushed.send(()).unwrap();
    };
    let collect = async {
        driver.collect_until(scale).await;
        world.close();
        have_ended.await.unwrap();
        driver.collect_the_rest().await;
        world.end();
    };
    let probe = prober::probe(&site, &world);
    let ((), (), outages) = tokio::join!(push, collect, probe);

    // What the replicas remember is not what counts.
    site.restart().await;
    let lost = prober::lost(&site, &world).await;
    let counts = journals::Counts::read(&site);
    eprintln!("{name}: {world}; {driver}; {counts}");
    for outage in &outages {
        eprintln!("{name}: {}", outage.told(&driver));
    }
    let told = lost
        .iter()
        .map(|it| format!("{it}\n{}", journals::of(&site, it)));
    assert!(
        lost.is_empty(),
        "{name}: lost: {}",
        told.collect::<String>()
    );
    for outage in &outages {
        assert!(
            !driver.outlived(outage),
            "{name}: it was away for longer than a whole collection: {}",
            outage.told(&driver)
        );
    }
    assert!(counts.taken > 0, "{name}: nothing was ever taken");
    assert!(counts.purged > 0, "{name}: nothing was ever purged");
}
