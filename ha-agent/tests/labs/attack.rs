//! Packets from outside that must not matter, as many as the machine can send.

use std::time::{Duration, Instant};

use xtask::lab::{Flood, Forged, Instance, Spoil, VIP4, now_ns};

use crate::pair::{INTERVAL, NOISE, Pair, VI, alone};

/// How long each flood lasts.
const SPAN: Duration = Duration::from_secs(3);

fn forged(pair: &Pair, version: u8) -> Forged {
    Forged {
        source: pair.lab.client().ipv4(),
        version,
        vrid: 51,
        priority: 150,
        interval: if version == 2 { 1 } else { 10 },
        addresses: vec![VIP4],
        password: None,
        spoil: Spoil::Nothing,
    }
}

/// No transition, no missed advert, no lost probe to speak of.
fn survives(pair: &Pair, interval: Duration, frames: Vec<Vec<u8>>) {
    let before = pair.transitions();
    let from_ns = now_ns();
    let flood = Flood::start(pair.lab.client(), frames, Duration::ZERO).unwrap();
    let begin = Instant::now();
    std::thread::sleep(SPAN);
    let sent = flood.sent();
    drop(flood);
    let span = begin.elapsed();
    assert_eq!(pair.transitions(), before, "transitions under attack");
    let adverts = pair.wire.adverts("a", from_ns);
    let longest = adverts
        .windows(2)
        .map(|pair| Duration::from_nanos(pair[1].at_ns - pair[0].at_ns))
        .max()
        .unwrap_or_default();
    let report = pair.report(from_ns);
    println!(
        "{:.0} packets/s for {span:?}: {} adverts, longest pause {longest:?}, {} of {} probes lost",
        sent as f64 / span.as_secs_f64(),
        adverts.len(),
        report.lost,
        report.sent
    );
    assert!(sent > 1000, "the attack took place");
    assert!(longest < 3 * interval, "a's lease was at risk: {longest:?}");
    assert!(adverts.len() as u128 + 3 >= span.as_millis() / interval.as_millis());
    assert!(pair.wire.adverts("b", from_ns).is_empty(), "b stays quiet");
    assert_eq!(report.owners(), [pair.lab.a().id]);
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    let drops = &pair.a.instance(VI).unwrap()["drops"];
    println!("dropped by a: {drops}");
    assert!(
        drops.as_object().is_some_and(|drops| drops
            .values()
            .filter_map(serde_json::Value::as_u64)
            .sum::<u64>()
            > 0),
        "drops are counted: {drops}"
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn invalid_packets_with_the_right_vrid_change_nothing() {
    let _turn = alone();
    let pair = Pair::start();
    let mut frames = Vec::new();
    for spoil in [Spoil::Checksum, Spoil::Ttl, Spoil::Type, Spoil::Short] {
        for source in [
            pair.lab.client().ipv4(),
            pair.lab.a().ipv4(),
            pair.lab.b().ipv4(),
        ] {
            for priority in [0, 150, 255] {
                frames.push(
                    Forged {
                        source,
                        priority,
                        spoil,
                        ..forged(&pair, 3)
                    }
                    .frame(),
                );
            }
        }
    }
    // Another version is not an attack on the checksum but as wrong.
    frames.push(forged(&pair, 2).frame());
    survives(&pair, INTERVAL, frames);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_wrong_password_or_interval_changes_nothing() {
    let _turn = alone();
    let interval = Duration::from_secs(1);
    let pair = Pair::with(&Default::default(), |priority| {
        Instance::new(2, priority, interval).password("secret")
    });
    let wrong = Forged {
        password: Some(*b"wrong\0\0\0"),
        ..forged(&pair, 2)
    };
    let none = Forged {
        password: None,
        ..forged(&pair, 2)
    };
    let slow = Forged {
        password: Some(*b"secret\0\0"),
        interval: 7,
        ..forged(&pair, 2)
    };
    survives(
        &pair,
        interval,
        [wrong, none, slow].iter().map(Forged::frame).collect(),
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn valid_packets_of_a_lower_priority_are_answered_within_bounds() {
    let _turn = alone();
    let pair = Pair::start();
    let before = pair.transitions();
    let from_ns = now_ns();
    let frame = Forged {
        priority: 10,
        ..forged(&pair, 3)
    }
    .frame();
    let flood = Flood::start(pair.lab.client(), vec![frame], Duration::from_millis(1)).unwrap();
    std::thread::sleep(SPAN);
    drop(flood);
    let adverts = pair.wire.adverts("a", from_ns).len();
    let announcements = pair.wire.announcements("a", pair.address, from_ns).len();
    println!("1000 lower adverts/s for {SPAN:?}: {adverts} adverts, {announcements} announcements");
    assert_eq!(pair.transitions(), before);
    // Four answers per interval and the regular advert; keepalived sends 15,000 GARPs here.
    assert!(adverts <= 200, "{adverts}");
    assert!(announcements <= 100, "{announcements}");
    assert_eq!(pair.report(from_ns).owners(), [pair.lab.a().id]);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn packets_of_other_virtual_routers_change_nothing() {
    let _turn = alone();
    let pair = Pair::start();
    let before = pair.transitions();
    let from_ns = now_ns();
    let frames = (52..=255)
        .map(|vrid| {
            let forged = forged(&pair, 3);
            Forged { vrid, ..forged }.frame()
        })
        .collect();
    let flood = Flood::start(pair.lab.client(), frames, Duration::ZERO).unwrap();
    std::thread::sleep(SPAN);
    drop(flood);
    assert_eq!(pair.transitions(), before);
    let report = pair.report(from_ns);
    println!("{} of {} probes lost", report.lost, report.sent);
    assert_eq!(report.owners(), [pair.lab.a().id]);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn forged_resignations_cannot_keep_a_backup_from_taking_over() {
    let _turn = alone();
    let pair = Pair::start();
    let forged = Forged {
        source: pair.lab.a().ipv4(),
        priority: 0,
        ..forged(&pair, 3)
    };
    let flood = Flood::start(
        pair.lab.client(),
        vec![forged.frame()],
        Duration::from_millis(5),
    )
    .unwrap();
    pair.lab.cut_cable(pair.lab.a()).unwrap();
    let cut_ns = now_ns();
    pair.served_by(pair.lab.b());
    let report = pair.report(cut_ns);
    drop(flood);
    println!("gap {:?}", report.gap);
    assert!(report.gap <= 4 * INTERVAL + NOISE, "{report:?}");
}
