//! The service behind the virtual address: answers each probe and signs it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, Socket, Type};

use super::clock;
use super::node::{INTERFACE, Node};

/// The port that echoes are served on.
pub(super) const PORT: u16 = 7;

/// A responder on a host; ends when dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Answers probes to `address` with the host's id, whenever the kernel delivers them: the
    /// address need not be there yet.
    pub fn start(node: &Node, address: IpAddr) -> Result<Self> {
        let socket = node
            .netns
            .within(|| bind(address))?
            .with_context(|| format!("serve {address} on {}", node.name))?;
        let socket = std::net::UdpSocket::from(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, id) = (Arc::clone(&stop), node.id);
        let thread = std::thread::spawn(move || {
            clock::run_ahead();
            let mut packet = [0; 64];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut packet)
                    && len < packet.len()
                {
                    packet[len] = id;
                    let _ = socket.send_to(&packet[..=len], from);
                }
            }
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

fn bind(address: IpAddr) -> Result<Socket> {
    let socket = match address {
        IpAddr::V4(_) => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.set_freebind_v4(true)?;
            socket
        }
        IpAddr::V6(_) => {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            socket.set_freebind_v6(true)?;
            socket
        }
    };
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    socket.bind(&target(address)?.into())?;
    Ok(socket)
}

/// Address and port of the service; a link-local address gets the scope of `eth0`.
pub(super) fn target(address: IpAddr) -> Result<SocketAddr> {
    Ok(match address {
        IpAddr::V6(a) if a.is_unicast_link_local() => {
            std::net::SocketAddrV6::new(a, PORT, 0, super::packet::ifindex(INTERFACE)?).into()
        }
        _ => SocketAddr::new(address, PORT),
    })
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
