//! Announcements: gratuitous ARP and unsolicited neighbour advertisements, which tell a segment
//! where a virtual address is now.
//!
//! `Schedule` decides when (pure, time is an argument), [`gratuitous_arp`] and
//! [`neighbor_advertisement`] build what (pure), [`Announcer`] owns the packet socket and sends.
//! Whether an address may be announced at all is the caller's knowledge: it is asked each time.
//!
//! ```text
//! start ──► burst of count ──repeat_after──► burst of repeat_count
//!             ▲    └────────refresh───────► single ──refresh──► single ...
//! conflict ───┘  at most one burst per conflict_gap; a conflict within it gets one when it is over
//! ```
//!
//! Source: RFC 9568 §6.4.2 and §6.4.3 (when), RFC 5227 §2.3 and RFC 4861 §7.2.6 (what).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ha_common::net::{
    ARP_REQUEST, ETH_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPPROTO_ICMPV6,
    ND_NEIGHBOR_ADVERT,
};
use socket2::{Domain, Socket, Type};

use crate::config::model::Announce;
use crate::sys;
use crate::vrrp::types::Instant;

/// Pause before frames are offered again to a full send queue: about the time a gigabit link
/// takes to empty the default queue of 1000 small frames.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);
/// Pause before a slot that may not announce is asked about again. Short against the second or
/// more that caches wait, long enough to cost nothing.
const FORBIDDEN_PAUSE: Duration = Duration::from_millis(20);
/// Bytes of frames the kernel may hold for the socket: a burst of 5 for 1000 addresses.
const SEND_BUFFER: usize = 4 << 20;

/// What a slot announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Interface the announcements leave on.
    pub ifindex: u32,
    /// Link-layer address announced: the interface's.
    pub mac: [u8; 6],
    /// This node forwards IPv6: the Router flag of neighbour advertisements. A wrong zero makes
    /// hosts drop it from their default routers (RFC 4861 §7.2.5).
    pub router: bool,
    /// The virtual addresses; IPv4 is announced by ARP, IPv6 by neighbour advertisement.
    pub addresses: Vec<IpAddr>,
    /// How often.
    pub announce: Announce,
}

/// What a slot has sent since it was first started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed to the kernel.
    pub sent: u64,
    /// Frames the kernel refused, a full queue excepted: those are offered again.
    pub errors: u64,
    /// When the last frame was sent.
    pub last_sent: Option<Instant>,
}

/// The packet socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("neighbor: {step}")]
pub struct Error {
    step: &'static str,
    source: io::Error,
}

/// Sends announcements by schedule. Slots are the caller's numbers.
///
/// The caller sleeps until [`Announcer::deadline`] and calls [`Announcer::run`]; each call of
/// another method may change the deadline. Nothing blocks.
#[derive(Debug)]
pub struct Announcer {
    socket: Socket,
    slots: BTreeMap<u32, Slot>,
    counters: BTreeMap<u32, Counters>,
}

#[derive(Debug)]
struct Slot {
    ifindex: u32,
    frames: Vec<Frame>,
    schedule: Schedule,
}

#[derive(Debug)]
struct Frame {
    ethertype: u16,
    bytes: Bytes,
}

impl Announcer {
    /// Opens the packet socket, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No `CAP_NET_RAW`.
    pub fn open() -> Result<Self, Error> {
        // Protocol 0: it only sends.
        let socket =
            Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).map_err(|source| Error {
                step: "open a packet socket",
                source,
            })?;
        // Beyond net.core.wmem_max with CAP_NET_ADMIN, up to it without: smaller bursts at a
        // time are the only consequence.
        if rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER).is_err() {
            let _ = socket.set_send_buffer_size(SEND_BUFFER);
        }
        Ok(Self {
            socket,
            slots: BTreeMap::new(),
            counters: BTreeMap::new(),
        })
    }

    /// Begins to announce: the first burst is due now and leaves with the next
    /// [`Announcer::run`]. A slot that is running starts over.
    pub fn start(&mut self, slot: u32, target: Target, now: Instant) {
        let mut schedule = Schedule::new(target.announce);
        schedule.burst(now);
        self.slots.insert(
            slot,
            Slot {
                ifindex: target.ifindex,
                frames: frames(&target),
                schedule,
            },
        );
    }

    /// Replaces what a running slot announces, and announces it now when frames changed. A slot
    /// that is not running stays so.
    pub fn update(&mut self, slot: u32, target: Target, now: Instant) {
        let Some(running) = self.slots.get_mut(&slot) else {
            return;
        };
        let frames = frames(&target);
        let same = running.ifindex == target.ifindex
            && running
                .frames
                .iter()
                .map(|frame| &frame.bytes)
                .eq(frames.iter().map(|frame| &frame.bytes));
        running.ifindex = target.ifindex;
        running.frames = frames;
        running.schedule.reconfigure(target.announce, now);
        if !same {
            running.schedule.burst(now);
        }
    }

    /// A rival was heard: a burst now, or when the last one that answered a rival is `conflict_gap`
    /// ago. A slot that is not running stays so.
    pub fn conflict(&mut self, slot: u32, now: Instant) {
        if let Some(running) = self.slots.get_mut(&slot) {
            running.schedule.conflict(now);
        }
    }

    /// Ends announcing, at once. The counters stay.
    pub fn stop(&mut self, slot: u32) {
        self.slots.remove(&slot);
    }

    /// Stops the slot and forgets its counters: the number may serve another instance.
    pub fn forget(&mut self, slot: u32) {
        self.slots.remove(&slot);
        self.counters.remove(&slot);
    }

    /// What the slot has sent; zero for one that never started.
    #[must_use]
    pub fn counters(&self, slot: u32) -> Counters {
        self.counters.get(&slot).copied().unwrap_or_default()
    }

    /// When [`Announcer::run`] is to be called next; `None`: not before another call.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.slots
            .values()
            .filter_map(|slot| slot.schedule.deadline())
            .min()
    }

    /// Sends what is due. Calls before the deadline do nothing.
    ///
    /// `may_announce` is asked before each frame; while it says no, what is due stays due. What
    /// became due more than once during a pause is sent once.
    pub fn run(&mut self, now: Instant, may_announce: impl Fn(u32) -> bool) {
        let Self {
            socket,
            slots,
            counters,
        } = self;
        for (number, slot) in slots {
            if slot.schedule.deadline().is_none_or(|due| due > now) {
                continue;
            }
            let counters = counters.entry(*number).or_default();
            let Slot {
                ifindex,
                frames,
                schedule,
            } = slot;
            schedule.run(now, frames.len(), |index| {
                if !may_announce(*number) {
                    return Sent::Forbidden;
                }
                let frame = &frames[index];
                let address = sys::link_address(*ifindex, frame.ethertype, [0xff; 6]);
                match socket.send_to(&frame.bytes, &address) {
                    Ok(_) => {
                        counters.sent += 1;
                        counters.last_sent = Some(now);
                        Sent::Done
                    }
                    Err(e) if queue_full(&e) => Sent::QueueFull,
                    Err(_) => {
                        counters.errors += 1;
                        Sent::Done
                    }
                }
            });
        }
    }
}

fn queue_full(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::ENOBUFS)
}

fn frames(target: &Target) -> Vec<Frame> {
    target
        .addresses
        .iter()
        .map(|address| match *address {
            IpAddr::V4(address) => Frame {
                ethertype: ETHERTYPE_ARP,
                bytes: gratuitous_arp(target.mac, address),
            },
            IpAddr::V6(address) => Frame {
                ethertype: ETHERTYPE_IPV6,
                bytes: neighbor_advertisement(target.mac, address, target.router),
            },
        })
        .collect()
}

/// Shortest time between a takeover's burst and the answer to a rival: a rival that yields says
/// so once, in the same millisecond.
const BURST_GAP: Duration = Duration::from_millis(100);

/// What came of offering one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// Sent, or refused for good.
    Done,
    /// To be offered again shortly.
    QueueFull,
    /// Not allowed now.
    Forbidden,
}

/// When one slot announces. Pure: frames are numbers, the caller sends.
#[derive(Clone, Debug)]
struct Schedule {
    announce: Announce,
    /// The burst of `count`, when one is due.
    burst_at: Option<Instant>,
    repeat_at: Option<Instant>,
    refresh_at: Option<Instant>,
    /// The burst that answers a rival, when one is due.
    conflict_at: Option<Instant>,
    /// Whether that rival is more than the one that yielded to our own takeover.
    rival: bool,
    /// When the last burst of any kind began.
    last_burst: Option<Instant>,
    /// When the last one that answered a rival began.
    last_conflict: Option<Instant>,
    /// What is being sent: rounds left, and the next frame of the current round.
    sending: Option<(u32, usize)>,
    /// No attempt before this time.
    not_before: Option<Instant>,
}

impl Schedule {
    fn new(announce: Announce) -> Self {
        Self {
            announce,
            burst_at: None,
            repeat_at: None,
            refresh_at: None,
            conflict_at: None,
            rival: false,
            last_burst: None,
            last_conflict: None,
            sending: None,
            not_before: None,
        }
    }

    fn burst(&mut self, now: Instant) {
        self.burst_at = Some(now);
        self.not_before = None;
    }

    fn conflict(&mut self, now: Instant) {
        // A takeover, and the last word of the router that yields to it, do not use up the answer:
        // a partition may heal right after them.
        self.rival |= self.last_burst.is_none_or(|last| now >= last + BURST_GAP);
        let gaps = [
            (self.last_conflict, self.announce.conflict_gap),
            (self.last_burst, BURST_GAP.min(self.announce.conflict_gap)),
        ];
        let allowed = gaps
            .into_iter()
            .filter_map(|(last, gap)| Some(last? + gap))
            .fold(now, Instant::max);
        self.conflict_at = Some(self.conflict_at.map_or(allowed, |at| at.min(allowed)));
    }

    fn reconfigure(&mut self, announce: Announce, now: Instant) {
        if announce.refresh != self.announce.refresh {
            self.refresh_at = after(now, announce.refresh);
        }
        self.announce = announce;
    }

    fn deadline(&self) -> Option<Instant> {
        let due = if self.sending.is_some() {
            Some(Instant(0))
        } else {
            [
                self.burst_at,
                self.conflict_at,
                self.repeat_at,
                self.refresh_at,
            ]
            .into_iter()
            .flatten()
            .min()
        };
        due.map(|due| self.not_before.map_or(due, |at| at.max(due)))
    }

    /// Offers what is due, frame by frame of `len`, to `send`.
    fn run(&mut self, now: Instant, len: usize, mut send: impl FnMut(usize) -> Sent) {
        if self.deadline().is_none_or(|due| due > now) {
            return;
        }
        self.not_before = None;
        self.collect(now);
        while let Some((rounds, next)) = self.sending {
            if rounds == 0 || len == 0 {
                self.sending = None;
                break;
            }
            // The addresses may have become fewer since the last call.
            let next = if next < len { next } else { 0 };
            match send(next) {
                Sent::Done if next + 1 < len => self.sending = Some((rounds, next + 1)),
                Sent::Done => self.sending = Some((rounds - 1, 0)),
                Sent::QueueFull => {
                    self.sending = Some((rounds, next));
                    self.not_before = Some(now + QUEUE_FULL_PAUSE);
                    break;
                }
                Sent::Forbidden => {
                    self.sending = Some((rounds, 0));
                    self.not_before = Some(now + FORBIDDEN_PAUSE);
                    break;
                }
            }
        }
    }

    /// Turns what is due into rounds to send. What is due together is one burst, the largest.
    fn collect(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut rounds = self.sending.map_or(0, |(rounds, _)| rounds);
        let mut is_burst = false;
        if due(self.repeat_at) {
            self.repeat_at = None;
            rounds = rounds.max(self.announce.repeat_count);
            is_burst = true;
        }
        let conflict = due(self.conflict_at);
        if conflict {
            self.conflict_at = None;
            if std::mem::take(&mut self.rival) {
                self.last_conflict = Some(now);
            }
        }
        if conflict || due(self.burst_at) {
            self.burst_at = None;
            rounds = rounds.max(self.announce.count);
            is_burst = true;
            if self.announce.repeat_count > 0 {
                self.repeat_at = after(now, self.announce.repeat_after);
            }
            self.refresh_at = after(now, self.announce.refresh);
        }
        if due(self.refresh_at) {
            self.refresh_at = after(now, self.announce.refresh);
            rounds = rounds.max(1);
        }
        if is_burst {
            self.last_burst = Some(now);
        }
        if rounds > 0 {
            let next = self.sending.map_or(0, |(_, next)| next);
            self.sending = Some((rounds, next));
        }
    }
}

/// `now + pause`, or never when the pause is zero: zero switches a repetition off.
fn after(now: Instant, pause: Duration) -> Option<Instant> {
    (!pause.is_zero()).then(|| now + pause)
}

/// Length of an ARP packet for IPv4 over Ethernet.
const ARP_LEN: usize = 28;
const IPV6_LEN: usize = 40;
/// Neighbour advertisement with one link-layer address option (RFC 4861 §4.4, §4.6.1).
const NA_LEN: usize = 32;
/// Only a neighbour on the link can have sent a hop limit of 255 (RFC 4861 §7.1.2).
const ND_HOP_LIMIT: u8 = 255;
const NA_ROUTER: u8 = 0x80;
const NA_OVERRIDE: u8 = 0x20;
const OPTION_TARGET_LINK_LAYER: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// 33:33 and the last four bytes of the group (RFC 2464 §7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// A gratuitous ARP for `address` at `mac`, Ethernet header included, padding not.
///
/// The announcement of RFC 5227 §2.3: a broadcast request whose sender and target are the
/// address. Request, because some hosts do not take replies they did not ask for. The target
/// hardware address, which a receiver of a request does not look at, is zero (RFC 5227 §2.1.1).
#[must_use]
pub fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr) -> Bytes {
    let mut frame = BytesMut::with_capacity(ETH_LEN + ARP_LEN);
    put_ethernet(&mut frame, [0xff; 6], mac, ETHERTYPE_ARP);
    frame.put_u16(1); // hardware: Ethernet
    frame.put_u16(ETHERTYPE_IPV4);
    frame.put_u8(6);
    frame.put_u8(4);
    frame.put_u16(ARP_REQUEST);
    frame.put_slice(&mac);
    frame.put_slice(&address.octets());
    frame.put_slice(&[0; 6]);
    frame.put_slice(&address.octets());
    frame.freeze()
}

/// An unsolicited neighbour advertisement for `address` at `mac`, Ethernet header included: to
/// all nodes, from the address, Override set, Solicited clear (RFC 4861 §7.2.6; RFC 9568 §6.4.2).
#[must_use]
pub fn neighbor_advertisement(mac: [u8; 6], address: Ipv6Addr, router: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(ETH_LEN + IPV6_LEN + NA_LEN);
    put_ethernet(&mut frame, ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
    frame.put_u32(6 << 28); // version; traffic class and flow label zero
    frame.put_u16(NA_LEN as u16);
    frame.put_u8(IPPROTO_ICMPV6);
    frame.put_u8(ND_HOP_LIMIT);
    frame.put_slice(&address.octets());
    frame.put_slice(&ALL_NODES.octets());
    let message = frame.len();
    frame.put_u8(ND_NEIGHBOR_ADVERT);
    frame.put_u8(0);
    frame.put_u16(0); // checksum
    frame.put_u8(if router { NA_ROUTER } else { 0 } | NA_OVERRIDE);
    frame.put_slice(&[0; 3]);
    frame.put_slice(&address.octets());
    frame.put_u8(OPTION_TARGET_LINK_LAYER);
    frame.put_u8(1); // length, in units of 8 bytes
    frame.put_slice(&mac);
    let checksum = icmpv6_checksum(address, ALL_NODES, &frame[message..]);
    frame[message + 2..message + 4].copy_from_slice(&checksum.to_be_bytes());
    frame.freeze()
}

fn put_ethernet(frame: &mut BytesMut, destination: [u8; 6], source: [u8; 6], ethertype: u16) {
    frame.put_slice(&destination);
    frame.put_slice(&source);
    frame.put_u16(ethertype);
}

/// RFC 4443 §2.3: over the IPv6 pseudo-header and the message.
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum()
    };
    let mut sum = words(&source.octets())
        + words(&destination.octets())
        + message.len() as u32
        + u32::from(IPPROTO_ICMPV6)
        + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOUNCE: Announce = Announce {
        count: 5,
        repeat_after: Duration::from_secs(5),
        repeat_count: 3,
        refresh: Duration::from_secs(60),
        conflict_gap: Duration::from_secs(1),
    };

    /// Two addresses; the times, in ms, and the number of frames at each.
    struct Clock {
        schedule: Schedule,
        log: Vec<(u64, usize)>,
    }

    fn at(ms: u64) -> Instant {
        Instant(1_000_000_000_000 + ms * 1_000_000)
    }

    fn ms(at: Instant) -> u64 {
        (at.0 - 1_000_000_000_000) / 1_000_000
    }

    const ADDRESSES: usize = 2;

    impl Clock {
        fn new(announce: Announce) -> Self {
            let mut schedule = Schedule::new(announce);
            schedule.burst(at(0));
            Self {
                schedule,
                log: Vec::new(),
            }
        }

        fn wake(&mut self, now: Instant) {
            let mut frames = 0;
            self.schedule.run(now, ADDRESSES, |_| {
                frames += 1;
                Sent::Done
            });
            if frames > 0 {
                self.log.push((ms(now), frames));
            }
        }

        fn until(&mut self, end: u64) {
            while let Some(due) = self.schedule.deadline().filter(|due| *due <= at(end)) {
                self.wake(due);
            }
        }
    }

    #[test]
    fn takeover_bursts_repeats_and_refreshes() {
        let mut clock = Clock::new(ANNOUNCE);
        clock.until(200_000);
        assert_eq!(
            clock.log,
            [(0, 10), (5_000, 6), (60_000, 2), (120_000, 2), (180_000, 2)]
        );
    }

    #[test]
    fn zero_switches_repetition_and_refresh_off() {
        let mut clock = Clock::new(Announce {
            repeat_after: Duration::ZERO,
            refresh: Duration::ZERO,
            ..ANNOUNCE
        });
        clock.until(1_000_000);
        assert_eq!(clock.log, [(0, 10)]);
        assert_eq!(clock.schedule.deadline(), None);
        let mut clock = Clock::new(Announce {
            repeat_count: 0,
            refresh: Duration::ZERO,
            ..ANNOUNCE
        });
        clock.until(1_000_000);
        assert_eq!(clock.log, [(0, 10)]);
    }

    #[test]
    fn conflicts_are_answered_at_once_then_once_per_gap() {
        let mut clock = Clock::new(ANNOUNCE);
        clock.until(2_000);
        for rival in [2_000, 2_100, 2_200, 2_999] {
            clock.until(rival);
            clock.schedule.conflict(at(rival));
        }
        clock.until(10_000);
        assert_eq!(
            clock.log,
            [(0, 10), (2_000, 10), (3_000, 10), (8_000, 6)],
            "now, one trailing, and the repetition anew"
        );
    }

    #[test]
    fn a_steady_rival_gets_one_burst_per_gap() {
        let mut clock = Clock::new(ANNOUNCE);
        for rival in (2_000..4_500).step_by(10) {
            clock.until(rival);
            clock.schedule.conflict(at(rival));
        }
        clock.until(4_999);
        let times: Vec<u64> = clock.log.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 2_000, 3_000, 4_000]);
        clock.until(6_000);
        assert_eq!(clock.log.last(), Some(&(5_000, 10)), "the trailing one");
        clock.until(9_999);
        assert_eq!(clock.log.len(), 5);
    }

    #[test]
    fn a_conflict_right_after_takeover_is_answered_after_a_pause() {
        let mut clock = Clock::new(ANNOUNCE);
        clock.until(0);
        clock.schedule.conflict(at(1));
        clock.until(4_000);
        assert_eq!(clock.log, [(0, 10), (100, 10)]);
    }

    #[test]
    fn a_heal_right_after_takeover_is_answered_at_once() {
        let mut clock = Clock::new(ANNOUNCE);
        clock.until(0);
        clock.schedule.conflict(at(1)); // the last word of the router that yielded
        clock.until(400);
        clock.schedule.conflict(at(400)); // the other side of a partition
        clock.until(999);
        assert_eq!(clock.log, [(0, 10), (100, 10), (400, 10)]);
    }

    #[test]
    fn a_long_pause_is_made_up_for_once() {
        let mut clock = Clock::new(ANNOUNCE);
        clock.until(0);
        // Repetition and nineteen refreshes overdue.
        clock.wake(at(1_200_000));
        clock.wake(at(1_200_001));
        assert_eq!(clock.log, [(0, 10), (1_200_000, 6)]);
        clock.until(1_300_000);
        assert_eq!(clock.log[2..], [(1_260_000, 2)]);
    }

    #[test]
    fn what_may_not_be_sent_stays_due() {
        let mut schedule = Schedule::new(ANNOUNCE);
        schedule.burst(at(0));
        schedule.run(at(0), ADDRESSES, |_| Sent::Forbidden);
        assert_eq!(schedule.deadline(), Some(at(20)), "no busy loop");
        schedule.run(at(10), ADDRESSES, |_| unreachable!("before the deadline"));
        let mut order = Vec::new();
        schedule.run(at(20), ADDRESSES, |index| {
            order.push(index);
            Sent::Done
        });
        assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_full_queue_is_resumed_where_it_was_full() {
        let mut schedule = Schedule::new(ANNOUNCE);
        schedule.burst(at(0));
        let mut sent = Vec::new();
        schedule.run(at(0), 3, |index| {
            if sent.len() == 4 {
                return Sent::QueueFull;
            }
            sent.push(index);
            Sent::Done
        });
        assert_eq!(schedule.deadline(), Some(at(1)));
        schedule.run(at(1), 3, |index| {
            sent.push(index);
            Sent::Done
        });
        assert_eq!(sent, [0, 1, 2].repeat(5));
        assert_eq!(schedule.deadline(), Some(at(5_000)));
    }

    #[test]
    fn a_slot_without_addresses_is_silent_and_does_not_spin() {
        let mut schedule = Schedule::new(ANNOUNCE);
        schedule.burst(at(0));
        schedule.run(at(0), 0, |_| unreachable!());
        assert_eq!(schedule.deadline(), Some(at(5_000)));
    }

    #[test]
    fn gratuitous_arp_bytes() {
        let frame = gratuitous_arp([2, 0, 0, 0, 0, 0x0a], Ipv4Addr::new(192, 0, 2, 1));
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // to everybody
            0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
            0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, // request, IPv4 over Ethernet
            0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 192, 0, 2, 1, // sender
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 192, 0, 2, 1, // target
        ];
        assert_eq!(frame[..], expected);
        let arp = ha_common::net::arp(&frame[..], ETH_LEN).unwrap();
        assert_eq!(arp.operation, ARP_REQUEST);
        assert_eq!(arp.sender, arp.target);
    }

    #[test]
    fn neighbor_advertisement_bytes() {
        let frame = neighbor_advertisement(
            [2, 0, 0, 0, 0, 0x0a],
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            true,
        );
        #[rustfmt::skip]
        let expected = [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x01, // all nodes
            0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
            0x86, 0xdd,
            0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, // 32 bytes, ICMPv6, hop limit 255
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0x88, 0x00, 0x79, 0x21, // neighbour advertisement, checksum
            0xa0, 0x00, 0x00, 0x00, // Router, Override
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0x02, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, // target link-layer address
        ];
        assert_eq!(frame[..], expected);
        let host = neighbor_advertisement([0; 6], Ipv6Addr::LOCALHOST, false);
        assert_eq!(host[58], 0x20, "Override only");
    }

    #[test]
    fn a_right_checksum_sums_to_zero() {
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1234, 0x5678, 0x9abc, 0xdef0);
        let frame = neighbor_advertisement([0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54], address, true);
        assert_eq!(icmpv6_checksum(address, ALL_NODES, &frame[54..]), 0);
    }
}
