//! What an operator does: look, reload, clean up, share a machine.

use std::process::Command;
use std::time::Duration;

use xtask::lab::{Agent, Instance, Lab, Probe, Signal, VIP4, attach_foreign, now_ns, wait_until};

use crate::pair::{LIMIT, Pair, STALL, VI, alone, binary, v3};

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_maps_read_without_our_tool() {
    let pair = Pair::start();
    let maps = pair.a.maps().unwrap();
    let dump = said(
        Command::new("bpftool")
            .args(["map", "dump", "pinned"])
            .arg(maps.join("INSTANCES")),
    );
    for field in [
        "\"lease_until_ns\"",
        "\"vrid\": 51",
        "\"role\"",
        "\"priority\": 200",
    ] {
        assert!(dump.contains(field), "no {field} in {dump}");
    }
    let dump = said(
        Command::new("bpftool")
            .args(["map", "dump", "pinned"])
            .arg(maps.join("VIPS4")),
    );
    assert!(dump.contains("\"slot\": 0"), "{dump}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn status_speaks_to_people_and_programs() {
    let pair = Pair::start();
    let status = |form: &str| {
        said(
            Command::new(binary())
                .args(["status", "-o", form, "--socket"])
                .arg(pair.a.socket()),
        )
    };
    let json: serde_json::Value = serde_json::from_str(&status("json")).unwrap();
    assert_eq!(json["router_id"], "a");
    assert_eq!(json["instances"][0]["state"], "Active");
    let table = status("table");
    assert!(table.contains("Active") && table.contains(VI), "{table}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn cleanup_leaves_nothing_of_a_killed_agent() {
    let mut pair = Pair::start();
    pair.a.process.signal(Signal::KILL).unwrap();
    pair.a.process.wait(LIMIT).unwrap();
    let node = pair.lab.a();
    assert!(node.holds(pair.address) && node.xdp().unwrap().is_some());
    let mut cleanup = node.netns.tool(&binary().display().to_string());
    let said = said(cleanup.args(["cleanup", "--config"]).arg(pair.a.config()));
    println!("{said}");
    assert!(!node.holds(pair.address), "the address is gone");
    wait_until("the program to go", LIMIT, || node.xdp().unwrap().is_none()).unwrap();
    assert!(!node.pins().exists(), "the pins are gone");
    assert!(!pair.a.socket().exists(), "the socket is gone");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_graceful_stop_leaves_nothing() {
    let mut pair = Pair::start();
    pair.a.process.signal(Signal::TERM).unwrap();
    let status = pair.a.process.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}");
    assert!(!pair.lab.a().holds(pair.address), "the address is gone");
    assert!(!pair.a.socket().exists(), "the socket is gone");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_reload_changes_priority_and_addresses_without_a_lost_packet() {
    let _turn = alone();
    let pair = Pair::start();
    let before = pair.transitions();
    let event_ns = now_ns();
    let mut instance = v3(150);
    pair.a.rewrite(&[instance.clone()]).unwrap();
    pair.a.process.signal(Signal::HUP).unwrap();
    wait_until("the new priority", LIMIT, || {
        pair.a
            .instance(VI)
            .is_ok_and(|status| status["effective_priority"] == 150)
    })
    .unwrap();
    wait_until("the new priority on the wire", LIMIT, || {
        pair.wire
            .adverts("a", event_ns)
            .last()
            .and_then(xtask::lab::Frame::priority)
            == Some(150)
    })
    .unwrap();

    instance.addresses.push("10.77.0.101/24".to_owned());
    pair.a.rewrite(&[instance.clone()]).unwrap();
    pair.a.process.signal(Signal::HUP).unwrap();
    wait_until("the second address", LIMIT, || {
        pair.lab.a().holds([10, 77, 0, 101].into())
    })
    .unwrap();
    instance.addresses.pop();
    pair.a.rewrite(&[instance]).unwrap();
    pair.a.process.signal(Signal::HUP).unwrap();
    wait_until("the second address to go", LIMIT, || {
        !pair.lab.a().holds([10, 77, 0, 101].into())
    })
    .unwrap();

    let report = pair.report(event_ns);
    println!("reloads: {} lost, gap {:?}", report.lost, report.gap);
    assert_eq!(pair.transitions(), before);
    assert_eq!(report.owners(), [pair.lab.a().id]);
    assert!(report.lost <= STALL, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_reload_below_the_peer_hands_over_at_once() {
    let _turn = alone();
    let pair = Pair::start();
    let event_ns = now_ns();
    pair.a.rewrite(&[v3(50)]).unwrap();
    pair.a.process.signal(Signal::HUP).unwrap();
    pair.served_by(pair.lab.b());
    let report = pair.report(event_ns);
    println!("lowered: {} lost, gap {:?}", report.lost, report.gap);
    assert_eq!(pair.only_owner(), pair.lab.b().id);
    assert!(report.lost <= STALL, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_broken_file_at_reload_changes_nothing() {
    let mut pair = Pair::start();
    let before = pair.transitions();
    std::fs::write(pair.a.config(), "[agent\n").unwrap();
    let logged = pair.a.process.log().len();
    pair.a.process.signal(Signal::HUP).unwrap();
    wait_until("a word about it", LIMIT, || {
        pair.a.process.log().len() > logged
    })
    .unwrap();
    println!("{}", &pair.a.process.log()[logged..]);
    assert!(pair.a.process.is_running());
    assert_eq!(pair.transitions(), before);
    assert_eq!(pair.only_owner(), pair.lab.a().id);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_foreign_program_is_left_alone_and_named() {
    let lab = Lab::pair().unwrap();
    let id = attach_foreign(lab.a()).unwrap();
    let mut agent = Agent::start(binary(), lab.a(), &[v3(200)]).unwrap();
    let named = format!("id {id}");
    wait_until("the agent to name the program", LIMIT, || {
        agent.process.log().contains(&named)
    })
    .unwrap();
    assert_eq!(
        lab.a().xdp().unwrap().map(|(id, _)| id),
        Some(id),
        "still there"
    );
    // Unfenced it must not serve.
    if agent.process.is_running() {
        assert_ne!(agent.state(VI), "Active");
    }
    assert!(!lab.a().holds(VIP4.into()));
}

#[test]
#[ignore = "needs root: network namespaces"]
fn two_instances_share_the_load_and_one_router_carries_both() {
    let _turn = alone();
    let lab = Lab::pair().unwrap();
    let second = [10, 77, 0, 101];
    let _echoes = (
        lab.serve(VIP4.into()).unwrap(),
        lab.serve(second.into()).unwrap(),
    );
    let instances = |one, two| {
        let first = v3(one);
        let other = Instance {
            name: "VI_2".to_owned(),
            vrid: 52,
            addresses: vec!["10.77.0.101/24".to_owned()],
            ..v3(two)
        };
        [first, other]
    };
    let _b = Agent::start(binary(), lab.b(), &instances(100, 200)).unwrap();
    let _a = Agent::start(binary(), lab.a(), &instances(200, 100)).unwrap();
    let one = Probe::start(lab.client(), VIP4.into()).unwrap();
    let two = Probe::start(lab.client(), second.into()).unwrap();
    let served = |by_one: u8, by_two: u8| {
        wait_until("both addresses to be served", LIMIT, || {
            one.owner() == Some(by_one) && two.owner() == Some(by_two)
        })
        .unwrap();
    };
    served(lab.a().id, lab.b().id);
    let cut_ns = now_ns();
    lab.cut_cable(lab.a()).unwrap();
    served(lab.b().id, lab.b().id);
    assert!(
        two.since(cut_ns).gap < Duration::from_millis(250),
        "VI_2 is not touched"
    );
    lab.restore_cable(lab.a()).unwrap();
    served(lab.a().id, lab.b().id);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn of_three_routers_the_highest_that_lives_serves() {
    let _turn = alone();
    let lab = Lab::trio().unwrap();
    let _echoes = lab.serve(VIP4.into()).unwrap();
    let probe = Probe::start(lab.client(), VIP4.into()).unwrap();
    let served_by = |id: u8| {
        wait_until(&format!("router {id} to serve"), LIMIT, || {
            probe.owner() == Some(id)
        })
        .unwrap();
    };
    let c = Agent::start(binary(), lab.c(), &[v3(100)]).unwrap();
    let b = Agent::start(binary(), lab.b(), &[v3(150)]).unwrap();
    let a = Agent::start(binary(), lab.a(), &[v3(200)]).unwrap();
    served_by(lab.a().id);
    a.process.signal(Signal::KILL).unwrap();
    served_by(lab.b().id);
    b.process.signal(Signal::KILL).unwrap();
    served_by(lab.c().id);
    assert_eq!(c.state(VI), "Active");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_reload_that_cannot_add_an_instance_says_so_and_disturbs_nothing() {
    let _turn = alone();
    let pair = Pair::start();
    let before = pair.transitions();
    let event_ns = now_ns();
    let second = Instance {
        name: "VI_2".to_owned(),
        vrid: 52,
        addresses: vec!["10.77.0.101/24".to_owned()],
        ..v3(200)
    };
    pair.a.rewrite(&[v3(200), second]).unwrap();
    pair.a.process.signal(Signal::HUP).unwrap();
    wait_until("a word about it", LIMIT, || {
        pair.a
            .process
            .log()
            .contains("VI_2: added (needs a restart)")
    })
    .unwrap();
    assert!(pair.a.instance("VI_2").is_err());
    let report = pair.report(event_ns);
    assert_eq!(pair.transitions(), before);
    assert_eq!(report.owners(), [pair.lab.a().id]);
    assert!(report.lost <= STALL, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_second_agent_on_the_same_node_is_refused_and_harms_nothing() {
    let pair = Pair::start();
    let before = pair.transitions();
    let mut again = Command::new(binary());
    again.args(["run", "--config"]).arg(pair.a.config());
    let mut again = pair.lab.a().spawn("again", again).unwrap();
    let status = again.wait(LIMIT).unwrap();
    assert!(!status.success());
    assert!(
        again.log().contains("another ha-agent is running"),
        "{}",
        again.log()
    );
    assert_eq!(pair.transitions(), before);
    assert_eq!(pair.only_owner(), pair.lab.a().id);
}
