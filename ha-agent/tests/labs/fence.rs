//! Never two: a node that is dead or frozen stops serving by itself, although the address is
//! still on its interface and its kernel would answer.

use std::net::IpAddr;
use std::time::Duration;

use xtask::lab::{
    INTERFACE, Node, Probe, Report, Settings, Signal, VIP4, VIP6, claims, now_ns, stays, wait_until,
};

use crate::pair::{INTERVAL, LIMIT, NOISE, Pair, STALL, VI, alone, v3};

/// Traffic of a client whose ARP entry for the address is nailed to one router.
fn traffic_aimed_at(pair: &Pair, router: &Node) -> Report {
    let to = pair.address;
    let client = pair.lab.client();
    let mac = router.mac().map(|byte| format!("{byte:02x}")).join(":");
    let neighbour = |verb: &str, more: &[&str]| {
        let address = to.to_string();
        let mut arguments = vec!["neigh", verb, &address, "dev", INTERFACE];
        arguments.extend(more);
        client.netns.ip(&arguments).unwrap();
    };
    neighbour("replace", &["lladdr", &mac, "nud", "permanent"]);
    let probe = Probe::start(client, to).unwrap();
    let from_ns = now_ns();
    wait_until("200 probes", LIMIT, || probe.since(from_ns).sent >= 200).unwrap();
    let report = probe.since(from_ns);
    neighbour("delete", &[]);
    report
}

fn is_silent(pair: &Pair, router: &Node) {
    assert!(
        router.holds(pair.address),
        "its kernel still has the address"
    );
    if let IpAddr::V4(address) = pair.address {
        let patience = Duration::from_millis(60);
        assert!(
            !claims(pair.lab.client(), address, router, patience).unwrap(),
            "answers ARP"
        );
    }
    let report = traffic_aimed_at(pair, router);
    assert!(report.owners().is_empty(), "answers traffic: {report:?}");
    assert!(report.lost >= 200, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_live_router_answers_what_is_aimed_at_it() {
    let pair = Pair::start();
    assert!(
        claims(
            pair.lab.client(),
            VIP4,
            pair.lab.a(),
            Duration::from_millis(60)
        )
        .unwrap()
    );
    assert_eq!(
        traffic_aimed_at(&pair, pair.lab.a()).owners(),
        [pair.lab.a().id]
    );
    // A Backup does not, and not only because its kernel lacks the address.
    pair.lab.b().add_address("10.77.0.100/24").unwrap();
    assert!(
        !claims(
            pair.lab.client(),
            VIP4,
            pair.lab.b(),
            Duration::from_millis(60)
        )
        .unwrap()
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_killed_router_falls_silent_by_itself() {
    let _turn = alone();
    let pair = Pair::start();
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.served_by(pair.lab.b());
    is_silent(&pair, pair.lab.a());
    assert_eq!(pair.only_owner(), pair.lab.b().id);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_killed_router_falls_silent_before_its_peer_serves() {
    let _turn = alone();
    let pair = Pair::start();
    let event_ns = now_ns();
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.served_by(pair.lab.b());
    let report = pair.report(event_ns);
    let [a, b] = report.served[..] else {
        panic!("{report:?}")
    };
    assert!(a.until_ns < b.from_ns, "{report:?}");
    // The lease is three intervals from the last advert, which was at most one before the kill.
    let silent_after = Duration::from_nanos(a.until_ns.saturating_sub(event_ns));
    println!("silent {silent_after:?} after the kill");
    assert!(silent_after <= 3 * INTERVAL + NOISE, "{silent_after:?}");
    assert_eq!(report.doubled, 0);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_frozen_router_falls_silent_and_wakes_as_backup() {
    let _turn = alone();
    let pair = Pair::with(&Default::default(), |priority| v3(priority).nopreempt());
    pair.a.process.signal(Signal::STOP).unwrap();
    pair.served_by(pair.lab.b());
    is_silent(&pair, pair.lab.a());
    // Long enough for adverts and announcements to pile up, if anything piled up.
    std::thread::sleep(20 * INTERVAL);

    let woken_ns = now_ns();
    pair.a.process.signal(Signal::CONT).unwrap();
    pair.a.wait_for(VI, "Backup", LIMIT).unwrap();
    stays("b alone serves", 10 * INTERVAL, || {
        pair.probe
            .since(woken_ns)
            .owners()
            .iter()
            .all(|owner| *owner == pair.lab.b().id)
    })
    .unwrap();
    let adverts = pair.wire.adverts("a", woken_ns).len();
    let announcements = pair.wire.announcements("a", pair.address, woken_ns).len();
    println!("after SIGCONT: {adverts} adverts, {announcements} announcements");
    assert_eq!(
        (adverts, announcements),
        (0, 0),
        "{:?}",
        pair.wire.since(woken_ns)
    );
    assert_eq!(pair.only_owner(), pair.lab.b().id);
    wait_until("a takes the address off", LIMIT, || {
        !pair.lab.a().holds(pair.address)
    })
    .unwrap();
    let report = pair.report(woken_ns);
    assert!(report.lost <= STALL, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_short_freeze_within_the_lease_changes_nothing() {
    let _turn = alone();
    let pair = Pair::start();
    let before = pair.transitions();
    let event_ns = now_ns();
    pair.a.process.signal(Signal::STOP).unwrap();
    std::thread::sleep(INTERVAL + INTERVAL / 2);
    pair.a.process.signal(Signal::CONT).unwrap();
    stays("a serves", 6 * INTERVAL, || {
        pair.probe
            .since(event_ns)
            .owners()
            .iter()
            .all(|owner| *owner == pair.lab.a().id)
    })
    .unwrap();
    assert_eq!(pair.transitions(), before);
    assert!(pair.report(event_ns).lost <= STALL);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_killed_router_falls_silent_on_ipv6_too() {
    let _turn = alone();
    let pair = Pair::serving(VIP6.into(), &Settings::default(), |priority| {
        v3(priority).ipv6()
    });
    assert_eq!(
        traffic_aimed_at(&pair, pair.lab.a()).owners(),
        [pair.lab.a().id]
    );
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.served_by(pair.lab.b());
    is_silent(&pair, pair.lab.a());
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_frozen_backup_wakes_without_a_takeover() {
    let _turn = alone();
    let pair = Pair::start();
    let before = pair.transitions();
    pair.b.process.signal(Signal::STOP).unwrap();
    std::thread::sleep(10 * INTERVAL);
    let woken_ns = now_ns();
    pair.b.process.signal(Signal::CONT).unwrap();
    pair.b.wait_for(VI, "Backup", LIMIT).unwrap();
    stays("b stays Backup", 6 * INTERVAL, || {
        pair.b.state(VI) == "Backup"
    })
    .unwrap();
    assert_eq!(pair.transitions(), before);
    assert!(pair.wire.adverts("b", woken_ns).is_empty());
}
