//! Takeover and return between two agents, as a client and the wire see it.

use std::time::Duration;

use xtask::lab::{Report, Settings, Signal, VIP6, now_ns, stays};

use crate::pair::{HIGH, INTERVAL, LIMIT, LOW, NOISE, Pair, STALL, VI, alone, silence, v3};

/// b takes over within the protocol's limit, and not before it.
#[track_caller]
fn crash_takeover(pair: &Pair, what: &str, event_ns: u64) -> Report {
    let happened_ns = now_ns();
    pair.served_by(pair.lab.b());
    let limit = v3(LOW).down_interval();
    let silence = silence(&pair.wire, happened_ns);
    let report = pair.report(event_ns);
    println!(
        "{what}: {} probes lost, gap {:.1} ms, silence on the wire {:.1} ms, limit {:.1} ms",
        report.lost,
        report.gap.as_secs_f64() * 1e3,
        silence.as_secs_f64() * 1e3,
        limit.as_secs_f64() * 1e3
    );
    assert!(
        silence + Duration::from_millis(2) >= limit,
        "too early: {silence:?}"
    );
    assert!(silence <= limit + NOISE, "too late: {silence:?}");
    assert!(report.gap <= limit + NOISE, "{report:?}");
    assert_eq!(report.owner(), Some(pair.lab.b().id));
    assert_eq!(pair.only_owner(), pair.lab.b().id);
    report
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_higher_priority_serves_and_the_other_waits() {
    let _turn = alone();
    let pair = Pair::start();
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    assert!(!pair.lab.b().holds(pair.address));
    let status = pair.b.instance(VI).unwrap();
    assert_eq!(status["state"], "Backup");
    assert_eq!(status["peer"]["priority"], 200);
    assert_eq!(status["xdp"], "native", "veth runs the program natively");
    assert_eq!(pair.lab.a().xdp().unwrap().unwrap().1, 1);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_killed_router_is_replaced_at_the_limit() {
    let _turn = alone();
    let pair = Pair::start();
    let event_ns = now_ns();
    pair.a.process.signal(Signal::KILL).unwrap();
    crash_takeover(&pair, "SIGKILL", event_ns);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_frozen_router_is_replaced_at_the_limit() {
    let _turn = alone();
    let pair = Pair::start();
    let event_ns = now_ns();
    pair.a.process.signal(Signal::STOP).unwrap();
    crash_takeover(&pair, "SIGSTOP", event_ns);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_cut_cable_moves_the_address_and_back_again() {
    let _turn = alone();
    let pair = Pair::start();
    let event_ns = now_ns();
    pair.lab.cut_cable(pair.lab.a()).unwrap();
    crash_takeover(&pair, "cable cut", event_ns);
    pair.a.wait_for(VI, "Initialize", LIMIT).unwrap();
    assert!(!pair.lab.a().holds(pair.address));

    let restored_ns = now_ns();
    pair.lab.restore_cable(pair.lab.a()).unwrap();
    pair.served_by(pair.lab.a());
    let report = pair.report(restored_ns);
    println!(
        "cable back: {} probes lost, gap {:?}",
        report.lost, report.gap
    );
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    assert!(report.lost <= STALL, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_flapping_cable_ends_with_one_owner() {
    let _turn = alone();
    let pair = Pair::start();
    for pause in [1, 5, 20, 50, 100, 200, 400, 30, 2, 150] {
        pair.lab.cut_cable(pair.lab.a()).unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        pair.lab.restore_cable(pair.lab.a()).unwrap();
        std::thread::sleep(Duration::from_millis(pause));
    }
    pair.a.wait_for(VI, "Active", LIMIT).unwrap();
    pair.b.wait_for(VI, "Backup", LIMIT).unwrap();
    pair.served_by(pair.lab.a());
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    assert!(pair.lab.a().holds(pair.address));
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_silent_black_hole_is_survived_and_healed() {
    let _turn = alone();
    let pair = Pair::start();
    let event_ns = now_ns();
    pair.lab.black_hole(pair.lab.a()).unwrap();
    crash_takeover(&pair, "black hole", event_ns);

    let healed_ns = now_ns();
    pair.lab.end_black_hole(pair.lab.a()).unwrap();
    pair.served_by(pair.lab.a());
    let report = pair.report(healed_ns);
    println!("healed: {} probes lost, gap {:?}", report.lost, report.gap);
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    assert!(report.gap < Duration::from_secs(1), "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_healed_partition_leaves_one_owner_that_the_segment_believes() {
    let _turn = alone();
    let pair = Pair::start();
    pair.lab.partition().unwrap();
    pair.b.wait_for(VI, "Active", LIMIT).unwrap();
    let healed_ns = now_ns();
    pair.lab.heal().unwrap();
    pair.b.wait_for(VI, "Backup", LIMIT).unwrap();
    pair.served_by(pair.lab.a());
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    let announced = pair.wire.announcements("a", pair.address, healed_ns).len();
    assert!(announced > 0, "the winner announces itself after the heal");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_partition_that_heals_soon_after_a_takeover_is_over_within_a_second() {
    let _turn = alone();
    let pair = Pair::start();
    pair.lab.cut_cable(pair.lab.a()).unwrap();
    pair.served_by(pair.lab.b());
    pair.lab.restore_cable(pair.lab.a()).unwrap();
    pair.served_by(pair.lab.a());
    pair.lab.black_hole(pair.lab.a()).unwrap();
    pair.served_by(pair.lab.b());

    let healed_ns = now_ns();
    pair.lab.end_black_hole(pair.lab.a()).unwrap();
    pair.served_by(pair.lab.a());
    let report = pair.report(healed_ns);
    println!("healed: {} probes lost, gap {:?}", report.lost, report.gap);
    // One burst answers rivals per second (`conflict_gap`), and the takeover used it.
    assert!(report.gap <= Duration::from_secs(1), "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_graceful_stop_loses_nothing() {
    let _turn = alone();
    let mut pair = Pair::start();
    let event_ns = now_ns();
    pair.a.process.signal(Signal::TERM).unwrap();
    pair.served_by(pair.lab.b());
    let status = pair.a.process.wait(LIMIT).unwrap();
    let report = pair.report(event_ns);
    println!("SIGTERM: {} probes lost, gap {:?}", report.lost, report.gap);
    assert!(status.success(), "{status}");
    assert!(report.lost <= STALL, "{report:?}");
    let resigned = pair.wire.adverts("a", event_ns);
    assert_eq!(
        resigned.last().and_then(xtask::lab::Frame::priority),
        Some(0),
        "{resigned:?}"
    );
    assert!(!pair.lab.a().holds(pair.address));
    assert_eq!(pair.only_owner(), pair.lab.b().id);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn on_ipv6_a_stop_and_a_return_lose_nothing_and_a_crash_little() {
    let _turn = alone();
    let ipv6 = |priority| v3(priority).ipv6();
    let mut pair = Pair::serving(VIP6.into(), &Settings::default(), ipv6);
    let stop_ns = now_ns();
    pair.a.process.signal(Signal::TERM).unwrap();
    pair.served_by(pair.lab.b());
    let stop = pair.report(stop_ns);
    let return_ns = now_ns();
    pair.restart_a(&ipv6(HIGH));
    pair.served_by(pair.lab.a());
    let back = pair.report(return_ns);
    let kill_ns = now_ns();
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.served_by(pair.lab.b());
    let crash = pair.report(kill_ns);
    println!(
        "IPv6: SIGTERM {} lost, return {} lost, SIGKILL {} lost, gap {:?}",
        stop.lost, back.lost, crash.lost, crash.gap
    );
    assert!(
        stop.lost <= STALL && back.lost <= STALL,
        "{stop:?} {back:?}"
    );
    assert!(crash.gap <= v3(LOW).down_interval() + NOISE, "{crash:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_return_of_the_higher_priority_loses_nothing() {
    let _turn = alone();
    let mut pair = Pair::start();
    pair.a.process.signal(Signal::TERM).unwrap();
    pair.served_by(pair.lab.b());
    let event_ns = now_ns();
    pair.restart_a(&v3(HIGH));
    pair.served_by(pair.lab.a());
    let report = pair.report(event_ns);
    println!("preempt: {} probes lost, gap {:?}", report.lost, report.gap);
    assert!(report.lost <= STALL, "{report:?}");
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    let yielded = pair
        .wire
        .adverts("b", event_ns)
        .last()
        .map(|frame| frame.at_ns);
    let first = pair.wire.adverts("a", event_ns)[0].at_ns;
    assert!(
        yielded.is_none_or(|last| last < first + INTERVAL.as_nanos() as u64),
        "b stops advertising when it hears a"
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn without_preemption_the_lower_priority_keeps_serving() {
    let _turn = alone();
    let mut pair = Pair::with(&Default::default(), |priority| v3(priority).nopreempt());
    pair.a.process.signal(Signal::TERM).unwrap();
    pair.served_by(pair.lab.b());
    let event_ns = now_ns();
    pair.restart_a(&v3(HIGH).nopreempt());
    pair.a.wait_for(VI, "Backup", LIMIT).unwrap();
    stays("b serves", 10 * INTERVAL, || pair.a.state(VI) != "Active").unwrap();
    let report = pair.report(event_ns);
    assert_eq!(report.owners(), [pair.lab.b().id], "{report:?}");
    assert!(report.lost <= STALL, "{report:?}");
    assert!(
        pair.wire.adverts("a", event_ns).is_empty(),
        "a says nothing"
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn killed_and_restarted_at_once_costs_no_more_than_a_crash() {
    let _turn = alone();
    let mut pair = Pair::start();
    let event_ns = now_ns();
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.restart_a(&v3(HIGH));
    pair.a.wait_for(VI, "Active", LIMIT).unwrap();
    pair.served_by(pair.lab.a());
    let report = pair.report(event_ns);
    println!(
        "kill and restart: {} probes lost, gap {:?}, owners {:?}",
        report.lost,
        report.gap,
        report.owners()
    );
    assert!(report.gap <= v3(LOW).down_interval() + NOISE, "{report:?}");
    assert_eq!(pair.only_owner(), pair.lab.a().id);
}
