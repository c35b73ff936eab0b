//! Interfaces and addresses that come, go and were there before.

use std::time::Duration;

use xtask::lab::{Agent, Lab, Signal, VIP4, now_ns, stays, wait_until};

use crate::pair::{INTERVAL, LIMIT, Pair, STALL, VI, alone, binary, v3};

#[test]
#[ignore = "needs root: network namespaces"]
fn an_interface_that_appears_late_joins_the_election() {
    let lab = Lab::pair().unwrap();
    lab.remove_interface(lab.a()).unwrap();
    let agent = Agent::start(binary(), lab.a(), &[v3(200)]).unwrap();
    agent.wait_for(VI, "Initialize", LIMIT).unwrap();
    assert_eq!(agent.instance(VI).unwrap()["reason"], "interface missing");
    lab.add_interface(lab.a()).unwrap();
    agent.wait_for(VI, "Active", LIMIT).unwrap();
    wait_until("the address", LIMIT, || lab.a().holds(VIP4.into())).unwrap();
    wait_until("the program", LIMIT, || lab.a().xdp().unwrap().is_some()).unwrap();

    // And again, as a hot-plugged card does.
    lab.remove_interface(lab.a()).unwrap();
    agent.wait_for(VI, "Initialize", LIMIT).unwrap();
    lab.add_interface(lab.a()).unwrap();
    agent.wait_for(VI, "Active", LIMIT).unwrap();
    wait_until("the address", LIMIT, || lab.a().holds(VIP4.into())).unwrap();
    wait_until("the program", LIMIT, || lab.a().xdp().unwrap().is_some()).unwrap();
}

#[test]
#[ignore = "needs root: network namespaces"]
fn an_address_deleted_by_hand_comes_back() {
    let _turn = alone();
    let pair = Pair::start();
    let event_ns = now_ns();
    pair.lab.a().remove_address("10.77.0.100/24").unwrap();
    wait_until("the address", LIMIT, || pair.lab.a().holds(pair.address)).unwrap();
    pair.served_by(pair.lab.a());
    let report = pair.report(event_ns);
    println!(
        "address deleted: {} lost, gap {:?}",
        report.lost, report.gap
    );
    assert_eq!(report.owners(), [pair.lab.a().id]);
    assert!(report.gap < Duration::from_secs(1), "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_backup_removes_the_address_of_its_dead_predecessor() {
    let _turn = alone();
    let mut pair = Pair::with(&Default::default(), |priority| v3(priority).nopreempt());
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.served_by(pair.lab.b());
    assert!(pair.lab.a().holds(pair.address));
    let event_ns = now_ns();
    pair.restart_a(&v3(200).nopreempt());
    pair.a.wait_for(VI, "Backup", LIMIT).unwrap();
    wait_until("the leftover to go", LIMIT, || {
        !pair.lab.a().holds(pair.address)
    })
    .unwrap();
    let report = pair.report(event_ns);
    assert_eq!(report.owners(), [pair.lab.b().id]);
    assert!(report.lost <= STALL, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn an_active_router_adopts_the_address_of_its_dead_predecessor() {
    let _turn = alone();
    let mut pair = Pair::start();
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.served_by(pair.lab.b());
    pair.restart_a(&v3(200));
    pair.served_by(pair.lab.a());
    assert!(pair.lab.a().holds(pair.address));
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    // It is its own again: a stop takes it away.
    pair.a.process.signal(Signal::TERM).unwrap();
    pair.a.process.wait(LIMIT).unwrap();
    assert!(!pair.lab.a().holds(pair.address));
}

#[test]
#[ignore = "needs root: network namespaces"]
fn an_address_that_is_not_virtual_is_left_alone() {
    let pair = Pair::start();
    pair.lab.a().add_address("10.77.0.200/24").unwrap();
    stays("the operator's address", 3 * INTERVAL, || {
        pair.lab.a().holds([10, 77, 0, 200].into())
    })
    .unwrap();
    pair.a.process.signal(Signal::TERM).unwrap();
    pair.served_by(pair.lab.b());
    assert!(pair.lab.a().holds([10, 77, 0, 200].into()));
    assert!(pair.lab.a().holds(pair.lab.a().ipv4().into()));
}
