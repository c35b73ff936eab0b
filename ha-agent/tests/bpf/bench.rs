//! The program under test with a fixed configuration, in a network namespace of its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::{HashMap as BpfHashMap, Map, MapData};
use aya::programs::{TestRun, TestRunOptions};
use ha_agent::dataplane::{Dataplane, Desired, DesiredAddress, DesiredRouter, Fast, Options};
use ha_common::maps::{Cast, Instance, PeerKey, RateWindow, Role, name};
use ha_common::net::{Address, Family, mapped};
use ha_common::verdict::{Fate, Verdict, Verdicts};

use crate::frames::{PEER4, global, link_local};

/// Interface that carries the virtual routers.
pub(crate) const LAN: u32 = 2;
/// Another interface of the node.
pub(crate) const UPLINK: u32 = 3;
/// This node's address on [`LAN`].
pub(crate) const OWN4: [u8; 4] = [192, 0, 2, 1];
pub(crate) const OWN6: Address = link_local(1);
pub(crate) const PASSWORD: [u8; 8] = *b"secret\0\0";
/// A lease that no test outlives.
pub(crate) const FOREVER: u64 = u64::MAX;

/// A pin directory that goes with its owner, and takes every pin along.
pub(crate) struct PinDir(pub(crate) PathBuf);

impl PinDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ha-test-{}-{number}", std::process::id());
        Self(Path::new("/sys/fs/bpf").join(name))
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        let version = ha_common::maps::LAYOUT_VERSION;
        self.0.join(format!("v{version}")).join(name)
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            pin_dir: self.0.clone(),
            ..Options::default()
        }
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        if let Err(error) = ha_agent::dataplane::remove_pins(&self.0) {
            eprintln!("left behind: {error}");
        }
    }
}

/// Moves this thread into a network namespace of its own, which ends with it.
pub(crate) fn enter_namespace() {
    // SAFETY: changes the calling thread alone.
    let done = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(done, 0, "unshare: {}", io::Error::last_os_error());
}

/// Runs a command that must succeed, in the namespace of this thread; returns what it prints.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command has a word");
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One virtual router of the fixed configuration.
pub(crate) struct Router {
    pub(crate) instance: Instance,
    pub(crate) peers: Vec<IpAddr>,
    pub(crate) addresses: Vec<DesiredAddress>,
}

/// Every kind of virtual router, one per slot: the VRID says which.
///
/// | VRID | what |
/// | ---- | ---- |
/// | 10 Backup, 11 Active, 12 Active too long, 13 Handover, 14 Handover too long, 15 Initialize | IPv4 |
/// | 20, 21 | VRRPv2 without and with a password |
/// | 22 | unicast |
/// | 23, 24 | on VLAN 100, and on VLAN 100 inside 7 |
/// | 25, 26 | without addresses, and with any TTL |
/// | 30 Backup, 31 Active, 32 Active too long, 33 unicast | IPv6 |
pub(crate) fn routers(interval_cs: u16) -> Vec<Router> {
    let v4 = |vrid: u8, role, lease_until_ns| {
        router(interval_cs, vrid, Family::Ipv4, role, lease_until_ns)
    };
    let v6 = |vrid: u8, role, lease_until_ns| {
        router(interval_cs, vrid, Family::Ipv6, role, lease_until_ns)
    };
    let mut all = vec![
        v4(10, Role::Backup, 0),
        v4(11, Role::Active, FOREVER),
        v4(12, Role::Active, 1),
        v4(13, Role::Handover, FOREVER),
        v4(14, Role::Handover, 1),
        v4(15, Role::Initialize, FOREVER),
        v4(20, Role::Backup, 0),
        v4(21, Role::Backup, 0),
        v4(22, Role::Backup, 0),
        v4(23, Role::Backup, 0),
        v4(24, Role::Backup, 0),
        v4(25, Role::Backup, 0),
        v4(26, Role::Backup, 0),
        v6(30, Role::Backup, 0),
        v6(31, Role::Active, FOREVER),
        v6(32, Role::Active, 1),
        v6(33, Role::Backup, 0),
    ];
    for router in &mut all {
        let instance = &mut router.instance;
        match instance.vrid {
            20 => instance.version = 2,
            21 => {
                instance.version = 2;
                instance.auth_type = 1;
                instance.auth_data = PASSWORD;
            }
            22 => {
                instance.cast = Cast::Unicast;
                router.peers = vec![Ipv4Addr::from(PEER4).into()];
            }
            23 => instance.vlans = 100,
            24 => instance.vlans = 7 << 16 | 100,
            25 => {
                instance.addressless = 1;
                router.addresses.clear();
            }
            26 => instance.ttl_min = 1,
            33 => {
                instance.cast = Cast::Unicast;
                router.peers = vec![Ipv6Addr::from(link_local(2)).into()];
            }
            _ => {}
        }
        for address in &mut router.addresses {
            address.vlans = instance.vlans;
        }
    }
    all
}

fn router(interval_cs: u16, vrid: u8, family: Family, role: Role, lease_until_ns: u64) -> Router {
    let on_lan = |address: IpAddr, prefix_len| DesiredAddress {
        address,
        prefix_len,
        ifindex: LAN,
        vlans: 0,
    };
    let global = on_lan(Ipv6Addr::from(global(vrid)).into(), 64);
    Router {
        instance: Instance {
            lease_until_ns,
            local: match family {
                Family::Ipv4 => mapped(OWN4),
                Family::Ipv6 => OWN6,
            },
            auth_data: [0; 8],
            ifindex: LAN,
            vlans: 0,
            interval_cs,
            role,
            vrid,
            version: 3,
            family,
            priority: 90,
            ttl_min: 255,
            cast: Cast::Multicast,
            auth_type: 0,
            addressless: 0,
            _pad: [0; 5],
        },
        peers: Vec::new(),
        // An IPv4 virtual router may carry IPv6 addresses too.
        addresses: match family {
            Family::Ipv4 => vec![on_lan(Ipv4Addr::new(192, 0, 2, vrid).into(), 24), global],
            Family::Ipv6 => vec![on_lan(Ipv6Addr::from(link_local(vrid)).into(), 128), global],
        },
    }
}

/// The slot that [`routers`] gives `vrid`.
pub(crate) fn slot_of(vrid: u8) -> u32 {
    let found = routers(100).iter().position(|r| r.instance.vrid == vrid);
    found.expect("a VRID of the fixed configuration") as u32
}

/// The loaded program, configured.
pub(crate) struct Bench {
    pub(crate) dataplane: Dataplane,
    pub(crate) fast: Fast,
    pub(crate) routers: Vec<Router>,
    pub(crate) pins: PinDir,
    rates: BpfHashMap<MapData, PeerKey, RateWindow>,
}

/// What the kernel said of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) fate: Fate,
    pub(crate) unchanged: bool,
}

impl Bench {
    /// A configured program whose virtual routers advertise every `interval_cs`.
    pub(crate) fn new(interval_cs: u16) -> Self {
        Self::with(routers(interval_cs))
    }

    pub(crate) fn with(routers: Vec<Router>) -> Self {
        enter_namespace();
        run("ip link add lan index 2 type veth peer name uplink index 3");
        let pins = PinDir::new();
        let (mut dataplane, mut fast) =
            Dataplane::open(&pins.options()).unwrap_or_else(|error| panic!("{}", chain(&error)));
        for (slot, router) in routers.iter().enumerate() {
            fast.set_instance(slot as u32, &router.instance);
        }
        dataplane.apply(&desired(&routers)).unwrap();
        let rates = MapData::from_pin(pins.map(name::RATES)).unwrap();
        let rates = Map::from_map_data(rates).unwrap().try_into().unwrap();
        Self {
            dataplane,
            fast,
            routers,
            pins,
            rates,
        }
    }

    /// Nothing was heard yet.
    pub(crate) fn reset(&mut self) {
        while self.fast.next_event().is_some() {}
        for (slot, router) in self.routers.iter().enumerate() {
            self.fast.clear(slot as u32);
            self.fast.set_instance(slot as u32, &router.instance);
        }
        let keys: Vec<PeerKey> = self.rates.keys().collect::<Result<_, _>>().unwrap();
        for key in keys {
            self.rates.remove(&key).unwrap();
        }
    }

    pub(crate) fn run(&mut self, ifindex: u32, frame: &[u8]) -> Ran {
        let mut context = [0u8; 24];
        context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
        let mut out = vec![0; frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let program = self.dataplane.program().unwrap();
        let result = program.test_run(options).unwrap();
        let fate = match result.return_value {
            1 => Fate::Drop,
            2 => Fate::Pass,
            other => panic!("XDP action {other}"),
        };
        Ran {
            fate,
            unchanged: &out[..result.data_size_out as usize] == frame,
        }
    }

    /// Runs a frame and returns the one verdict that was counted for it, once.
    pub(crate) fn verdict(&mut self, ifindex: u32, frame: &[u8]) -> Verdict {
        let before = self.dataplane.counters().unwrap();
        let ran = self.run(ifindex, frame);
        let verdict = one(&before, &self.dataplane.counters().unwrap());
        assert_eq!(ran.fate, verdict.fate(), "fate of {}", verdict.name());
        assert!(ran.unchanged, "{}: the frame was changed", verdict.name());
        verdict
    }
}

/// The verdict by which two counters differ, by one.
pub(crate) fn one(before: &Verdicts, after: &Verdicts) -> Verdict {
    let grown = difference(before, after);
    assert!(
        grown.len() == 1 && grown.values().all(|&by| by == 1),
        "one frame, counted as {grown:?}"
    );
    *grown.keys().next().unwrap()
}

pub(crate) fn difference(before: &Verdicts, after: &Verdicts) -> HashMap<Verdict, u64> {
    Verdict::ALL
        .into_iter()
        .map(|verdict| (verdict, after.get(verdict) - before.get(verdict)))
        .filter(|(_, by)| *by != 0)
        .collect()
}

pub(crate) fn desired(routers: &[Router]) -> Desired {
    let routers = routers.iter().enumerate();
    Desired {
        routers: routers
            .map(|(slot, router)| DesiredRouter {
                slot: slot as u32,
                ifindex: router.instance.ifindex,
                vlans: router.instance.vlans,
                family: router.instance.family,
                vrid: router.instance.vrid,
                peers: router.peers.clone(),
                addresses: router.addresses.clone(),
            })
            .collect(),
    }
}

/// An error and its causes, as the agent prints them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
