//! Time as the kernel's VRRP code and ours count it, and waiting for a fact instead of a while.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
}

/// Nanoseconds as milliseconds, for people.
pub fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Asks every 2 ms until `fact` holds; after `limit` the error says what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut fact: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !fact() {
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain: {what}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Checks every 2 ms that `fact` holds for all of `span`; the error says what did not.
pub fn stays(what: &str, span: Duration, mut fact: impl FnMut() -> bool) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < span {
        if !fact() {
            bail!("did not last {span:?}, only {:?}: {what}", begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Gives the calling thread the lowest real-time priority, so that what a probe measures is
/// the network and not the scheduler. Without the permission it stays an ordinary thread.
pub(super) fn run_ahead() {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: the pointer is to a live value of the type the call reads; 0 is this thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
}
