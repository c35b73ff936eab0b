//! Every map. Names, keys, values and what they mean: [`ha_common::maps`].
//!
//! Capacities are defaults; the agent sets those that its configuration asks for at load.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use ha_common::event::AdvertEvent;
use ha_common::maps::{
    DEFAULT_MAX_INSTANCES, DEFAULT_MAX_VIPS, EVENTS_BYTES, Foreign, Instance, LastAdvert, LastDrop,
    MAX_FOREIGN, MAX_PEERS, MAX_RATES, PeerKey, RateWindow, Vip, Vip6Key, VridKey,
};
use ha_common::verdict::Verdicts;

const INSTANCES_LEN: usize = DEFAULT_MAX_INSTANCES as usize;
const VIPS_LEN: usize = DEFAULT_MAX_VIPS as usize;
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
pub(crate) static INSTANCES: Array<Instance, INSTANCES_LEN, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static VRIDS: HashMap<VridKey, u32, INSTANCES_LEN> = HashMap::new();

#[btf_map]
pub(crate) static ADVERTS: Array<LastAdvert, INSTANCES_LEN, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static VIPS4: HashMap<[u8; 4], Vip, VIPS_LEN> = HashMap::new();

#[btf_map]
pub(crate) static VIPS6: HashMap<Vip6Key, Vip, VIPS_LEN> = HashMap::new();

#[btf_map]
pub(crate) static PEERS: HashMap<PeerKey, u32, { MAX_PEERS as usize }> = HashMap::new();

#[btf_map]
pub(crate) static RATES: LruHashMap<PeerKey, RateWindow, { MAX_RATES as usize }> =
    LruHashMap::new();

#[btf_map]
pub(crate) static VERDICTS: PerCpuArray<Verdicts, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static VRID_VERDICTS: PerCpuArray<Verdicts, INSTANCES_LEN> = PerCpuArray::new();

#[btf_map]
pub(crate) static DROPS: Array<LastDrop, INSTANCES_LEN> = Array::new();

#[btf_map]
pub(crate) static FOREIGN: LruHashMap<VridKey, Foreign, { MAX_FOREIGN as usize }> =
    LruHashMap::new();

#[btf_map]
pub(crate) static EVENTS: RingBuf<AdvertEvent, { EVENTS_BYTES as usize }> = RingBuf::new();

/// Scratch of [`crate::packet::forget`].
#[btf_map]
pub(crate) static OFFSET: PerCpuArray<u64, 1> = PerCpuArray::new();

/// A map key on the stack, where the verifier wants the words of an access aligned.
#[repr(C, align(8))]
pub(crate) struct Key<K>(pub(crate) K);
