//! The maps: names, capacities, keys and values.
//!
//! An operator reads them with `bpftool map dump pinned …`; a field's name is its documentation
//! there. `repr(C)`, padding spelled out, sizes asserted. Enums are written by the agent alone.
//! Times are nanoseconds of `CLOCK_MONOTONIC`, what `bpf_ktime_get_ns` reads.

use crate::net::{Address, Family};
use crate::verdict::Verdict;
use crate::vrrp::Checksum;

/// Version of every layout in this crate, part of the pin directory's name: a program and an
/// agent of different versions never share a map.
pub const LAYOUT_VERSION: u32 = 1;

/// Map names, at most 15 characters so that `bpftool` shows them whole.
pub mod name {
    /// `Array<Instance>` by slot.
    pub const INSTANCES: &str = "INSTANCES";
    /// `HashMap<VridKey, u32>`: the slot of a virtual router.
    pub const VRIDS: &str = "VRIDS";
    /// `Array<LastAdvert>` by slot.
    pub const ADVERTS: &str = "ADVERTS";
    /// `HashMap<[u8; 4], Vip>`.
    pub const VIPS4: &str = "VIPS4";
    /// `HashMap<Vip6Key, Vip>`.
    pub const VIPS6: &str = "VIPS6";
    /// `HashMap<PeerKey, u32>`: allowed unicast sources.
    pub const PEERS: &str = "PEERS";
    /// `LruHashMap<PeerKey, RateWindow>`.
    pub const RATES: &str = "RATES";
    /// `PerCpuArray<Verdicts>`, one entry.
    pub const VERDICTS: &str = "VERDICTS";
    /// `PerCpuArray<Verdicts>` by slot.
    pub const VRID_VERDICTS: &str = "VRID_VERDICTS";
    /// `Array<LastDrop>` by slot.
    pub const DROPS: &str = "DROPS";
    /// `LruHashMap<VridKey, Foreign>`.
    pub const FOREIGN: &str = "FOREIGN";
    /// `RingBuf` of [`crate::event::AdvertEvent`].
    pub const EVENTS: &str = "EVENTS";
}

/// Virtual routers that the maps hold unless the configuration asks for another number.
pub const DEFAULT_MAX_INSTANCES: u32 = 256;
/// Virtual addresses of each family unless the configuration asks for another number.
pub const DEFAULT_MAX_VIPS: u32 = 4096;
/// Unicast peers over all virtual routers.
pub const MAX_PEERS: u32 = 4096;
/// Sources whose rate of changed advertisements is remembered.
pub const MAX_RATES: u32 = 4096;
/// Foreign virtual routers remembered.
pub const MAX_FOREIGN: u32 = 256;
/// Bytes of the ring buffer: about 900 events, more than the rate bound lets one source send
/// while the agent is out for a lease.
pub const EVENTS_BYTES: u32 = 64 * 1024;
/// Changed advertisements that one source may send per rate window.
pub const RATE_BURST: u32 = 16;
/// Shortest rate window; else it is the instance's advertisement interval.
pub const RATE_WINDOW_MIN_NS: u64 = 100_000_000;

/// What this node may do with a virtual router's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// No election: link down, fault, not started. The address is not here.
    Initialize = 0,
    /// Another router serves. The address is not here.
    Backup = 1,
    /// This node serves while its lease lives.
    Active = 2,
    /// The peer serves; traffic still on its way to us is accepted while the lease lives,
    /// questions are not answered.
    Handover = 3,
}

/// How advertisements travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cast {
    /// To the VRRP group.
    Multicast = 0,
    /// To each configured peer.
    Unicast = 1,
}

/// A virtual router, as the program needs it. Written by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instance {
    /// Until when the role is good; the program serves nothing after it. 0: no lease.
    pub lease_until_ns: u64,
    /// Own address on the wire, the destination of unicast advertisements.
    pub local: Address,
    /// VRRPv2 password, zero-padded.
    pub auth_data: [u8; 8],
    /// Interface that advertisements arrive on.
    pub ifindex: u32,
    /// VLANs as in [`crate::net::Link::vlans`].
    pub vlans: u32,
    /// Advertisement_Interval in centiseconds.
    pub interval_cs: u16,
    /// The role.
    pub role: Role,
    /// Virtual router identifier, 1–255; 0 marks an empty slot.
    pub vrid: u8,
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// Address family.
    pub family: Family,
    /// Effective priority, for the reader of a dump.
    pub priority: u8,
    /// Lowest TTL accepted.
    pub ttl_min: u8,
    /// Multicast or unicast.
    pub cast: Cast,
    /// VRRPv2 authentication type, 0 or 1.
    pub auth_type: u8,
    /// 1: an advertisement without addresses is accepted, because this instance has none either.
    pub addressless: u8,
    /// Zero.
    pub _pad: [u8; 5],
}

const _: () = assert!(size_of::<Instance>() == 56);

/// Where a virtual router lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct VridKey {
    /// Interface.
    pub ifindex: u32,
    /// VLANs as in [`crate::net::Link::vlans`].
    pub vlans: u32,
    /// Address family: 4 or 6.
    pub family: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Zero.
    pub _pad: [u8; 2],
}

const _: () = assert!(size_of::<VridKey>() == 12);

impl VridKey {
    /// The key of `vrid`.
    #[inline(always)]
    #[must_use]
    pub const fn new(ifindex: u32, vlans: u32, family: Family, vrid: u8) -> Self {
        Self {
            ifindex,
            vlans,
            family: family as u8,
            vrid,
            _pad: [0; 2],
        }
    }
}

/// [`LastAdvert::at_ns`] while the program writes the other fields: read again.
pub const WRITING: u64 = u64::MAX;

/// The last valid advertisement of a virtual router. Written by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LastAdvert {
    /// When it arrived; 0: never.
    pub at_ns: u64,
    /// Who sent it.
    pub source: Address,
    /// [`crate::vrrp::digest`] of its address list.
    pub addresses: u32,
    /// Its interval in centiseconds, 1–25500.
    pub interval_cs: u16,
    /// Its priority; 0: the sender resigns.
    pub priority: u8,
    /// How many addresses it carried.
    pub address_count: u8,
    /// The form its checksum was right in.
    pub checksum: Checksum,
    /// Zero.
    pub _pad: [u8; 7],
}

const _: () = assert!(size_of::<LastAdvert>() == 40);

impl LastAdvert {
    /// Whether `other` says the same, apart from its time.
    #[inline(always)]
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        self.source == other.source
            && self.addresses == other.addresses
            && self.interval_cs == other.interval_cs
            && self.priority == other.priority
            && self.address_count == other.address_count
            && self.checksum as u8 == other.checksum as u8
    }
}

/// A virtual address. Written by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Vip {
    /// Slot of its instance.
    pub slot: u32,
    /// Interface on which a Backup discards its traffic.
    pub ifindex: u32,
    /// VLANs as in [`crate::net::Link::vlans`].
    pub vlans: u32,
    /// Prefix length, for the reader of a dump.
    pub prefix_len: u32,
}

const _: () = assert!(size_of::<Vip>() == 16);

/// An IPv6 virtual address; a link-local one belongs to one interface (RFC 4007).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Vip6Key {
    /// The address.
    pub address: Address,
    /// The interface of a link-local address, else 0.
    pub ifindex: u32,
}

const _: () = assert!(size_of::<Vip6Key>() == 20);

/// Whether `address` is in fe80::/10.
#[inline(always)]
#[must_use]
pub const fn is_link_local(address: &Address) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// A source of advertisements of one virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PeerKey {
    /// The source, IPv4 mapped. First, so that it is aligned where the key is.
    pub address: Address,
    /// Slot of the instance.
    pub slot: u32,
}

const _: () = assert!(size_of::<PeerKey>() == 20);

/// How many changed advertisements a source sent in its current window. Written by the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RateWindow {
    /// Start of the window.
    pub since_ns: u64,
    /// Advertisements in it.
    pub count: u64,
}

const _: () = assert!(size_of::<RateWindow>() == 16);

/// The last advertisement that was discarded. Written by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LastDrop {
    /// When; 0: never.
    pub at_ns: u64,
    /// Who sent it.
    pub source: Address,
    /// Why.
    pub verdict: Verdict,
    /// Its version field.
    pub version: u8,
    /// Its priority field.
    pub priority: u8,
    /// Its interval in centiseconds, as its version field says.
    pub interval_cs: u16,
}

const _: () = assert!(size_of::<LastDrop>() == 32);

/// A virtual router that is not configured here. Written by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Foreign {
    /// When it was heard last.
    pub at_ns: u64,
    /// Who sent it.
    pub source: Address,
    /// How many advertisements were heard.
    pub count: u32,
    /// Its version field.
    pub version: u8,
    /// Its priority field.
    pub priority: u8,
    /// Zero.
    pub _pad: [u8; 2],
}

const _: () = assert!(size_of::<Foreign>() == 32);

#[cfg(feature = "user")]
mod pod {
    #![expect(
        clippy::undocumented_unsafe_blocks,
        reason = "one argument for all of them, given below"
    )]
    // `repr(C)`, no padding that is not spelled out (sizes asserted above), no pointers. The enum
    // fields are written either by the agent or by the program of the same LAYOUT_VERSION, whose
    // version is part of the pin path, so that no other bit pattern is read back.
    use super::*;
    use crate::verdict::Verdicts;
    unsafe impl aya::Pod for Instance {}
    unsafe impl aya::Pod for VridKey {}
    unsafe impl aya::Pod for LastAdvert {}
    unsafe impl aya::Pod for Vip {}
    unsafe impl aya::Pod for Vip6Key {}
    unsafe impl aya::Pod for PeerKey {}
    unsafe impl aya::Pod for RateWindow {}
    unsafe impl aya::Pod for LastDrop {}
    unsafe impl aya::Pod for Foreign {}
    unsafe impl aya::Pod for Verdicts {}
}
