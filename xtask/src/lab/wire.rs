//! What each host says on the wire: advertisements and announcements, with their time.
//!
//! Listens at the switch, on the ports, so that a frame's author is the host behind the port,
//! whatever the frame claims.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use super::clock;
use super::netns::Netns;
use super::packet::PacketSocket;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// A VRRP advertisement.
    Advert {
        /// Protocol version.
        version: u8,
        /// Virtual router identifier.
        vrid: u8,
        /// Priority; 0 resigns.
        priority: u8,
        /// Sender.
        source: IpAddr,
        /// Receiver: the group, or a unicast peer.
        destination: IpAddr,
    },
    /// A gratuitous ARP for this address.
    GratuitousArp(Ipv4Addr),
    /// An ARP answer that claims this address.
    ArpReply(Ipv4Addr),
    /// A neighbour advertisement for this address.
    NeighbourAdvert(Ipv6Addr),
}

/// A frame of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was seen, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Port it came in on: the name of the host that sent it.
    pub from: &'static str,
    /// What it says.
    pub says: Says,
}

impl Frame {
    /// Whether it is an advertisement, and of which priority.
    pub fn priority(&self) -> Option<u8> {
        match self.says {
            Says::Advert { priority, .. } => Some(priority),
            _ => None,
        }
    }

    /// Whether it tells the segment, unasked, where this address lives.
    pub fn announces(&self, address: IpAddr) -> bool {
        match self.says {
            Says::GratuitousArp(a) => address == IpAddr::V4(a),
            Says::NeighbourAdvert(a) => address == IpAddr::V6(a),
            _ => false,
        }
    }
}

/// Listens until dropped.
#[derive(Debug)]
pub struct Wire {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Listens on these ports of the switch.
    pub(super) fn listen(switch: &Netns, ports: &[&'static str]) -> Result<Self> {
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for &port in ports {
            let socket =
                switch.within(|| PacketSocket::open(port, Duration::from_millis(20)))??;
            let (frames, stop) = (Arc::clone(&frames), Arc::clone(&stop));
            threads.push(std::thread::spawn(move || {
                clock::run_ahead();
                let mut buffer = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let Ok(frame) = socket.receive(&mut buffer) else {
                        break;
                    };
                    let Some(says) = frame.and_then(read) else {
                        continue;
                    };
                    let frame = Frame {
                        at_ns: clock::now_ns(),
                        from: port,
                        says,
                    };
                    frames
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(frame);
                }
            }));
        }
        Ok(Self {
            frames,
            stop,
            threads,
        })
    }

    /// Everything heard since this time, oldest first.
    pub fn since(&self, from_ns: u64) -> Vec<Frame> {
        let mut frames = self
            .frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        frames.retain(|frame| frame.at_ns >= from_ns);
        frames.sort_by_key(|frame| frame.at_ns);
        frames
    }

    /// Advertisements of one host since this time.
    pub fn adverts(&self, from: &str, from_ns: u64) -> Vec<Frame> {
        let mut frames = self.since(from_ns);
        frames.retain(|frame| frame.from == from && frame.priority().is_some());
        frames
    }

    /// Unasked announcements of an address by one host since this time.
    pub fn announcements(&self, from: &str, address: IpAddr, from_ns: u64) -> Vec<Frame> {
        let mut frames = self.since(from_ns);
        frames.retain(|frame| frame.from == from && frame.announces(address));
        frames
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn array<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

/// Reads a frame without VLAN tags; `None` if it is of no interest.
fn read(frame: &[u8]) -> Option<Says> {
    match u16::from_be_bytes(array(frame, 12)?) {
        0x0800 if frame.get(23) == Some(&112) => {
            let vrrp = 14 + usize::from(frame[14] & 0xf) * 4;
            let source = Ipv4Addr::from(array::<4>(frame, 26)?);
            let destination = Ipv4Addr::from(array::<4>(frame, 30)?);
            advert(frame.get(vrrp..)?, source.into(), destination.into())
        }
        0x0806 => {
            let operation = u16::from_be_bytes(array(frame, 20)?);
            let sender = Ipv4Addr::from(array::<4>(frame, 28)?);
            let target = Ipv4Addr::from(array::<4>(frame, 38)?);
            match operation {
                _ if sender == target => Some(Says::GratuitousArp(sender)),
                2 => Some(Says::ArpReply(sender)),
                _ => None,
            }
        }
        0x86dd => {
            let source = Ipv6Addr::from(array::<16>(frame, 22)?);
            let destination = Ipv6Addr::from(array::<16>(frame, 38)?);
            match (frame.get(20)?, frame.get(54)?) {
                (112, _) => advert(frame.get(54..)?, source.into(), destination.into()),
                (58, 136) => Some(Says::NeighbourAdvert(Ipv6Addr::from(array::<16>(
                    frame, 62,
                )?))),
                _ => None,
            }
        }
        _ => None,
    }
}

fn advert(vrrp: &[u8], source: IpAddr, destination: IpAddr) -> Option<Says> {
    let [head, vrid, priority] = array(vrrp, 0)?;
    Some(Says::Advert {
        version: head >> 4,
        vrid,
        priority,
        source,
        destination,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_is_read() {
        let mut frame = vec![0; 14 + 20 + 12];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        frame[23] = 112;
        frame[26..34].copy_from_slice(&[10, 77, 0, 1, 224, 0, 0, 18]);
        frame[34..37].copy_from_slice(&[0x31, 51, 200]);
        assert_eq!(
            read(&frame),
            Some(Says::Advert {
                version: 3,
                vrid: 51,
                priority: 200,
                source: Ipv4Addr::new(10, 77, 0, 1).into(),
                destination: Ipv4Addr::new(224, 0, 0, 18).into(),
            })
        );
    }

    #[test]
    fn a_gratuitous_arp_is_told_from_an_answer() {
        let mut frame = vec![0; 42];
        frame[12..14].copy_from_slice(&[8, 6]);
        frame[21] = 2;
        frame[28..32].copy_from_slice(&[10, 77, 0, 100]);
        assert_eq!(
            read(&frame),
            Some(Says::ArpReply(Ipv4Addr::new(10, 77, 0, 100)))
        );
        frame[38..42].copy_from_slice(&[10, 77, 0, 100]);
        assert_eq!(
            read(&frame),
            Some(Says::GratuitousArp(Ipv4Addr::new(10, 77, 0, 100)))
        );
        assert_eq!(read(&frame[..20]), None);
    }
}
