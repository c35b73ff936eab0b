//! The VRRP stage: what is invalid never reaches the agent, what repeats never wakes it.

use core::ptr;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_log_ebpf::debug;
use ha_common::event::AdvertEvent;
use ha_common::maps::{
    Cast, Foreign, Instance, LastAdvert, LastDrop, PeerKey, RATE_BURST, RATE_WINDOW_MIN_NS,
    RateWindow, Role, VridKey, WRITING,
};
use ha_common::net::{Ip, Link};
use ha_common::verdict::{Fate, Verdict};
use ha_common::vrrp::{self, Header};

use crate::maps::{ADVERTS, DROPS, EVENTS, FOREIGN, INSTANCES, Key, PEERS, RATES, VRIDS};
use crate::packet::{self, Packet};
use crate::stats;

const NS_PER_CS: u64 = 10_000_000;
/// Advertisement intervals of silence after which the next advertisement counts as news.
const SILENCE: u64 = 3;

/// Judges the VRRP message that `ip` carries.
#[inline(always)]
pub(crate) fn judge(packet: &Packet, link: &Link, ip: &Ip) -> Verdict {
    let Some(payload) = packet::forget(ip.payload) else {
        return Verdict::PassUnparsed;
    };
    let ip = &Ip { payload, ..*ip };
    let Some(header) = Header::load(packet, ip.payload) else {
        return Verdict::PassUnparsed;
    };
    // SAFETY: no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    let Key(key) = &Key(VridKey::new(
        packet.ifindex(),
        link.vlans,
        ip.family,
        header.vrid(),
    ));
    // SAFETY: copied at once; the slot is bounds-checked by the array.
    let slot = unsafe { VRIDS.get(key) }.copied();
    let Some((slot, instance)) =
        slot.and_then(|slot| INSTANCES.get(slot).map(|instance| (slot, instance)))
    else {
        hear_foreign(packet, key, ip, header, now);
        return Verdict::PassForeignVrid;
    };
    let verdict = match accept(packet, ip, header, slot, instance, now) {
        Ok(verdict) | Err(verdict) => verdict,
    };
    if verdict.fate() == Fate::Drop {
        record_drop(slot, ip, header, verdict, now);
    }
    if verdict != Verdict::PassVrrpTransit {
        stats::count_vrid(slot, verdict);
    }
    verdict
}

#[inline(always)]
fn accept(
    packet: &Packet,
    ip: &Ip,
    header: Header,
    slot: u32,
    instance: &Instance,
    now: u64,
) -> Result<Verdict, Verdict> {
    let mut advert = vrrp::judge(packet, ip, header, instance)?;
    advert.at_ns = now;
    let Key(sender) = &Key(PeerKey {
        address: advert.source,
        slot,
    });
    if instance.cast == Cast::Unicast && PEERS.get_ptr(sender).is_none() {
        return Err(Verdict::VrrpSource);
    }
    let last = ADVERTS.get_ptr_mut(slot).ok_or(Verdict::AdvertLost)?;
    let interval_ns = u64::from(instance.interval_cs) * NS_PER_CS;
    // SAFETY: the pointer comes from a lookup. A record that another CPU is writing compares as
    // different or as a repetition of itself: the first wakes the agent once too often, the second
    // is the truth a nanosecond early.
    if unsafe { repeats(&*last, &advert, instance, interval_ns) } {
        // SAFETY: aligned, from a lookup.
        unsafe { ptr::write_volatile(&raw mut (*last).at_ns, now) };
        return Ok(Verdict::AdvertUnchanged);
    }
    if !admit(sender, interval_ns.max(RATE_WINDOW_MIN_NS), now) {
        return Err(Verdict::VrrpRate);
    }
    // SAFETY: from a lookup, aligned.
    let previous_ns = unsafe { ptr::read_volatile(&raw const (*last).at_ns) };
    // SAFETY: from a lookup.
    unsafe { record(last, &advert) };
    debug!(
        packet,
        "slot {} advertisement changed: priority {} interval {} cs",
        slot,
        advert.priority,
        advert.interval_cs
    );
    Ok(wake(slot, advert, previous_ns))
}

/// Whether `advert` tells the agent nothing that it has to act on before its own timer fires.
#[inline(always)]
fn repeats(last: &LastAdvert, advert: &LastAdvert, instance: &Instance, interval_ns: u64) -> bool {
    advert.priority != 0
        && matches!(instance.role, Role::Backup | Role::Initialize)
        && last.at_ns != 0
        && advert.at_ns.saturating_sub(last.at_ns) <= SILENCE * interval_ns
        && last.repeats(advert)
}

/// Whether the rate bound lets `sender` say something new.
///
/// Two CPUs that open a window at once let one advertisement more through: a bound on the load of
/// the agent, not a quota.
#[inline(always)]
fn admit(sender: &PeerKey, window_ns: u64, now: u64) -> bool {
    if let Some(window) = RATES.get_ptr_mut(sender) {
        // SAFETY: from a lookup; an entry that is evicted meanwhile counts for its successor.
        let (since_ns, count) =
            unsafe { (&raw const (*window).since_ns, &raw mut (*window).count) };
        // SAFETY: as above.
        if now.saturating_sub(unsafe { ptr::read_volatile(since_ns) }) <= window_ns {
            // SAFETY: as above.
            return unsafe { stats::fetch_add(count, 1) } < u64::from(RATE_BURST);
        }
    }
    let first = RateWindow {
        since_ns: now,
        count: 1,
    };
    // A table that cannot take the entry leaves the sender unbounded, not unheard.
    let _ = RATES.insert(sender, &first, u64::from(BPF_ANY));
    true
}

/// Writes the whole record; a reader that sees [`WRITING`] or two times reads again.
///
/// # Safety
/// `last` comes from a lookup.
#[inline(always)]
unsafe fn record(last: *mut LastAdvert, advert: &LastAdvert) {
    // SAFETY: the caller's promise.
    unsafe {
        let at_ns = &raw mut (*last).at_ns;
        stats::publish(at_ns, WRITING);
        ptr::write_volatile(
            last,
            LastAdvert {
                at_ns: WRITING,
                ..*advert
            },
        );
        stats::publish(at_ns, advert.at_ns);
    }
}

#[inline(always)]
fn wake(slot: u32, advert: LastAdvert, previous_ns: u64) -> Verdict {
    let Some(mut entry) = EVENTS.reserve(0) else {
        return Verdict::AdvertLost;
    };
    entry.write(AdvertEvent {
        advert,
        previous_ns,
        slot,
        _pad: 0,
    });
    entry.submit(0);
    Verdict::AdvertChanged
}

#[inline(always)]
fn record_drop(slot: u32, ip: &Ip, header: Header, verdict: Verdict, now: u64) {
    if let Some(drop) = DROPS.get_ptr_mut(slot) {
        let last = LastDrop {
            at_ns: now,
            source: ip.source,
            verdict,
            version: header.version(),
            priority: header.priority(),
            interval_cs: header.interval_cs(),
        };
        // SAFETY: from a lookup. Two CPUs may mix their records; it is a hint for the operator.
        unsafe { ptr::write(drop, last) };
    }
}

#[inline(always)]
fn hear_foreign(packet: &Packet, key: &VridKey, ip: &Ip, header: Header, now: u64) {
    if let Some(foreign) = FOREIGN.get_ptr_mut(key) {
        // SAFETY: from a lookup. Two CPUs may mix their fields; the count is exact.
        unsafe {
            (*foreign).at_ns = now;
            (*foreign).source = ip.source;
            (*foreign).version = header.version();
            (*foreign).priority = header.priority();
            stats::increment(&raw mut (*foreign).count);
        }
        return;
    }
    let foreign = Foreign {
        at_ns: now,
        source: ip.source,
        count: 1,
        version: header.version(),
        priority: header.priority(),
        _pad: [0; 2],
    };
    let _ = FOREIGN.insert(key, &foreign, u64::from(BPF_NOEXIST));
    debug!(packet, "foreign virtual router {} heard", key.vrid);
}
