use super::*;
use crate::vrrp::types::{Checksum, Family, Version, Vrid, to_wire};

const SECOND: Duration = Duration::from_secs(1);
const PEER: &str = "10.0.0.2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn config(version: Version) -> Config {
    Config {
        vrid: Vrid::try_from(51).unwrap(),
        family: Family::Ipv4,
        version,
        priority: Priority::try_from(100).unwrap(),
        interval: Centiseconds::try_from(100).unwrap(),
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: 1,
        checksum: None,
    }
}

/// Nothing wrong, one second after the start.
fn quiet(config: &Config) -> Observation<'_> {
    Observation {
        now: Instant(1_000_000_000),
        started: Instant(0),
        config,
        interface: "eth0",
        peers: &[],
        password: false,
        ttl_min: 255,
        drops: [0; Verdict::COUNT],
        last_drop: None,
        heard: None,
        foreign: &[],
        is_active: false,
        send_failures: 0,
        send_error: "",
    }
}

fn dropped<'a>(config: &'a Config, verdict: Verdict, version: u8, cs: u16) -> Observation<'a> {
    let mut seen = quiet(config);
    seen.drops[verdict as usize] = 3;
    seen.last_drop = Some(LastDrop {
        at_ns: seen.now.0,
        source: to_wire(ip(PEER)),
        verdict,
        version,
        priority: 100,
        interval_cs: cs,
    });
    seen
}

fn heard(config: &Config, priority: u8, addresses: u32) -> Observation<'_> {
    let mut seen = quiet(config);
    seen.heard = Some(Advert {
        at: seen.now,
        source: ip(PEER),
        priority: AdvertPriority::from_wire(priority),
        interval: config.interval,
        addresses,
        checksum: Checksum::PseudoHeader,
    });
    seen
}

/// The one alarm that `seen` raises; checks that it stays for `hold` and is cleared after it.
fn raised(seen: &Observation<'_>, hold: Duration) -> Alarm {
    let mut alarms = Alarms::new();
    let changes = alarms.observe(seen);
    let [Change::Raised(alarm)] = changes.as_slice() else {
        panic!("{changes:#?}");
    };
    assert_eq!(alarms.iter().collect::<Vec<_>>(), [alarm]);
    let mut later = *seen;
    later.drops = [0; Verdict::COUNT];
    later.send_failures = 0;
    later.now = seen.now + hold - Duration::from_nanos(1);
    assert_eq!(alarms.observe(&later), [], "still within its hold");
    later.now = seen.now + hold;
    assert_eq!(alarms.observe(&later), [Change::Cleared(alarm.clone())]);
    assert_eq!(alarms.iter().count(), 0);
    alarm.clone()
}

/// 3 × (3 × 1 s + 156/256 s).
const HOLD: Duration = Duration::from_nanos(10_828_125_000);

#[track_caller]
fn says(seen: &Observation<'_>, cause: Cause, severity: Severity, text: &str) {
    let alarm = raised(seen, HOLD);
    assert_eq!(alarm.text, text);
    assert_eq!((alarm.cause, alarm.severity), (cause, severity));
}

#[test]
fn authentication() {
    let v2 = config(Version::V2);
    says(
        &dropped(&v2, Verdict::VrrpPassword, 2, 100),
        Cause::Authentication,
        Severity::Error,
        "authentication mismatch: 10.0.0.2 sends another password than the one configured; both \
         routers will be Active: set the same password",
    );
    let mut seen = dropped(&v2, Verdict::VrrpAuthType, 2, 100);
    says(
        &seen,
        Cause::Authentication,
        Severity::Error,
        "authentication mismatch: 10.0.0.2 sends another authentication type, configured none; \
         both routers will be Active: set the same password on both, or on none",
    );
    seen.password = true;
    says(
        &seen,
        Cause::Authentication,
        Severity::Error,
        "authentication mismatch: 10.0.0.2 sends another authentication type, configured a \
         password; both routers will be Active: set the same password on both, or on none",
    );
}

#[test]
fn version() {
    let v3 = config(Version::V3);
    let seen = dropped(&v3, Verdict::VrrpVersion, 2, 100);
    says(
        &seen,
        Cause::Version,
        Severity::Error,
        "VRRP version mismatch: 10.0.0.2 sends version 2, configured 3; both routers will be \
         Active: set the same version",
    );
    assert_eq!(raised(&seen, HOLD).peer, Some(ip(PEER)));
    assert_eq!(raised(&seen, HOLD).count, 3);
}

#[test]
fn interval_of_version_2() {
    let v2 = config(Version::V2);
    says(
        &dropped(&v2, Verdict::VrrpInterval, 2, 200),
        Cause::IntervalV2,
        Severity::Error,
        "VRRPv2 interval mismatch: 10.0.0.2 advertises 2 s, configured 1 s; both routers will be \
         Active: set the same advert_interval",
    );
}

#[test]
fn the_hold_covers_a_slow_peer() {
    let v2 = config(Version::V2);
    let seen = dropped(&v2, Verdict::VrrpInterval, 2, 10_000);
    raised(&seen, 300 * SECOND);
}

#[test]
fn the_hold_of_a_fast_instance_is_ten_seconds() {
    let mut v3 = config(Version::V3);
    v3.interval = Centiseconds::try_from(1).unwrap();
    let seen = dropped(&v3, Verdict::VrrpVersion, 2, 1);
    raised(&seen, 10 * SECOND);
}

#[test]
fn checksum() {
    let v3 = config(Version::V3);
    says(
        &dropped(&v3, Verdict::VrrpChecksum, 3, 100),
        Cause::Checksum,
        Severity::Error,
        "checksum mismatch: advertisements of 10.0.0.2 are right in neither form, RFC 9568 nor RFC \
         5798; both routers will be Active: look for address translation or a faulty network card \
         on the way",
    );
}

#[test]
fn malformed() {
    let v3 = config(Version::V3);
    says(
        &dropped(&v3, Verdict::VrrpLength, 3, 100),
        Cause::Malformed,
        Severity::Error,
        "malformed advertisement: 10.0.0.2 sends what is discarded as vrrp_length (Message longer \
         than its address count says); both routers will be Active: compare its configuration, \
         and whether it signs its advertisements",
    );
}

#[test]
fn ttl() {
    let v3 = config(Version::V3);
    says(
        &dropped(&v3, Verdict::VrrpTtl, 3, 100),
        Cause::Ttl,
        Severity::Warning,
        "TTL too low: advertisements of 10.0.0.2 arrive with less than the configured 255: they \
         come through a router or are forged; set ttl_min if a router between the peers is \
         intended",
    );
}

#[test]
fn unicast_and_source() {
    let v3 = config(Version::V3);
    let mut seen = dropped(&v3, Verdict::VrrpCast, 3, 100);
    says(
        &seen,
        Cause::UnicastSource,
        Severity::Error,
        "unicast mismatch: 10.0.0.2 sends unicast, configured multicast; both routers will be \
         Active: configure unicast peers on both, or on none",
    );
    let peers = [ip("10.0.0.3"), ip("10.0.0.4")];
    seen.peers = &peers;
    says(
        &seen,
        Cause::UnicastSource,
        Severity::Error,
        "unicast mismatch: 10.0.0.2 sends multicast, configured unicast; both routers will be \
         Active: configure unicast peers on both, or on none",
    );
    let mut seen = dropped(&v3, Verdict::VrrpSource, 3, 100);
    seen.peers = &peers;
    says(
        &seen,
        Cause::UnicastSource,
        Severity::Error,
        "unknown peer: 10.0.0.2 sends advertisements, configured 10.0.0.3, 10.0.0.4; both routers \
         will be Active: add it to the peers, or correct its source address",
    );
}

#[test]
fn own_source() {
    let v3 = config(Version::V3);
    says(
        &dropped(&v3, Verdict::VrrpOwnSource, 3, 100),
        Cause::OwnSource,
        Severity::Error,
        "own source address: advertisements for virtual router 51 arrive from 10.0.0.2, the \
         address of this node; both routers will be Active: look for a duplicate address or a \
         loop on eth0",
    );
}

#[test]
fn rate() {
    let v3 = config(Version::V3);
    says(
        &dropped(&v3, Verdict::VrrpRate, 3, 100),
        Cause::Rate,
        Severity::Warning,
        "rate exceeded: 10.0.0.2 changes its advertisements more than 16 times per interval, the \
         excess is discarded: look for two routers with one address, or a forger",
    );
}

#[test]
fn address_list() {
    let v3 = config(Version::V3);
    says(
        &heard(&v3, 100, 2),
        Cause::AddressList,
        Severity::Warning,
        "address list mismatch: 10.0.0.2 advertises other virtual addresses for virtual router 51 \
         than configured; after a failover some are not served: configure the same addresses on \
         both routers",
    );
}

#[test]
fn two_owners() {
    let mut v3 = config(Version::V3);
    v3.priority = Priority::OWNER;
    let alarm = raised(&heard(&v3, 255, 1), 10 * SECOND);
    assert_eq!(
        (alarm.cause, alarm.severity),
        (Cause::TwoOwners, Severity::Error)
    );
    assert_eq!(
        alarm.text,
        "two address owners: 10.0.0.2 advertises priority 255, configured 255; the roles do not \
         settle by priority: give 255 to one router at most"
    );
    v3.priority = Priority::try_from(254).unwrap();
    assert_eq!(Alarms::new().observe(&heard(&v3, 255, 1)), []);
}

#[test]
fn foreign_vrid() {
    let v3 = config(Version::V3);
    let foreign = [ForeignRouter {
        vrid: 52,
        source: ip(PEER),
        at: Instant(900_000_000),
    }];
    let mut seen = quiet(&v3);
    seen.foreign = &foreign;
    says(
        &seen,
        Cause::ForeignVrid,
        Severity::Information,
        "unknown virtual router: 10.0.0.2 advertises VRID 52 on eth0, configured 51: nothing to do \
         if another group of routers shares the network",
    );
}

#[test]
fn a_foreign_vrid_alone_on_the_network_is_worse() {
    let v3 = config(Version::V3);
    let foreign = |at| {
        [ForeignRouter {
            vrid: 52,
            source: ip(PEER),
            at,
        }]
    };
    let mut alarms = Alarms::new();
    let mut seen = quiet(&v3);
    let early = foreign(seen.now);
    seen.foreign = &early;
    assert_eq!(alarms.observe(&seen).len(), 1);
    seen.now = Instant(0) + 2 * down_interval(&v3);
    seen.is_active = true;
    let late = foreign(seen.now);
    seen.foreign = &late;
    let changes = alarms.observe(&seen);
    let [Change::Raised(alarm), Change::Raised(_)] = changes.as_slice() else {
        panic!("{changes:#?}");
    };
    assert_eq!((alarm.severity, alarm.count), (Severity::Warning, 2));
    assert_eq!(alarm.since, Instant(1_000_000_000));
    assert_eq!(
        alarm.text,
        "unknown virtual router: 10.0.0.2 advertises VRID 52 on eth0, configured 51, for which \
         nobody was ever heard; if it is meant to be the peer, both routers will be Active: set \
         the same vrid"
    );
}

#[test]
fn never_heard_peer() {
    let v3 = config(Version::V3);
    let mut seen = quiet(&v3);
    seen.is_active = true;
    seen.now = Instant(0) + 2 * down_interval(&v3) - Duration::from_nanos(1);
    let mut alarms = Alarms::new();
    assert_eq!(alarms.observe(&seen), [], "too early to say");
    seen.now = Instant(0) + 2 * down_interval(&v3);
    let changes = alarms.observe(&seen);
    let [Change::Raised(alarm)] = changes.as_slice() else {
        panic!("{changes:#?}");
    };
    assert_eq!(
        (alarm.cause, alarm.severity),
        (Cause::NeverHeardPeer, Severity::Information)
    );
    assert_eq!(
        alarm.text,
        "no peer heard: no advertisement for virtual router 51 ever arrived on eth0: nothing to do \
         if the other routers are Backup or absent; if one of them is Active too, let IP protocol \
         112 and its multicast group through"
    );
    seen.heard = heard(&v3, 100, 1).heard;
    seen.now = seen.now + SECOND;
    assert!(matches!(
        alarms.observe(&seen).as_slice(),
        [Change::Cleared(_)]
    ));

    let peers = [ip("10.0.0.223")];
    seen.heard = None;
    seen.peers = &peers;
    let changes = Alarms::new().observe(&seen);
    let [Change::Raised(alarm)] = changes.as_slice() else {
        panic!("{changes:#?}");
    };
    assert_eq!(alarm.severity, Severity::Warning);
    assert_eq!(
        alarm.text,
        "no peer heard: no advertisement for virtual router 51 ever arrived from 10.0.0.223: \
         nothing to do if it is Backup; if it is Active too, let IP protocol 112 through the \
         firewalls and security groups between the peers"
    );
}

#[test]
fn send_failed() {
    let v3 = config(Version::V3);
    let mut seen = quiet(&v3);
    seen.send_failures = 2;
    seen.send_error = "Network is unreachable";
    says(
        &seen,
        Cause::SendFailed,
        Severity::Error,
        "advertisements cannot be sent on eth0 (Network is unreachable); this router gives up the \
         Active role when its lease ends: check the route to the peers and the firewall",
    );
}

#[test]
fn a_drop_whose_record_was_overwritten_is_still_named() {
    let v2 = config(Version::V2);
    let mut alarms = Alarms::new();
    let mut seen = dropped(&v2, Verdict::VrrpInterval, 2, 200);
    seen.drops[Verdict::VrrpTtl as usize] = 1;
    let raised = alarms.observe(&seen);
    let texts: Vec<_> = raised
        .iter()
        .map(|change| match change {
            Change::Raised(alarm) | Change::Cleared(alarm) => alarm.text.as_str(),
        })
        .collect();
    assert_eq!(
        texts,
        [
            "TTL too low: advertisements of a router arrive with less than the configured 255: \
             they come through a router or are forged; set ttl_min if a router between the peers \
             is intended",
            "VRRPv2 interval mismatch: 10.0.0.2 advertises 2 s, configured 1 s; both routers will \
             be Active: set the same advert_interval",
        ]
    );
    // The next second the record belongs to the other drop: the sentence keeps its values.
    let mut seen = dropped(&v2, Verdict::VrrpTtl, 2, 200);
    seen.now = seen.now + SECOND;
    seen.drops[Verdict::VrrpInterval as usize] = 1;
    assert_eq!(alarms.observe(&seen), []);
    let stand: Vec<_> = alarms
        .iter()
        .map(|alarm| (alarm.peer, alarm.count))
        .collect();
    assert_eq!(stand, [(Some(ip(PEER)), 4), (Some(ip(PEER)), 4)]);
}

#[test]
fn an_advertisement_counts_once() {
    let v3 = config(Version::V3);
    let mut alarms = Alarms::new();
    let mut seen = heard(&v3, 100, 2);
    alarms.observe(&seen);
    seen.now = seen.now + SECOND;
    assert_eq!(alarms.observe(&seen), []);
    assert_eq!(alarms.iter().next().unwrap().count, 1);
    seen.now = Instant(1_000_000_000) + HOLD;
    assert!(matches!(
        alarms.observe(&seen).as_slice(),
        [Change::Cleared(_)]
    ));
}

#[test]
fn every_discard_has_a_cause() {
    use ha_common::verdict::Fate;
    for verdict in Verdict::ALL {
        let fence = verdict.name().starts_with("fence");
        assert_eq!(
            Cause::of(verdict).is_some(),
            verdict.fate() == Fate::Drop && !fence,
            "{}",
            verdict.name()
        );
    }
}
