//! The leases, as whoever speaks in this node's name reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::vrrp::types::Instant;

/// Until when this node may answer for each instance; read by whoever speaks in its name.
#[derive(Debug)]
pub struct Leases(Box<[AtomicU64]>);

impl Leases {
    /// No lease for any of `slots` instances.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether this node may answer for `slot`.
    #[must_use]
    pub fn alive(&self, slot: usize, now: Instant) -> bool {
        self.0
            .get(slot)
            .is_some_and(|until| now.0 < until.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, slot: usize, until: Instant) {
        if let Some(lease) = self.0.get(slot) {
            lease.store(until.0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_alive_until_its_end_and_not_at_it() {
        let leases = Leases::new(2);
        assert!(!leases.alive(0, Instant(0)), "none was given");
        leases.set(0, Instant(10));
        assert!(leases.alive(0, Instant(9)) && !leases.alive(0, Instant(10)));
        assert!(!leases.alive(1, Instant(9)), "another instance's");
        assert!(!leases.alive(2, Instant(0)), "nobody's");
    }
}
