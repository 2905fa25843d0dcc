//! Work that makes more work, on a few threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

/// Tasks that a thread takes at once.
const PART: usize = 16;

/// What is to be done, and how much of it is under way.
struct Queue<T, E> {
    waiting: Vec<T>,
    busy: usize,
    failed: Option<E>,
}

/// Does all of `first`, and all that comes of it. The first error ends all.
pub(super) fn run<T: Send, E: Send>(
    threads: usize,
    first: Vec<T>,
    work: impl Fn(T, &mut Vec<T>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let queue = Mutex::new(Queue {
        waiting: first,
        busy: 0,
        failed: None,
    });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        let each = || {
            let (mut more, mut some) = (Vec::new(), Vec::new());
            loop {
                let mut shared = queue.lock().expect("no thread panics with it");
                loop {
                    if shared.failed.is_some() || (shared.waiting.is_empty() && shared.busy == 0) {
                        changed.notify_all();
                        return;
                    }
                    // Of many small tasks several at once, and always some for the others.
                    let count = (shared.waiting.len() / (2 * threads.max(1))).clamp(1, PART);
                    let left = shared.waiting.len().saturating_sub(count);
                    some.extend(shared.waiting.drain(left..));
                    if !some.is_empty() {
                        break;
                    }
                    shared = changed.wait(shared).expect("no thread panics with it");
                }
                shared.busy += 1;
                drop(shared);
                let mut failed = None;
                for task in some.drain(..) {
                    if let Err(error) = work(task, &mut more) {
                        failed = Some(error);
                        break;
                    }
                }
                let mut shared = queue.lock().expect("no thread panics with it");
                shared.busy -= 1;
                let has_news = !more.is_empty() || failed.is_some() || shared.busy == 0;
                shared.waiting.append(&mut more);
                if let Some(error) = failed {
                    shared.failed.get_or_insert(error);
                }
                if has_news {
                    changed.notify_all();
                }
            }
        };
        for _ in 0..threads.max(1) {
            scope.spawn(each);
        }
    });
    match queue.into_inner().expect("no thread panics with it").failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The results of so many tasks, in their order.
pub(super) fn each<R: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut all: Vec<(usize, R)> = std::thread::scope(|scope| {
        let some = || {
            let mut done = Vec::new();
            loop {
                let start = next.fetch_add(PART, Ordering::Relaxed);
                if start >= count {
                    return done;
                }
                let part = start..count.min(start + PART);
                done.extend(part.map(|at| (at, work(at))));
            }
        };
        let threads = threads.clamp(1, count.div_ceil(PART).max(1));
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        let done = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        done.flat_map(|done| done.expect("work does not panic"))
            .collect()
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_comes_of_work_is_done() {
        let found = Mutex::new(Vec::new());
        let done: Result<_, ()> = run(3, vec![10_u32], |number, more| {
            more.extend((0..number).filter(|it| number - it == 1 || number - it == 2));
            found.lock().unwrap().push(number);
            Ok(())
        });
        done.unwrap();
        let found = found.into_inner().unwrap();
        // As many as there are ways down: Fibonacci's numbers.
        let count = |number: u32| found.iter().filter(|it| **it == number).count();
        assert_eq!(
            [count(10), count(9), count(8), count(7), count(0)],
            [1, 1, 2, 3, 89]
        );
    }

    #[test]
    fn results_are_in_the_order_of_the_tasks() {
        assert_eq!(
            each(3, 100, |at| at * 2),
            (0..100).map(|at| at * 2).collect::<Vec<_>>()
        );
        assert!(each(3, 0, |at| at).is_empty());
    }

    #[test]
    fn the_first_error_ends_all() {
        let failed = run(2, vec![1_u32], |number, more| {
            more.extend([number + 1, number + 1]);
            if number > 5 { Err(number) } else { Ok(()) }
        });
        assert_eq!(failed.unwrap_err(), 6);
    }
}
