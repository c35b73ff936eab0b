//! What the engine knows of an instance, for status and alarms.

use std::net::IpAddr;
use std::time::Duration;

use ha_common::maps::LastDrop;
use ha_common::verdict::Verdicts;

use super::unit::Unit;
use crate::vrrp::router::RoleName;
use crate::vrrp::types::{Instant, Priority, active_down_interval};
use crate::vrrp::{Advert, LinkState, Reason, State};

/// What status and alarms need to know of one instance.
#[derive(Clone, Debug)]
pub struct Report {
    /// The state.
    pub state: RoleName,
    /// Whether a graceful stop waits for a successor.
    pub leaving: bool,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub reason: Reason,
    /// Priority in force.
    pub priority: Priority,
    /// Active_Down_Interval with the interval learnt.
    pub down: Duration,
    /// Own source address.
    pub local: Option<IpAddr>,
    /// The last valid advertisement.
    pub last: Option<Advert>,
    /// End of the lease, when there is one.
    pub lease_until: Option<Instant>,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements that could not be sent.
    pub failed: u64,
    /// Times it became Active.
    pub became_active: u64,
    /// Frames by verdict, as far as they were judged in user space.
    pub verdicts: Verdicts,
    /// The last advertisement discarded in user space.
    pub last_drop: Option<LastDrop>,
    /// Why the last advertisement that could not be sent could not.
    pub send_error: String,
}

impl Report {
    pub(super) fn of(unit: &Unit) -> Self {
        let config = unit.router.config();
        let (learnt, lease_until, leaving) = match unit.router.state() {
            State::Initialize { .. } => (config.interval, None, false),
            State::Backup {
                active_adver_interval,
                ..
            } => (*active_adver_interval, None, false),
            State::Active {
                lease_until,
                leaving,
                ..
            } => (config.interval, Some(*lease_until), leaving.is_some()),
        };
        Self {
            state: unit.router.state().name(),
            leaving,
            since: unit.router.since(),
            reason: unit.router.reason(),
            priority: config.priority,
            down: active_down_interval(config.version, config.priority, learnt),
            local: match unit.router.link() {
                LinkState::Up { local } => Some(local),
                LinkState::Missing | LinkState::Down | LinkState::NoAddress => None,
            },
            last: unit.router.last_advert().copied(),
            lease_until,
            sent: unit.sent,
            failed: unit.failed,
            became_active: unit.became_active,
            verdicts: unit.verdicts,
            last_drop: unit.last_drop,
            send_error: unit
                .send_error
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}
