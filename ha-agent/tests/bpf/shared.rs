//! The maps between two loads: what is adopted, what is made anew, what `apply` changes.

use std::net::{IpAddr, Ipv4Addr};

use ha_agent::dataplane::{Dataplane, Desired, Error, Options};
use ha_common::maps::{Role, VridKey, name};
use ha_common::net::Family;
use ha_common::verdict::Verdict;

use crate::bench::{Bench, FOREVER, LAN, PinDir, desired, routers, run, slot_of};
use crate::frames::{Advert, Ipv4, TCP};

fn vip_frame(vrid: u8) -> Vec<u8> {
    Ipv4::to([192, 0, 2, vrid], TCP, &[0; 20]).frame()
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn second_load_adopts_what_the_first_left() {
    let mut bench = Bench::new(100);
    bench.fast.set_role(slot_of(10), Role::Active, FOREVER);
    bench.run(LAN, &Advert::v3(11).frame());
    let counted = bench.dataplane.counters().unwrap();
    let heard = bench.fast.last_advert(slot_of(11)).unwrap();

    let (mut second, mut fast) = Dataplane::open(&bench.pins.options()).unwrap();
    assert_eq!(second.counters().unwrap(), counted);
    assert_eq!(fast.last_advert(slot_of(11)), Some(heard));
    let instance = fast.instance(slot_of(10)).unwrap();
    assert_eq!(
        (instance.role, instance.lease_until_ns),
        (Role::Active, FOREVER)
    );
    assert_eq!(fast.next_event().map(|event| event.advert), Some(heard));
    let mut slots = second.slots().unwrap();
    slots.sort_by_key(|(_, slot)| *slot);
    assert_eq!(slots.len(), bench.routers.len());
    assert_eq!(slots[0], (VridKey::new(LAN, 0, Family::Ipv4, 10), 0));
    // The same again writes nothing and forgets nothing.
    second.apply(&desired(&routers(100))).unwrap();
    assert_eq!(
        second.vrid_counters(slot_of(11)).unwrap(),
        bench.dataplane.vrid_counters(slot_of(11)).unwrap()
    );
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn map_of_another_shape_is_made_anew_and_the_others_stay() {
    let mut bench = Bench::new(100);
    bench.run(LAN, &vip_frame(11));
    let counted = bench.dataplane.counters().unwrap();
    let options = Options {
        max_vips: 77,
        ..bench.pins.options()
    };
    let (second, fast) = Dataplane::open(&options).unwrap();
    assert_eq!(second.counters().unwrap(), counted);
    assert!(fast.instance(slot_of(11)).is_some());
    let dump = run(&format!(
        "bpftool -j map show pinned {}",
        bench.pins.map(name::VIPS4).display()
    ));
    assert!(dump.contains("\"max_entries\":77"), "{dump}");
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn apply_takes_away_what_is_no_longer_wanted() {
    let mut bench = Bench::new(100);
    assert_eq!(bench.verdict(LAN, &vip_frame(10)), Verdict::FenceTraffic);
    assert_eq!(
        bench.verdict(LAN, &Advert::v3(10).frame()),
        Verdict::AdvertChanged
    );

    let mut wanted = desired(&routers(100));
    wanted.routers[0].addresses[0].address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 110));
    bench.dataplane.apply(&wanted).unwrap();
    assert_eq!(bench.verdict(LAN, &vip_frame(10)), Verdict::PassNotOurs);
    assert_eq!(bench.verdict(LAN, &vip_frame(110)), Verdict::FenceTraffic);

    // Another virtual router in the same slot starts from nothing.
    assert_ne!(
        bench.dataplane.vrid_counters(0).unwrap(),
        Default::default()
    );
    wanted.routers[0].vrid = 60;
    bench.dataplane.apply(&wanted).unwrap();
    assert_eq!(
        bench.dataplane.vrid_counters(0).unwrap(),
        Default::default()
    );
    assert_eq!(
        bench.verdict(LAN, &Advert::v3(10).frame()),
        Verdict::PassForeignVrid
    );

    bench.dataplane.apply(&Desired::default()).unwrap();
    assert_eq!(bench.verdict(LAN, &vip_frame(110)), Verdict::PassNotOurs);
    assert!(bench.dataplane.slots().unwrap().is_empty());
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn more_than_fits_is_refused_before_anything_is_written() {
    crate::bench::enter_namespace();
    let pins = PinDir::new();
    let options = Options {
        max_instances: 4,
        max_vips: 4,
        ..pins.options()
    };
    let (mut dataplane, _fast) = Dataplane::open(&options).unwrap();
    let error = dataplane.apply(&desired(&routers(100))).unwrap_err();
    assert!(
        matches!(error, Error::Capacity { capacity: 4, .. }),
        "{error}"
    );
    assert!(dataplane.slots().unwrap().is_empty());
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn bpftool_shows_field_names() {
    let mut bench = Bench::new(100);
    bench.run(LAN, &Advert::v3(10).frame());
    bench.run(
        LAN,
        &Advert {
            ttl: 9,
            ..Advert::v3(10)
        }
        .frame(),
    );
    bench.run(LAN, &Advert::v3(99).frame());
    for (map, fields) in [
        (
            name::INSTANCES,
            &["lease_until_ns", "role", "Active", "Multicast"][..],
        ),
        (name::VRIDS, &["ifindex", "vrid"]),
        (
            name::ADVERTS,
            &["at_ns", "source", "priority", "PseudoHeader"],
        ),
        (name::VIPS4, &["slot", "prefix_len"]),
        (name::VIPS6, &["address", "prefix_len"]),
        (name::PEERS, &["address", "slot"]),
        (name::RATES, &["since_ns", "count"]),
        (name::VERDICTS, &["vrrp_ttl", "fence_traffic"]),
        (name::VRID_VERDICTS, &["vrrp_ttl"]),
        (name::DROPS, &["VrrpTtl", "interval_cs"]),
        (name::FOREIGN, &["count", "version"]),
    ] {
        let path = bench.pins.map(map);
        let dump = run(&format!("bpftool map dump pinned {}", path.display()));
        for field in fields {
            assert!(dump.contains(field), "{map} has no {field}:\n{dump:.2000}");
        }
    }
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn verifier_walks_a_bounded_number_of_instructions() {
    let bench = Bench::new(100);
    let walked = bench.dataplane.verified_instructions().unwrap();
    println!("{walked} instructions verified");
    // The kernel's limit is a million.
    assert!(walked < 150_000, "{walked}");
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn program_can_log() {
    crate::bench::enter_namespace();
    let pins = PinDir::new();
    let options = Options {
        log_level: Some(ha_agent::dataplane::Level::Debug),
        ..pins.options()
    };
    let (mut dataplane, _fast) = Dataplane::open(&options).unwrap();
    println!(
        "{:?} instructions verified",
        dataplane.verified_instructions()
    );
    assert!(dataplane.take_log().is_some());
}
