//! One instance on the election thread: its router, what it speaks with, what it counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ha_common::maps::{Cast, Instance as Wire, LastDrop, Role};
use ha_common::verdict::Verdicts;
use ha_common::vrrp::{AUTH_NONE, AUTH_PASS, GROUP_IPV4, GROUP_IPV6};

use crate::advert::Sender;
use crate::config::model::Instance;
use crate::sys;
use crate::vrrp::packet::{self, Message};
use crate::vrrp::router::RoleName;
use crate::vrrp::types::{AdvertPriority, Family, Instant};
use crate::vrrp::{LinkState, Router, State};

/// Part of an interval by which an advertisement may leave early to share a wake-up.
const EARLY_PART: u32 = 16;

pub(super) struct Unit {
    pub(super) settings: Instance,
    /// The virtual addresses as advertisements carry them.
    addresses: Vec<IpAddr>,
    pub(super) router: Router,
    pub(super) sender: Option<Arc<Sender>>,
    pub(super) wire: Wire,
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) became_active: u64,
    pub(super) verdicts: Verdicts,
    pub(super) last_drop: Option<LastDrop>,
    pub(super) send_error: Option<std::io::Error>,
}

impl Unit {
    pub(super) fn new(settings: Instance) -> Self {
        let router = &settings.router;
        let wire = Wire {
            lease_until_ns: 0,
            local: [0; 16],
            auth_data: settings.password.unwrap_or_default(),
            ifindex: 0,
            vlans: 0,
            interval_cs: router.interval.get(),
            role: Role::Initialize,
            vrid: router.vrid.get(),
            version: router.version.number(),
            family: router.family,
            priority: router.priority.get(),
            ttl_min: settings.ttl_min,
            cast: if settings.peers.is_empty() {
                Cast::Multicast
            } else {
                Cast::Unicast
            },
            auth_type: if settings.password.is_some() {
                AUTH_PASS
            } else {
                AUTH_NONE
            },
            addressless: u8::from(settings.addresses.is_empty()),
            _pad: [0; 5],
        };
        Self {
            router: Router::new(router.clone()),
            addresses: addresses(&settings),
            settings,
            sender: None,
            wire,
            sent: 0,
            failed: 0,
            became_active: 0,
            verdicts: Verdicts::default(),
            last_drop: None,
            send_error: None,
        }
    }

    /// Takes over new settings; the router is told by [`Input::Reconfigure`].
    ///
    /// [`Input::Reconfigure`]: crate::vrrp::Input::Reconfigure
    pub(super) fn reconfigure(&mut self, settings: Instance) {
        self.wire.interval_cs = settings.router.interval.get();
        self.wire.priority = settings.router.priority.get();
        self.wire.addressless = u8::from(settings.addresses.is_empty());
        self.addresses = addresses(&settings);
        self.settings = settings;
    }

    /// The deadline, when it has come. An Active router's is a little early when the thread is
    /// awake anyway: many routers then share one wake-up, and a peer hears them the sooner.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let early = match self.router.state() {
            State::Active { leaving: None, .. } => {
                self.router.config().interval.duration() / EARLY_PART
            }
            State::Active { .. } | State::Backup { .. } | State::Initialize { .. } => {
                Duration::ZERO
            }
        };
        self.router.deadline().filter(|at| *at <= now + early)
    }

    /// Whether the claim to the role was over at `at`: the lease, or before there is one, an
    /// interval since the takeover was decided.
    pub(super) fn outlived(&self, at: Instant) -> bool {
        match self.router.state() {
            State::Active {
                lease_until,
                claimed,
                ..
            } => {
                let grace = if *claimed {
                    Duration::ZERO
                } else {
                    self.router.config().interval.duration()
                };
                at >= *lease_until + grace
            }
            State::Initialize { .. } | State::Backup { .. } => false,
        }
    }

    /// Sends to the group or to every peer; true when at least one copy left.
    pub(super) fn advertise(&mut self, priority: AdvertPriority, buffer: &mut BytesMut) -> bool {
        let (Some(sender), LinkState::Up { local }) = (&self.sender, self.router.link()) else {
            return false;
        };
        let config = self.router.config();
        let group = match config.family {
            Family::Ipv4 => IpAddr::from(GROUP_IPV4),
            Family::Ipv6 => IpAddr::from(GROUP_IPV6),
        };
        let destinations: &[IpAddr] = if self.settings.peers.is_empty() {
            &[group]
        } else {
            &self.settings.peers
        };
        let mut left = false;
        for destination in destinations {
            buffer.clear();
            let message = Message {
                version: config.version,
                vrid: config.vrid,
                priority,
                interval: self.router.advertised_interval(),
                addresses: &self.addresses,
                password: self.settings.password,
                checksum: self.router.checksum(),
                source: local,
                destination: *destination,
            };
            let sent = packet::encode(&message, buffer)
                .map_err(std::io::Error::other)
                .and_then(|()| sender.send(*destination, buffer));
            match sent {
                Ok(()) => {
                    self.sent += 1;
                    left = true;
                }
                Err(error) => {
                    self.failed += 1;
                    self.send_error = Some(error);
                }
            }
        }
        left
    }

    /// Counts a transition and tells the log.
    pub(super) fn tell(&mut self, from: RoleName, to: RoleName) {
        if to == RoleName::Active {
            self.became_active += 1;
        }
        let peer = self.router.last_advert().map_or_else(
            || "no peer heard".to_owned(),
            |last| {
                format!(
                    "peer {} with priority {}, {} ms ago",
                    last.source,
                    last.priority.to_wire(),
                    sys::now().since(last.at).as_millis()
                )
            },
        );
        tracing::info!(
            "{}: {} -> {}: {} (priority {}; {peer})",
            self.settings.name,
            from.as_str(),
            to.as_str(),
            self.router.reason().as_str(),
            self.router.config().priority,
        );
    }
}

fn addresses(settings: &Instance) -> Vec<IpAddr> {
    settings
        .addresses
        .iter()
        .map(|address| address.prefix.address)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::settings;
    use super::*;
    use crate::vrrp::Input;

    fn unit(priority: u64) -> Unit {
        Unit::new(settings(priority))
    }

    const START: Instant = Instant(1_000_000_000);
    const MS: Duration = Duration::from_millis(1);

    /// An owner is Active at once, anybody else Backup.
    fn started(priority: u64) -> Unit {
        let mut unit = unit(priority);
        let local = [10, 0, 0, 1].into();
        let mut actions = Vec::new();
        for input in [Input::Startup, Input::Link(LinkState::Up { local })] {
            unit.router.handle(START, input, &mut actions);
        }
        unit
    }

    #[test]
    fn only_an_active_router_is_early() {
        assert_eq!(unit(100).due(START), None, "not started");
        let backup = started(100);
        let at = backup.router.deadline().unwrap();
        assert_eq!(backup.due(at - Duration::from_nanos(1)), None);
        assert_eq!(backup.due(at), Some(at));

        let mut active = started(255);
        let mut actions = Vec::new();
        let sent = Input::AdvertSent(START);
        active.router.handle(START, sent, &mut actions);
        let at = START + 160 * MS;
        assert_eq!(active.due(at - 11 * MS), None);
        assert_eq!(active.due(at - 10 * MS), Some(at), "a sixteenth early");
    }

    #[test]
    fn a_role_that_is_over_does_not_speak() {
        assert!(!unit(100).outlived(START) && !started(100).outlived(START));
        let mut active = started(255);
        assert!(!active.outlived(START), "the first advertisement");
        assert!(active.outlived(START + 160 * MS), "decided an interval ago");
        let mut actions = Vec::new();
        let sent = Input::AdvertSent(START);
        active.router.handle(START, sent, &mut actions);
        assert!(!active.outlived(START + 479 * MS));
        assert!(active.outlived(START + 480 * MS), "three intervals");
    }
}
