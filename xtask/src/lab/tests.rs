//! The lab itself, tried with a pair of keepalived.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn pair(lab: &Lab, instance: impl Fn(u8) -> Instance) -> Result<(Keepalived, Keepalived)> {
    let b = Keepalived::start(lab.b(), &[instance(100)])?;
    let a = Keepalived::start(lab.a(), &[instance(200)])?;
    Ok((a, b))
}

fn v3(priority: u8) -> Instance {
    Instance::new(3, priority, Duration::from_millis(100))
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_client_sees_the_address_move_when_the_cable_is_cut() -> Result<()> {
    let lab = Lab::pair()?;
    let _echoes = lab.serve(VIP4.into())?;
    let wire = lab.wire()?;
    let (_a, _b) = pair(&lab, v3)?;
    let probe = Probe::start(lab.client(), VIP4.into())?;
    wait_until("a serves", LIMIT, || probe.owner() == Some(lab.a().id))?;

    let cut_ns = now_ns();
    lab.cut_cable(lab.a())?;
    wait_until("b serves", LIMIT, || probe.owner() == Some(lab.b().id))?;
    let report = probe.since(cut_ns);
    ensure!(
        report.owner() == Some(lab.b().id) && report.lost > 100,
        "{report:?}"
    );
    ensure!(!wire.adverts("b", cut_ns).is_empty(), "b advertises");
    ensure!(
        !wire.announcements("b", VIP4.into(), cut_ns).is_empty(),
        "b announces"
    );

    lab.restore_cable(lab.a())?;
    wait_until("a serves again", LIMIT, || {
        probe.owner() == Some(lab.a().id)
    })
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_black_hole_keeps_the_carrier() -> Result<()> {
    let lab = Lab::pair()?;
    let carrier = |up: bool| -> Result<bool> {
        let text = lab.a().netns.ip(&["link", "show", "dev", INTERFACE])?;
        Ok(text.contains("LOWER_UP") == up)
    };
    let answers = || who_has(lab.client(), lab.a().ipv4(), Duration::from_millis(50));
    wait_until("a answers", LIMIT, || {
        answers().is_ok_and(|macs| macs == [lab.a().mac()])
    })?;
    lab.black_hole(lab.a())?;
    ensure!(
        answers()?.is_empty() && carrier(true)?,
        "silent, carrier up"
    );
    lab.end_black_hole(lab.a())?;
    ensure!(answers()? == [lab.a().mac()], "back");
    lab.cut_cable(lab.a())?;
    wait_until("a loses its carrier", LIMIT, || {
        carrier(false).unwrap_or(false)
    })
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_partition_hides_the_routers_from_each_other_but_not_from_the_client() -> Result<()> {
    let lab = Lab::pair()?;
    let hears = |node: &Node, other: &Node| {
        who_has(node, other.ipv4(), Duration::from_millis(50)).is_ok_and(|macs| !macs.is_empty())
    };
    wait_until("the ports are up", LIMIT, || hears(lab.a(), lab.b()))?;
    lab.partition()?;
    ensure!(
        !hears(lab.a(), lab.b()) && hears(lab.client(), lab.a()) && hears(lab.client(), lab.b())
    );
    lab.heal()?;
    ensure!(hears(lab.a(), lab.b()));
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces"]
fn two_owners_are_seen() -> Result<()> {
    let lab = Lab::pair()?;
    lab.a().add_address("10.77.0.100/24")?;
    lab.b().add_address("10.77.0.100/24")?;
    let owners: BTreeSet<Mac> = who_has(lab.client(), VIP4, Duration::from_millis(100))?
        .into_iter()
        .collect();
    ensure!(
        owners == BTreeSet::from([lab.a().mac(), lab.b().mac()]),
        "{owners:?}"
    );
    ensure!(lab.a().holds(VIP4.into()));
    ensure!(claims(
        lab.client(),
        VIP4,
        lab.b(),
        Duration::from_millis(50)
    )?);
    lab.b().remove_address("10.77.0.100/24")?;
    ensure!(!claims(
        lab.client(),
        VIP4,
        lab.b(),
        Duration::from_millis(50)
    )?);
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces"]
fn ipv6_works_at_once() -> Result<()> {
    let lab = Lab::pair()?;
    let _echoes = lab.serve(VIP6.into())?;
    let wire = lab.wire()?;
    let begin_ns = now_ns();
    let (_a, _b) = pair(&lab, |priority| v3(priority).ipv6())?;
    let probe = Probe::start(lab.client(), VIP6.into())?;
    wait_until("a serves", LIMIT, || probe.owner() == Some(lab.a().id))?;
    ensure!(!wire.announcements("a", VIP6.into(), begin_ns).is_empty());
    ensure!(lab.a().holds(VIP6.into()));
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces"]
fn nothing_is_left_behind() -> Result<()> {
    let lab = Lab::pair()?;
    let a = Keepalived::start(lab.a(), &[v3(200)])?;
    wait_until("a serves", LIMIT, || lab.a().holds(VIP4.into()))?;
    let (pid, folder) = (a.process.pid(), lab.folder().to_owned());
    let netns = lab.a().netns.path();
    drop(lab);
    drop(a);
    ensure!(!netns.exists() && !folder.exists());
    ensure!(!Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces"]
fn every_event_is_measured() -> Result<()> {
    let profile = Profile::ALL[1];
    let measured = measure(&Daemon::Keepalived, profile, &Event::ALL, 1)?;
    println!("{}", table("keepalived", profile, &measured));
    let crash = measured.iter().find(|m| m.event == Event::CutCable);
    ensure!(
        crash.is_some_and(|m| m.gap < profile.limit() * 2 && m.lost > 100),
        "{measured:?}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_foreign_program_is_attached_and_detached() -> Result<()> {
    let lab = Lab::pair()?;
    let id = attach_foreign(lab.a())?;
    ensure!(lab.a().xdp()?.is_some_and(|(other, _)| other == id));
    detach_foreign(lab.a())
}
