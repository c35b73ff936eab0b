//! What tests speak of.

use std::time::Duration;

use crate::config::model::{Announce, Instance};
use crate::vrrp::types::{Centiseconds, Family, Priority, Version, Vrid};

/// An instance that advertises every 160 ms and has no address.
pub(crate) fn settings(priority: u64) -> Instance {
    Instance {
        name: "VI_1".to_owned(),
        interface: "eth0".to_owned(),
        router: crate::vrrp::Config {
            vrid: Vrid::try_from(51).unwrap(),
            family: Family::Ipv4,
            version: Version::V3,
            priority: Priority::try_from(priority).unwrap(),
            interval: Centiseconds::try_from(16).unwrap(),
            preempt: true,
            preempt_delay: Duration::ZERO,
            addresses: 0,
            checksum: None,
        },
        addresses: Vec::new(),
        source: None,
        peers: Vec::new(),
        password: None,
        ttl_min: 255,
        announce: Announce {
            count: 1,
            repeat_after: Duration::ZERO,
            repeat_count: 0,
            refresh: Duration::ZERO,
            conflict_gap: Duration::ZERO,
        },
    }
}
