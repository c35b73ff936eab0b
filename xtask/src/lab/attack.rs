//! Packets that nobody should believe, and many of them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use super::node::{INTERFACE, Node};
use super::packet::PacketSocket;

/// What is wrong with a forged advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// Nothing.
    Nothing,
    /// The VRRP checksum.
    Checksum,
    /// TTL 64: it came through a router.
    Ttl,
    /// The type field.
    Type,
    /// One byte is missing at the end.
    Short,
}

/// An advertisement over IPv4 multicast.
#[derive(Clone, Debug)]
pub struct Forged {
    /// Sender.
    pub source: Ipv4Addr,
    /// Version, 2 or 3.
    pub version: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Centiseconds in version 3, seconds in version 2.
    pub interval: u16,
    /// Virtual addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// VRRPv2 password.
    pub password: Option<[u8; 8]>,
    /// What is wrong with it.
    pub spoil: Spoil,
}

impl Forged {
    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let group = Ipv4Addr::new(224, 0, 0, 18);
        let mut vrrp = vec![
            self.version << 4 | if self.spoil == Spoil::Type { 2 } else { 1 },
            self.vrid,
            self.priority,
            self.addresses.len() as u8,
        ];
        match self.version {
            2 => vrrp.extend([u8::from(self.password.is_some()), self.interval as u8]),
            _ => vrrp.extend(self.interval.to_be_bytes()),
        }
        vrrp.extend([0, 0]);
        vrrp.extend(self.addresses.iter().flat_map(Ipv4Addr::octets));
        if self.version == 2 {
            // A version 2 message ends in authentication data, zero without a password; the
            // checksum covers it (RFC 3768 §5.3.8).
            vrrp.extend(self.password.unwrap_or_default());
        }
        let mut covered = Vec::new();
        if self.version == 3 {
            // The pseudo-header of RFC 5798, which the deployed routers use.
            covered.extend(self.source.octets());
            covered.extend(group.octets());
            covered.extend([0, 112]);
            covered.extend((vrrp.len() as u16).to_be_bytes());
        }
        covered.extend(&vrrp);
        let mut sum = checksum(&covered);
        if self.spoil == Spoil::Checksum {
            sum ^= 0x1234;
        }
        vrrp[6..8].copy_from_slice(&sum.to_be_bytes());
        if self.spoil == Spoil::Short {
            vrrp.pop();
        }

        let mut ip = vec![0x45, 0xc0];
        ip.extend((20 + vrrp.len() as u16).to_be_bytes());
        ip.extend([
            0,
            0,
            0,
            0,
            if self.spoil == Spoil::Ttl { 64 } else { 255 },
            112,
            0,
            0,
        ]);
        ip.extend(self.source.octets());
        ip.extend(group.octets());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        let mut frame = vec![0x01, 0, 0x5e, 0, 0, 18, 0x02, 0x66, 0, 0, 0, 1, 0x08, 0];
        frame.extend(ip);
        frame.extend(vrrp);
        frame
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Sends frames from a node until dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends these frames in turn, with this pause between two; zero is as fast as it goes.
    pub fn start(node: &Node, frames: Vec<Vec<u8>>, pause: Duration) -> Result<Self> {
        let socket = node
            .netns
            .within(|| PacketSocket::open(INTERFACE, Duration::from_millis(1)))??;
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            for frame in frames.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if socket.send(frame).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
            }
        });
        Ok(Self {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// How many frames have left.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_spoiled_is_right() {
        let forged = Forged {
            source: Ipv4Addr::new(10, 77, 0, 9),
            version: 2,
            vrid: 51,
            priority: 100,
            interval: 1,
            addresses: vec![super::super::VIP4],
            password: None,
            spoil: Spoil::Nothing,
        };
        let frame = forged.frame();
        assert_eq!(frame.len(), 14 + 20 + 8 + 4 + 8);
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(checksum(&frame[34..]), 0);
        let spoiled = Forged {
            spoil: Spoil::Checksum,
            ..forged
        }
        .frame();
        assert_ne!(checksum(&spoiled[34..]), 0);
    }
}
