//! Alarms: what is wrong between the routers of one virtual router, in a sentence with its fix.
//!
//! Pure: an [`Observation`], taken about once per second, goes in; what was raised and cleared
//! comes out. Reads no clock, no map and no socket. An alarm stays until its cause has not been
//! seen for a while (its hold), so that a cause seen once per interval does not flicker.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ha_common::maps::{LastDrop, RATE_BURST};
use ha_common::verdict::Verdict;

use crate::vrrp::types::{
    AdvertPriority, Centiseconds, Instant, Priority, active_down_interval, from_wire,
};
use crate::vrrp::{Advert, Config};

/// An alarm is cleared after this many Active_Down_Intervals without its cause.
const HOLD_DOWN_INTERVALS: u32 = 3;
/// Shortest hold: an observation a second must not make alarms of fast instances flicker.
const HOLD_MIN: Duration = Duration::from_secs(10);
/// Active_Down_Intervals after which silence of all peers since the start is worth a word.
const SILENCE_DOWN_INTERVALS: u32 = 2;

/// The hold of a cause that every observation sees while it lasts.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// May be intended.
    Information,
    /// Degraded: somebody should look.
    Warning,
    /// Failover does not work, or two routers serve: somebody must act.
    Error,
}

impl Severity {
    /// As status and log print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:ident,)+) => {
        /// What an alarm is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Cause {
            /// Every cause, in the order of its number.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)+];

            /// How many causes there are.
            pub const COUNT: usize = [$(stringify!($variant)),+].len();

            /// The name used in status, metrics and documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)+
                }
            }
        }
    };
}

causes! {
    /// Another VRRPv2 authentication type or password.
    Authentication authentication,
    /// Another protocol version.
    Version version,
    /// Another VRRPv2 interval.
    IntervalV2 interval_v2,
    /// Checksum wrong in both forms.
    Checksum checksum,
    /// Not an advertisement: type, length, interval 0 or no address.
    Malformed malformed,
    /// TTL or hop limit below the minimum.
    Ttl ttl,
    /// Unicast against multicast, or a source that is not a peer.
    UnicastSource unicast_source,
    /// Another node uses this node's source address.
    OwnSource own_source,
    /// More changed advertisements than the rate bound allows.
    Rate rate,
    /// Another list of virtual addresses.
    AddressList address_list,
    /// Two routers with priority 255.
    TwoOwners two_owners,
    /// A virtual router that is not configured here.
    ForeignVrid foreign_vrid,
    /// Active, and no peer was ever heard.
    NeverHeardPeer never_heard_peer,
    /// Advertisements could not be sent.
    SendFailed send_failed,
}

impl Cause {
    /// The cause that a discarded advertisement is evidence of.
    #[must_use]
    pub const fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::PassOther
            | Verdict::PassUnparsed
            | Verdict::PassNotOurs
            | Verdict::PassArp
            | Verdict::PassServed
            | Verdict::PassAnswered
            | Verdict::PassTransit
            | Verdict::PassHandover
            | Verdict::PassForeignVrid
            | Verdict::PassVrrpTransit
            | Verdict::AdvertUnchanged
            | Verdict::AdvertChanged
            | Verdict::AdvertLost
            | Verdict::FenceTraffic
            | Verdict::FenceArp
            | Verdict::FenceNd => None,
            Verdict::VrrpAuthType | Verdict::VrrpPassword => Some(Self::Authentication),
            Verdict::VrrpVersion => Some(Self::Version),
            Verdict::VrrpInterval => Some(Self::IntervalV2),
            Verdict::VrrpChecksum => Some(Self::Checksum),
            Verdict::VrrpType
            | Verdict::VrrpTruncated
            | Verdict::VrrpLength
            | Verdict::VrrpFragment
            | Verdict::VrrpZeroInterval
            | Verdict::VrrpNoAddress => Some(Self::Malformed),
            Verdict::VrrpTtl => Some(Self::Ttl),
            Verdict::VrrpCast | Verdict::VrrpSource => Some(Self::UnicastSource),
            Verdict::VrrpOwnSource => Some(Self::OwnSource),
            Verdict::VrrpRate => Some(Self::Rate),
        }
    }
}

/// A virtual router that is not configured here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignRouter {
    /// Its identifier.
    pub vrid: u8,
    /// Who advertises it.
    pub source: IpAddr,
    /// When it was heard last.
    pub at: Instant,
}

/// What was seen since the last observation, and what is configured.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Now.
    pub now: Instant,
    /// When the instance was last able to hear: its start, or the return of its link.
    pub started: Instant,
    /// The election's configuration.
    pub config: &'a Config,
    /// The interface it runs on.
    pub interface: &'a str,
    /// Unicast peers; empty: multicast.
    pub peers: &'a [IpAddr],
    /// Whether a VRRPv2 password is configured.
    pub password: bool,
    /// Lowest TTL accepted.
    pub ttl_min: u8,
    /// Frames of this instance since the last observation, by the number of their verdict.
    pub drops: [u64; Verdict::COUNT],
    /// The last discarded advertisement; `None` or `at_ns` 0: there was none.
    pub last_drop: Option<LastDrop>,
    /// The newest valid advertisement; `None`: never heard.
    pub heard: Option<Advert>,
    /// Virtual routers heard on this interface in this family that are not configured here.
    pub foreign: &'a [ForeignRouter],
    /// Whether this router is Active.
    pub is_active: bool,
    /// Advertisements that could not be sent since the last observation.
    pub send_failures: u64,
    /// Why the last of them could not.
    pub send_error: &'a str,
}

/// Something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What it is about.
    pub cause: Cause,
    /// How much it matters.
    pub severity: Severity,
    /// When it was raised.
    pub since: Instant,
    /// When its cause was last seen.
    pub last: Instant,
    /// How often its cause was seen.
    pub count: u64,
    /// The other router, where it is known.
    pub peer: Option<IpAddr>,
    /// One sentence: cause, peer, both values, consequence, fix.
    pub text: String,
    /// How long its cause must stay away.
    hold: Duration,
}

/// A step in the life of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New, or worse than it was.
    Raised(Alarm),
    /// Its cause has not been seen for a while.
    Cleared(Alarm),
}

/// The alarms of one virtual router.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    /// By the number of the cause.
    current: [Option<Alarm>; Cause::COUNT],
    /// Arrival of the newest valid advertisement that was looked at.
    heard_at: Instant,
    /// Arrival of the newest foreign advertisement that was looked at.
    foreign_at: Instant,
}

/// One cause, as seen in one observation.
struct Sighting {
    cause: Cause,
    severity: Severity,
    count: u64,
    peer: Option<IpAddr>,
    hold: Duration,
    text: String,
}

impl Alarms {
    /// No alarm.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The alarms that stand, in the order of [`Cause::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = &Alarm> {
        self.current.iter().flatten()
    }

    /// Takes an observation; returns what changed.
    pub fn observe(&mut self, seen: &Observation<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        for sighting in self.sightings(seen) {
            self.sight(seen.now, sighting, &mut changes);
        }
        for slot in &mut self.current {
            if let Some(alarm) = slot.take_if(|alarm| seen.now.since(alarm.last) >= alarm.hold) {
                changes.push(Change::Cleared(alarm));
            }
        }
        changes
    }

    fn sight(&mut self, now: Instant, sighting: Sighting, changes: &mut Vec<Change>) {
        let slot = &mut self.current[sighting.cause as usize];
        let Some(alarm) = slot else {
            let alarm = Alarm {
                cause: sighting.cause,
                severity: sighting.severity,
                since: now,
                last: now,
                count: sighting.count,
                peer: sighting.peer,
                text: sighting.text,
                hold: sighting.hold,
            };
            changes.push(Change::Raised(alarm.clone()));
            *slot = Some(alarm);
            return;
        };
        let worse = sighting.severity > alarm.severity;
        alarm.last = now;
        alarm.count += sighting.count;
        alarm.severity = sighting.severity;
        alarm.hold = alarm.hold.max(sighting.hold);
        // A sighting whose sender another drop has overwritten keeps the sentence that names it.
        if sighting.peer.is_some() || alarm.peer.is_none() {
            alarm.peer = sighting.peer;
            alarm.text = sighting.text;
        }
        if worse {
            changes.push(Change::Raised(alarm.clone()));
        }
    }

    fn sightings(&mut self, seen: &Observation<'_>) -> Vec<Sighting> {
        let mut sightings = Vec::new();
        for verdict in Verdict::ALL {
            if let Some(cause) = Cause::of(verdict)
                && seen.drops[verdict as usize] > 0
            {
                sightings.push(discarded(seen, cause, verdict));
            }
        }
        if let Some(heard) = seen.heard
            && heard.at > self.heard_at
        {
            self.heard_at = heard.at;
            sightings.extend(disagreements(seen, &heard));
        }
        let newest = seen.foreign.iter().max_by_key(|foreign| foreign.at);
        if let Some(foreign) = newest
            && foreign.at > self.foreign_at
        {
            self.foreign_at = foreign.at;
            sightings.push(foreign_vrid(seen, foreign));
        }
        if never_heard(seen) {
            sightings.push(never_heard_peer(seen));
        }
        if seen.send_failures > 0 {
            sightings.push(send_failed(seen));
        }
        sightings
    }
}

/// Address of a router, or words for one that is not known.
struct Peer(Option<IpAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a router"),
        }
    }
}

fn down_interval(config: &Config) -> Duration {
    active_down_interval(config.version, config.priority, config.interval)
}

/// The hold for a cause that the peer repeats every `interval`.
fn hold(config: &Config, interval: Option<Centiseconds>) -> Duration {
    let theirs = interval.map_or(Duration::ZERO, Centiseconds::duration);
    (HOLD_DOWN_INTERVALS * down_interval(config).max(theirs)).max(HOLD_MIN)
}

fn discarded(seen: &Observation<'_>, cause: Cause, verdict: Verdict) -> Sighting {
    let config = seen.config;
    // The record holds the last drop of all: evidence only when it is one of these.
    let drop = seen
        .last_drop
        .filter(|drop| drop.at_ns != 0 && drop.verdict == verdict);
    let address = drop.map(|drop| from_wire(config.family, &drop.source));
    let interval = drop.and_then(|drop| Centiseconds::try_from(u64::from(drop.interval_cs)).ok());
    let peer = Peer(address);
    let text = match verdict {
        Verdict::VrrpPassword => format!(
            "authentication mismatch: {peer} sends another password than the one configured; \
             both routers will be Active: set the same password"
        ),
        Verdict::VrrpAuthType => {
            let configured = if seen.password { "a password" } else { "none" };
            format!(
                "authentication mismatch: {peer} sends another authentication type, configured \
                 {configured}; both routers will be Active: set the same password on both, or on \
                 none"
            )
        }
        Verdict::VrrpVersion => {
            let theirs = drop.map_or_else(
                || "another version".to_owned(),
                |drop| format!("version {}", drop.version),
            );
            format!(
                "VRRP version mismatch: {peer} sends {theirs}, configured {}; both routers will be \
                 Active: set the same version",
                config.version.number()
            )
        }
        Verdict::VrrpInterval => {
            let theirs = interval.map_or_else(|| "another".to_owned(), |cs| cs.to_string());
            format!(
                "VRRPv2 interval mismatch: {peer} advertises {theirs}, configured {}; both routers \
                 will be Active: set the same advert_interval",
                config.interval
            )
        }
        Verdict::VrrpChecksum => format!(
            "checksum mismatch: advertisements of {peer} are right in neither form, RFC 9568 nor \
             RFC 5798; both routers will be Active: look for address translation or a faulty \
             network card on the way"
        ),
        Verdict::VrrpTtl => format!(
            "TTL too low: advertisements of {peer} arrive with less than the configured {}: they \
             come through a router or are forged; set ttl_min if a router between the peers is \
             intended",
            seen.ttl_min
        ),
        Verdict::VrrpCast => {
            let (theirs, ours) = if seen.peers.is_empty() {
                ("unicast", "multicast")
            } else {
                ("multicast", "unicast")
            };
            format!(
                "unicast mismatch: {peer} sends {theirs}, configured {ours}; both routers will be \
                 Active: configure unicast peers on both, or on none"
            )
        }
        Verdict::VrrpSource => format!(
            "unknown peer: {peer} sends advertisements, configured {}; both routers will be \
             Active: add it to the peers, or correct its source address",
            List(seen.peers)
        ),
        Verdict::VrrpOwnSource => format!(
            "own source address: advertisements for virtual router {} arrive from {peer}, the \
             address of this node; both routers will be Active: look for a duplicate address or a \
             loop on {}",
            config.vrid, seen.interface
        ),
        Verdict::VrrpRate => format!(
            "rate exceeded: {peer} changes its advertisements more than {RATE_BURST} times per \
             interval, the excess is discarded: look for two routers with one address, or a forger"
        ),
        other => format!(
            "malformed advertisement: {peer} sends what is discarded as {} ({}); both routers will \
             be Active: compare its configuration, and whether it signs its advertisements",
            other.name(),
            other.description().trim().trim_end_matches('.')
        ),
    };
    let severity = match cause {
        Cause::Ttl | Cause::Rate => Severity::Warning,
        _ => Severity::Error,
    };
    Sighting {
        cause,
        severity,
        count: seen.drops[verdict as usize],
        peer: address,
        hold: hold(config, interval),
        text,
    }
}

struct List<'a>(&'a [IpAddr]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            address.fmt(f)?;
        }
        Ok(())
    }
}

/// What a valid advertisement says that the configuration contradicts.
fn disagreements(seen: &Observation<'_>, heard: &Advert) -> impl Iterator<Item = Sighting> {
    let config = seen.config;
    let sighting = |cause, severity, text| Sighting {
        cause,
        severity,
        count: 1,
        peer: Some(heard.source),
        hold: hold(config, Some(heard.interval)),
        text,
    };
    let addresses = (heard.addresses != config.addresses).then(|| {
        sighting(
            Cause::AddressList,
            Severity::Warning,
            format!(
                "address list mismatch: {} advertises other virtual addresses for virtual router \
                 {} than configured; after a failover some are not served: configure the same \
                 addresses on both routers",
                heard.source, config.vrid
            ),
        )
    });
    let two = heard.priority == AdvertPriority::Run(Priority::OWNER)
        && config.priority == Priority::OWNER;
    let owners = two.then(|| {
        sighting(
            Cause::TwoOwners,
            Severity::Error,
            format!(
                "two address owners: {} advertises priority 255, configured 255; the roles do not \
                 settle by priority: give 255 to one router at most",
                heard.source
            ),
        )
    });
    addresses.into_iter().chain(owners)
}

/// Whether nobody of this virtual router was heard in a time in which an Active peer would have been.
fn never_heard(seen: &Observation<'_>) -> bool {
    seen.is_active
        && seen.heard.is_none()
        && seen.now.since(seen.started) >= SILENCE_DOWN_INTERVALS * down_interval(seen.config)
}

fn foreign_vrid(seen: &Observation<'_>, foreign: &ForeignRouter) -> Sighting {
    let ForeignRouter { vrid, source, .. } = *foreign;
    let (ours, interface) = (seen.config.vrid, seen.interface);
    let (severity, text) = if never_heard(seen) {
        (
            Severity::Warning,
            format!(
                "unknown virtual router: {source} advertises VRID {vrid} on {interface}, \
                 configured {ours}, for which nobody was ever heard; if it is meant to be the \
                 peer, both routers will be Active: set the same vrid"
            ),
        )
    } else {
        (
            Severity::Information,
            format!(
                "unknown virtual router: {source} advertises VRID {vrid} on {interface}, \
                 configured {ours}: nothing to do if another group of routers shares the network"
            ),
        )
    };
    Sighting {
        cause: Cause::ForeignVrid,
        severity,
        count: 1,
        peer: Some(source),
        hold: hold(seen.config, None),
        text,
    }
}

fn never_heard_peer(seen: &Observation<'_>) -> Sighting {
    let (vrid, interface) = (seen.config.vrid, seen.interface);
    let (severity, text) = if seen.peers.is_empty() {
        (
            Severity::Information,
            format!(
                "no peer heard: no advertisement for virtual router {vrid} ever arrived on \
                 {interface}: nothing to do if the other routers are Backup or absent; if one of \
                 them is Active too, let IP protocol 112 and its multicast group through"
            ),
        )
    } else {
        (
            Severity::Warning,
            format!(
                "no peer heard: no advertisement for virtual router {vrid} ever arrived from {}: \
                 nothing to do if it is Backup; if it is Active too, let IP protocol 112 through \
                 the firewalls and security groups between the peers",
                List(seen.peers)
            ),
        )
    };
    Sighting {
        cause: Cause::NeverHeardPeer,
        severity,
        count: 1,
        peer: None,
        hold: AT_ONCE,
        text,
    }
}

fn send_failed(seen: &Observation<'_>) -> Sighting {
    let (interface, error) = (seen.interface, seen.send_error);
    Sighting {
        cause: Cause::SendFailed,
        severity: Severity::Error,
        count: seen.send_failures,
        peer: None,
        hold: hold(seen.config, None),
        text: format!(
            "advertisements cannot be sent on {interface} ({error}); this router gives up the \
             Active role when its lease ends: check the route to the peers and the firewall"
        ),
    }
}

#[cfg(test)]
mod tests;
