//! Who answers for an address: ARP asked the way a client's kernel asks, every answer heard.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::node::{INTERFACE, Mac, Node};
use super::packet::PacketSocket;

/// Asks everybody and returns the hardware addresses of all who answered within `patience`,
/// in the order of their answers. More than one: two owners.
pub fn who_has(asker: &Node, address: Ipv4Addr, patience: Duration) -> Result<Vec<Mac>> {
    ask(asker, address, [0xff; 6], patience)
}

/// Asks one host directly whether it has the address.
pub fn claims(asker: &Node, address: Ipv4Addr, host: &Node, patience: Duration) -> Result<bool> {
    Ok(!ask(asker, address, host.mac(), patience)?.is_empty())
}

fn ask(asker: &Node, address: Ipv4Addr, to: Mac, patience: Duration) -> Result<Vec<Mac>> {
    let socket = asker
        .netns
        .within(|| PacketSocket::open(INTERFACE, Duration::from_millis(5)))??;
    socket.send(&request(asker, address, to))?;
    let deadline = Instant::now() + patience;
    let mut answers = Vec::new();
    let mut buffer = Vec::new();
    while Instant::now() < deadline {
        if let Some(frame) = socket.receive(&mut buffer)?
            && let Some(mac) = answer(frame, address)
            && !answers.contains(&mac)
        {
            answers.push(mac);
        }
    }
    Ok(answers)
}

fn request(asker: &Node, address: Ipv4Addr, to: Mac) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(to);
    frame.extend(asker.mac());
    // Ethernet type ARP; hardware Ethernet, protocol IPv4, lengths 6 and 4, request.
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(asker.mac());
    frame.extend(asker.ipv4().octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// The hardware address in an ARP answer that is about `address` and not gratuitous.
fn answer(frame: &[u8], address: Ipv4Addr) -> Option<Mac> {
    let is_answer = frame.get(12..14)? == [8, 6]
        && frame.get(20..22)? == [0, 2]
        && frame.get(28..32)? == address.octets()
        && frame.get(38..42)? != address.octets();
    is_answer
        .then(|| frame.get(22..28)?.try_into().ok())
        .flatten()
}
