//! Announcements as the other end of the cable sees them.

use std::time::Duration;

use ha_agent::config::model::Announce;
use ha_agent::neighbor::{Announcer, Target, gratuitous_arp, neighbor_advertisement};
use ha_agent::sys::now;

use crate::lab::{Pair, QUIET, SOON, Tap, eventually};

const ANNOUNCE: Announce = Announce {
    count: 3,
    repeat_after: Duration::from_millis(50),
    repeat_count: 2,
    refresh: Duration::ZERO,
    conflict_gap: Duration::from_secs(1),
};

fn target(pair: &Pair) -> Target {
    Target {
        ifindex: pair.here.ifindex("eth0"),
        mac: pair.here.mac("eth0"),
        router: true,
        addresses: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        announce: ANNOUNCE,
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn announcements_arrive_as_they_were_built() {
    let pair = Pair::new();
    let tap = Tap::open(&pair.there, "eth0");
    let target = target(&pair);
    let arp = gratuitous_arp(target.mac, "10.0.0.1".parse().unwrap());
    let na = neighbor_advertisement(target.mac, "2001:db8::1".parse().unwrap(), true);
    let ours = |frame: &[u8]| frame == arp || frame == na;
    pair.here.enter(|| {
        let mut announcer = Announcer::open().unwrap();
        let start = now();
        announcer.start(7, target, start);
        announcer.run(start, |slot| slot == 7);
        assert_eq!(announcer.counters(7).sent, 6);
        for _ in 0..3 {
            assert_eq!(tap.next(SOON, ours).as_deref(), Some(&arp[..]));
            assert_eq!(tap.next(SOON, ours).as_deref(), Some(&na[..]));
        }
        let again = announcer.deadline().unwrap();
        assert_eq!(again, start + ANNOUNCE.repeat_after);
        announcer.run(again, |_| true);
        for _ in 0..4 {
            assert!(tap.next(SOON, ours).is_some());
        }
        assert_eq!(tap.next(QUIET, ours), None);
        assert_eq!(announcer.deadline(), None);
        let counters = announcer.counters(7);
        assert_eq!((counters.sent, counters.errors), (10, 0));
        assert_eq!(counters.last_sent, Some(again));
        announcer.stop(7);
        assert_eq!(announcer.counters(7), counters);
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_neighbour_learns_the_new_place() {
    let pair = Pair::new();
    for address in ["10.0.0.1", "2001:db8::1"] {
        pair.there.ip(&format!(
            "neigh replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud stale"
        ));
    }
    let target = target(&pair);
    let mac = pair.here.ip("-br link show dev eth0");
    let mac = mac.split_whitespace().nth(2).unwrap().to_owned();
    pair.here.enter(|| {
        let mut announcer = Announcer::open().unwrap();
        announcer.start(0, target, now());
        announcer.run(now(), |_| true);
    });
    for address in ["10.0.0.1", "2001:db8::1"] {
        eventually("neighbour entry", || {
            let entry = pair.there.ip(&format!("neigh show {address} dev eth0"));
            entry.contains(&mac)
        });
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn nothing_is_said_without_permission_or_on_a_dead_interface() {
    let pair = Pair::new();
    let target = target(&pair);
    let here = &pair.here;
    here.enter(|| {
        let mut announcer = Announcer::open().unwrap();
        let start = now();
        announcer.start(1, target.clone(), start);
        announcer.run(start, |_| false);
        assert_eq!(announcer.counters(1).sent, 0);
        let later = announcer.deadline().unwrap();
        assert!(later > start, "no busy loop");
        here.ip("link set eth0 down");
        announcer.run(later, |_| true);
        let counters = announcer.counters(1);
        assert_eq!((counters.sent, counters.errors), (0, 6));
        here.ip("link del eth0");
        announcer.conflict(1, later + Duration::from_secs(2));
        announcer.run(later + Duration::from_secs(2), |_| true);
        assert_eq!(announcer.counters(1).errors, 12);
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_large_burst_arrives_whole() {
    let pair = Pair::new();
    let mut target = target(&pair);
    target.addresses = (0..1000u16)
        .map(|n| [10, 1, (n >> 8) as u8, n as u8].into())
        .collect();
    target.announce.count = 5;
    let sent = pair.here.enter(|| {
        let mut announcer = Announcer::open().unwrap();
        announcer.start(1, target, now());
        let first_pause = announcer.deadline().unwrap();
        let mut at = first_pause;
        while announcer
            .deadline()
            .is_some_and(|due| due < first_pause + Duration::from_millis(40))
        {
            announcer.run(at, |_| true);
            at = at + Duration::from_millis(1);
        }
        announcer.counters(1)
    });
    assert_eq!((sent.sent, sent.errors), (5000, 0));
}
