//! The kernel side from user space: owns the program, its links, its pins and every map.
//!
//! Two handles, because two threads need them. [`Dataplane`] belongs to the effects task: it loads,
//! attaches, writes what the configuration says and reads counters. [`Fast`] belongs to the
//! election: shared memory for roles, leases and the last advertisements, and the ring buffer
//! that wakes it; nothing in it makes a system call but the ring's own wake-up.
//!
//! Program and maps are pinned, so that both outlive the agent. The order of a start is: `open`
//! (adopts the pinned maps), `Fast::set_instance`, [`Dataplane::apply`], and only then `attach`,
//! which swaps the program on a pinned link: no frame meets an unconfigured program.

mod fast;
mod links;
mod pins;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::Xdp;
use aya::programs::links::FdLink;
use aya::{Ebpf, EbpfError, EbpfLoader, Pod, include_bytes_aligned};
use ha_common::maps::{
    DEFAULT_MAX_INSTANCES, DEFAULT_MAX_VIPS, Foreign, LastDrop, MAX_PEERS, PeerKey, Vip, Vip6Key,
    VridKey, is_link_local, name,
};
use ha_common::net::{Address, Family, mapped};
use ha_common::verdict::Verdicts;

pub use aya_log::Level;
pub use fast::Fast;
pub use links::{Attached, Attachment, Mode};
pub use pins::remove_pins;

/// The program, or nothing when the build found no object.
static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ha-ebpf.o"));
/// Name of the entry point.
const ENTRY: &str = "ha_xdp";

/// Why the data plane does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The build found no BPF toolchain.
    #[error(
        "this binary carries no eBPF program: build it with `cargo xtask build-ebpf` and rebuild, \
         or set xdp = \"off\""
    )]
    NoProgram,
    /// Pins need a BPF filesystem.
    #[error(
        "{path} is not on a BPF filesystem: mount one with `mount -t bpf bpf /sys/fs/bpf`, or set \
         xdp = \"off\""
    )]
    NoBpffs {
        /// Where the pins should go.
        path: PathBuf,
    },
    /// The process may not use BPF.
    #[error(
        "the agent lacks {capability}: start it as root or grant it (systemd: \
         AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON CAP_NET_RAW)"
    )]
    NoCapability {
        /// The first one missing.
        capability: &'static str,
    },
    /// A pin could not be made, read or removed.
    #[error("pin {path}: cannot {verb} it; it must belong to the user that runs the agent")]
    Pin {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the program or one of its maps.
    #[error("the kernel refused the eBPF program (Linux 5.18 or newer is needed)")]
    Load(#[source] Box<EbpfError>),
    /// The embedded object is not the program that this agent was written for.
    #[error("the embedded eBPF program has no {what}: rebuild with `cargo xtask build-ebpf`")]
    Incomplete {
        /// A map or the entry point.
        what: &'static str,
    },
    /// A map operation failed.
    #[error("map {map}: cannot {verb}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What was tried.
        verb: &'static str,
        /// Why not.
        #[source]
        source: MapError,
    },
    /// More entries than the map was made for.
    #[error("map {map} holds {capacity} entries, the configuration needs {needed}: {fix}")]
    Capacity {
        /// Name of the map.
        map: &'static str,
        /// What it holds.
        capacity: u32,
        /// What is needed.
        needed: usize,
        /// What to change.
        fix: &'static str,
    },
    /// A map's memory could not be shared.
    #[error("map {map}: cannot map its memory")]
    Mmap {
        /// Name of the map.
        map: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody else's program is there.
    #[error(
        "{interface} carries another XDP program (id {id}, {program}): remove it with `{fix}`, or \
         set xdp = \"off\" for this interface"
    )]
    Foreign {
        /// Name of the interface.
        interface: String,
        /// Identifier of the program.
        id: u32,
        /// Its name.
        program: String,
        /// The command that removes it.
        fix: String,
    },
    /// The program could not be attached.
    #[error("{interface}: cannot attach the XDP program in {mode} mode: {hint}")]
    Attach {
        /// Name of the interface.
        interface: String,
        /// `native` or `generic`.
        mode: Attachment,
        /// What the error means.
        hint: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel did not say what is attached to an interface.
    #[error("{interface}: cannot ask the kernel for its XDP program")]
    Query {
        /// Name of the interface.
        interface: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// How to open the data plane.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the pins, on a BPF filesystem; one per agent.
    pub pin_dir: PathBuf,
    /// Virtual routers that the maps hold.
    pub max_instances: u32,
    /// Virtual addresses of each family that the maps hold.
    pub max_vips: u32,
    /// What the program itself logs; `None` compiles its log lines out.
    pub log_level: Option<Level>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pin_dir: PathBuf::from("/sys/fs/bpf/ha-agent"),
            max_instances: DEFAULT_MAX_INSTANCES,
            max_vips: DEFAULT_MAX_VIPS,
            log_level: None,
        }
    }
}

/// What the maps should hold, one entry per virtual router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The virtual routers, in any order.
    pub routers: Vec<DesiredRouter>,
}

/// One virtual router. Its [`Instance`](ha_common::maps::Instance) is written by [`Fast`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRouter {
    /// Its slot.
    pub slot: u32,
    /// Interface on which it speaks VRRP.
    pub ifindex: u32,
    /// VLANs as in [`ha_common::net::Link::vlans`]; 0 on an interface of its own.
    pub vlans: u32,
    /// Address family.
    pub family: Family,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Allowed sources; empty for multicast.
    pub peers: Vec<IpAddr>,
    /// Its addresses, of either family.
    pub addresses: Vec<DesiredAddress>,
}

/// One virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length, for the reader of a dump.
    pub prefix_len: u8,
    /// Interface that carries it, on which a Backup discards its traffic.
    pub ifindex: u32,
    /// VLANs as in [`ha_common::net::Link::vlans`].
    pub vlans: u32,
}

/// The loaded program with its maps, pins and links.
pub struct Dataplane {
    ebpf: Ebpf,
    pin_dir: PathBuf,
    links: HashMap<u32, FdLink>,
    vrids: BpfHashMap<MapData, VridKey, u32>,
    peers: BpfHashMap<MapData, PeerKey, u32>,
    vips4: BpfHashMap<MapData, [u8; 4], Vip>,
    vips6: BpfHashMap<MapData, Vip6Key, Vip>,
    foreign: BpfHashMap<MapData, VridKey, Foreign>,
    verdicts: PerCpuArray<MapData, Verdicts>,
    vrid_verdicts: PerCpuArray<MapData, Verdicts>,
    drops: Array<MapData, LastDrop>,
    max_instances: u32,
    max_vips: u32,
}

/// Whether an eBPF program is embedded in this binary.
#[must_use]
pub const fn carries_program() -> bool {
    !PROGRAM.is_empty()
}

impl Dataplane {
    /// Loads the program that this binary carries; attaches nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(options: &Options) -> Result<(Self, Fast), Error> {
        Self::open_object(PROGRAM, options)
    }

    fn open_object(object: &[u8], options: &Options) -> Result<(Self, Fast), Error> {
        if object.is_empty() {
            return Err(Error::NoProgram);
        }
        pins::check_filesystem(&options.pin_dir)?;
        check_capabilities()?;
        let map_dir = pins::prepare(&options.pin_dir)?;
        let shapes = pins::shapes(options);
        let paths: Vec<PathBuf> = shapes.iter().map(|map| map_dir.join(map.name)).collect();
        let log_level = options.log_level.map_or(0, |level| level as u8);

        let mut loader = EbpfLoader::new();
        loader.override_global(aya_log::LEVEL, &log_level, true);
        for (shape, path) in shapes.iter().zip(&paths) {
            pins::discard_unlike(path, shape)?;
            loader.map_max_entries(shape.name, shape.max_entries);
            loader.map_pin_path(shape.name, path.as_path());
        }
        let load = |error: EbpfError| Error::Load(Box::new(error));
        let mut ebpf = loader.load(object).map_err(load)?;
        entry(&mut ebpf)?
            .load()
            .map_err(|error| load(EbpfError::ProgramError(error)))?;

        let fast = Fast::new(
            data(take(&mut ebpf, name::INSTANCES)?)?,
            data(take(&mut ebpf, name::ADVERTS)?)?,
            typed(&mut ebpf, name::EVENTS)?,
            options.max_instances,
        )?;
        let dataplane = Self {
            vrids: typed(&mut ebpf, name::VRIDS)?,
            peers: typed(&mut ebpf, name::PEERS)?,
            vips4: typed(&mut ebpf, name::VIPS4)?,
            vips6: typed(&mut ebpf, name::VIPS6)?,
            foreign: typed(&mut ebpf, name::FOREIGN)?,
            verdicts: typed(&mut ebpf, name::VERDICTS)?,
            vrid_verdicts: typed(&mut ebpf, name::VRID_VERDICTS)?,
            drops: typed(&mut ebpf, name::DROPS)?,
            pin_dir: options.pin_dir.clone(),
            links: HashMap::new(),
            max_instances: options.max_instances,
            max_vips: options.max_vips,
            ebpf,
        };
        Ok((dataplane, fast))
    }

    /// The loaded program, for test runs.
    ///
    /// # Errors
    /// [`Error::Incomplete`].
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        entry(&mut self.ebpf)
    }

    /// Instructions that the verifier walked, where the kernel tells (Linux 5.16).
    #[must_use]
    pub fn verified_instructions(&self) -> Option<u32> {
        let program = self.ebpf.program(ENTRY)?;
        program.info().ok()?.verified_instruction_count()
    }

    /// The lines that the program logs, when [`Options::log_level`] asked for any. Once.
    #[must_use]
    pub fn take_log(&mut self) -> Option<KernelLog> {
        let mut logger = aya_log::EbpfLogger::init(&mut self.ebpf).ok()?;
        let fd = logger.as_fd().try_clone_to_owned().ok()?;
        Some(KernelLog {
            fd,
            flush: Box::new(move || logger.flush()),
        })
    }

    /// The slots that the adopted maps know: a virtual router that keeps its slot over a restart
    /// keeps its role, its lease, its last advertisement and its counters.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn slots(&self) -> Result<Vec<(VridKey, u32)>, Error> {
        entries(&self.vrids, name::VRIDS)
    }

    /// Makes the maps hold `desired`: what left is removed first, what came is added from the
    /// inside out, so that no entry points to one that is not there yet.
    ///
    /// A slot that changes its owner loses its counters and its last drop; its instance and last
    /// advertisement are [`Fast::clear`]'s.
    ///
    /// # Errors
    /// [`Error::Capacity`] before anything is written, [`Error::Map`].
    pub fn apply(&mut self, desired: &Desired) -> Result<(), Error> {
        let wanted = Wanted::of(desired);
        wanted.check_capacity(self.max_instances, self.max_vips)?;
        let known: HashMap<VridKey, u32> = self.slots()?.into_iter().collect();

        remove_others(&mut self.vips4, name::VIPS4, &wanted.vips4)?;
        remove_others(&mut self.vips6, name::VIPS6, &wanted.vips6)?;
        remove_others(&mut self.vrids, name::VRIDS, &wanted.vrids)?;
        remove_others(&mut self.peers, name::PEERS, &wanted.peers)?;
        for (key, slot) in &wanted.vrids {
            if known.get(key) != Some(slot) {
                self.forget(*slot)?;
            }
        }
        insert_all(&mut self.peers, name::PEERS, &wanted.peers)?;
        insert_all(&mut self.vrids, name::VRIDS, &wanted.vrids)?;
        insert_all(&mut self.vips4, name::VIPS4, &wanted.vips4)?;
        insert_all(&mut self.vips6, name::VIPS6, &wanted.vips6)
    }

    /// Verdicts of the node, summed over its CPUs.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn counters(&self) -> Result<Verdicts, Error> {
        sum(&self.verdicts, name::VERDICTS, 0)
    }

    /// Verdicts of the virtual router in `slot`.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn vrid_counters(&self, slot: u32) -> Result<Verdicts, Error> {
        sum(&self.vrid_verdicts, name::VRID_VERDICTS, slot)
    }

    /// The last advertisement of `slot` that was discarded.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn last_drop(&self, slot: u32) -> Result<Option<LastDrop>, Error> {
        let drop = self
            .drops
            .get(&slot, 0)
            .map_err(failed(name::DROPS, "read"))?;
        Ok((drop.at_ns != 0).then_some(drop))
    }

    /// The virtual routers heard that are not configured here.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn foreign(&self) -> Result<Vec<(VridKey, Foreign)>, Error> {
        entries(&self.foreign, name::FOREIGN)
    }

    fn forget(&mut self, slot: u32) -> Result<(), Error> {
        let cpus = aya::util::nr_cpus().map_err(|(path, source)| Error::Pin {
            path: PathBuf::from(path),
            verb: "read",
            source,
        })?;
        let zeroes = aya::maps::PerCpuValues::try_from(vec![Verdicts::default(); cpus]).map_err(
            |source| Error::Map {
                map: name::VRID_VERDICTS,
                verb: "clear a slot",
                source: MapError::IoError(source),
            },
        )?;
        self.vrid_verdicts
            .set(slot, zeroes, 0)
            .map_err(failed(name::VRID_VERDICTS, "clear a slot"))?;
        self.drops
            .set(slot, NO_DROP, 0)
            .map_err(failed(name::DROPS, "clear a slot"))
    }
}

const NO_DROP: LastDrop = LastDrop {
    at_ns: 0,
    source: [0; 16],
    verdict: ha_common::verdict::Verdict::PassOther,
    version: 0,
    priority: 0,
    interval_cs: 0,
};

/// The program's own log lines, on their way to the `log` crate's logger.
pub struct KernelLog {
    fd: OwnedFd,
    flush: Box<dyn FnMut() + Send>,
}

impl KernelLog {
    /// Hands every waiting line to the logger.
    pub fn flush(&mut self) {
        (self.flush)();
    }
}

impl AsFd for KernelLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for KernelLog {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.fd)
    }
}

/// [`Desired`] as map entries, in an order that does not depend on hashing.
#[derive(Default)]
struct Wanted {
    vrids: HashMap<VridKey, u32>,
    peers: HashMap<PeerKey, u32>,
    vips4: HashMap<[u8; 4], Vip>,
    vips6: HashMap<Vip6Key, Vip>,
}

impl Wanted {
    fn of(desired: &Desired) -> Self {
        let mut wanted = Self::default();
        for router in &desired.routers {
            let slot = router.slot;
            wanted.vrids.insert(
                VridKey::new(router.ifindex, router.vlans, router.family, router.vrid),
                slot,
            );
            for peer in &router.peers {
                let address = wire(*peer);
                wanted.peers.insert(PeerKey { slot, address }, 1);
            }
            for address in &router.addresses {
                wanted.address(slot, address);
            }
        }
        wanted
    }

    fn check_capacity(&self, max_instances: u32, max_vips: u32) -> Result<(), Error> {
        let used = [
            (
                name::VRIDS,
                self.vrids.len(),
                max_instances,
                "raise max_instances",
            ),
            (
                name::PEERS,
                self.peers.len(),
                MAX_PEERS,
                "use fewer unicast peers",
            ),
            (name::VIPS4, self.vips4.len(), max_vips, "raise max_vips"),
            (name::VIPS6, self.vips6.len(), max_vips, "raise max_vips"),
        ];
        match used
            .into_iter()
            .find(|&(_, needed, capacity, _)| needed > capacity as usize)
        {
            Some((map, needed, capacity, fix)) => Err(Error::Capacity {
                map,
                capacity,
                needed,
                fix,
            }),
            None => Ok(()),
        }
    }

    fn address(&mut self, slot: u32, wanted: &DesiredAddress) {
        let vip = Vip {
            slot,
            ifindex: wanted.ifindex,
            vlans: wanted.vlans,
            prefix_len: wanted.prefix_len.into(),
        };
        match wanted.address {
            IpAddr::V4(address) => {
                self.vips4.insert(address.octets(), vip);
            }
            IpAddr::V6(address) => {
                let address = address.octets();
                let ifindex = if is_link_local(&address) {
                    wanted.ifindex
                } else {
                    0
                };
                self.vips6.insert(Vip6Key { address, ifindex }, vip);
            }
        }
    }
}

/// The 16 bytes in which the maps carry an address.
#[must_use]
pub fn wire(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

fn entry(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(ENTRY)
        .and_then(|program| program.try_into().ok())
        .ok_or(Error::Incomplete { what: ENTRY })
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or(Error::Incomplete { what: name })
}

fn data(map: Map) -> Result<MapData, Error> {
    match map {
        Map::Array(data) => Ok(data),
        _ => Err(Error::Incomplete {
            what: "shared array",
        }),
    }
}

fn typed<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, Error> {
    T::try_from(take(ebpf, name)?).map_err(failed(name, "open it"))
}

fn failed(map: &'static str, verb: &'static str) -> impl FnOnce(MapError) -> Error {
    move |source| Error::Map { map, verb, source }
}

fn sum(
    map: &PerCpuArray<MapData, Verdicts>,
    name: &'static str,
    index: u32,
) -> Result<Verdicts, Error> {
    let per_cpu = map.get(&index, 0).map_err(failed(name, "read"))?;
    let mut total = Verdicts::default();
    per_cpu.iter().for_each(|cpu| total.add(cpu));
    Ok(total)
}

fn entries<K: Pod, V: Pod>(
    map: &BpfHashMap<MapData, K, V>,
    name: &'static str,
) -> Result<Vec<(K, V)>, Error> {
    map.iter()
        .collect::<Result<_, _>>()
        .map_err(failed(name, "read"))
}

fn remove_others<K: Pod + Eq + Hash, V: Pod>(
    map: &mut BpfHashMap<MapData, K, V>,
    name: &'static str,
    wanted: &HashMap<K, V>,
) -> Result<(), Error> {
    let held: Vec<K> = map
        .keys()
        .collect::<Result<_, _>>()
        .map_err(failed(name, "read"))?;
    for key in held.iter().filter(|key| !wanted.contains_key(key)) {
        match map.remove(key) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(source) => return Err(failed(name, "remove an entry")(source)),
        }
    }
    Ok(())
}

fn insert_all<K: Pod + Eq + Hash, V: Pod + PartialEq>(
    map: &mut BpfHashMap<MapData, K, V>,
    name: &'static str,
    wanted: &HashMap<K, V>,
) -> Result<(), Error> {
    for (key, value) in wanted {
        if map.get(key, 0).is_ok_and(|held| held == *value) {
            continue;
        }
        map.insert(key, value, 0)
            .map_err(failed(name, "add an entry"))?;
    }
    Ok(())
}

/// Refuses to start without the capabilities that loading and attaching take.
fn check_capabilities() -> Result<(), Error> {
    // /usr/include/linux/capability.h; CAP_SYS_ADMIN stands for the two that were split from it.
    const SYS_ADMIN: u64 = 1 << 21;
    const NEEDED: [(&str, u64); 3] = [
        ("CAP_BPF", 1 << 39 | SYS_ADMIN),
        ("CAP_NET_ADMIN", 1 << 12),
        ("CAP_PERFMON", 1 << 38 | SYS_ADMIN),
    ];
    // Without /proc the load itself will say what is wrong.
    let Some(effective) = effective_capabilities() else {
        return Ok(());
    };
    match NEEDED.into_iter().find(|(_, any)| effective & any == 0) {
        Some((capability, _)) => Err(Error::NoCapability { capability }),
        None => Ok(()),
    }
}

fn effective_capabilities() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let hex = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

/// Removes the file `path`; one that is not there is removed already.
fn remove_file(path: &Path) -> Result<bool, Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Pin {
            path: path.to_owned(),
            verb: "remove",
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn empty_object_says_how_to_get_a_program() {
        let error = Dataplane::open_object(&[], &Options::default()).err();
        let text = error.expect("no program").to_string();
        assert!(text.contains("cargo xtask build-ebpf"), "{text}");
    }

    #[test]
    fn link_local_address_belongs_to_its_interface() {
        let on_seven = |address| DesiredAddress {
            address,
            prefix_len: 64,
            ifindex: 7,
            vlans: 0,
        };
        let link_local: Ipv6Addr = "fe80::1".parse().expect("an address");
        let global: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let wanted = Wanted::of(&Desired {
            routers: vec![DesiredRouter {
                slot: 3,
                ifindex: 7,
                vlans: 0,
                family: Family::Ipv6,
                vrid: 1,
                peers: vec![Ipv4Addr::LOCALHOST.into()],
                addresses: vec![on_seven(link_local.into()), on_seven(global.into())],
            }],
        });
        let scope = |address: Ipv6Addr| {
            let address = address.octets();
            let mut keys = wanted.vips6.keys();
            keys.find(|key| key.address == address)
                .map(|key| key.ifindex)
        };
        assert_eq!((scope(link_local), scope(global)), (Some(7), Some(0)));
        assert!(
            wanted
                .vips6
                .values()
                .all(|vip| vip.slot == 3 && vip.ifindex == 7)
        );
        let peer = PeerKey {
            address: mapped([127, 0, 0, 1]),
            slot: 3,
        };
        assert!(wanted.peers.contains_key(&peer));
    }

    #[test]
    fn more_addresses_than_a_map_holds_are_counted_per_map() {
        let many = |count: u32| {
            let addresses = (0..count).map(|n| DesiredAddress {
                address: Ipv4Addr::from(n).into(),
                prefix_len: 32,
                ifindex: 1,
                vlans: 0,
            });
            Wanted::of(&Desired {
                routers: vec![DesiredRouter {
                    slot: 0,
                    ifindex: 1,
                    vlans: 0,
                    family: Family::Ipv4,
                    vrid: 1,
                    peers: Vec::new(),
                    addresses: addresses.collect(),
                }],
            })
        };
        assert!(many(4).check_capacity(1, 4).is_ok());
        let error = many(5).check_capacity(1, 4).expect_err("five in four");
        assert_eq!(
            error.to_string(),
            "map VIPS4 holds 4 entries, the configuration needs 5: raise max_vips"
        );
    }
}
