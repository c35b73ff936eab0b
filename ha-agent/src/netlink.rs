//! Interfaces and addresses: what the kernel has, and the virtual addresses this agent puts there.
//!
//! Owns two rtnetlink sockets, and one more for the length of each dump. `events` is subscribed
//! to link and address changes before the first dump, so that nothing is missed; what the kernel
//! could not queue (`ENOBUFS`) is made up for by dumping again. `requests` carries additions and
//! removals, one at a time.
//!
//! Deviates from the usual connection task with unbounded channels (`rtnetlink`) because the
//! kernel's socket buffer is a bound and its overrun a signal, because a request whose
//! connection died must fail rather than end in silence, and because a dump that the kernel
//! calls inconsistent must be repeated. Messages are those of `netlink-packet-route`, except
//! links: of their two hundred attributes three are needed, and an unknown form of another one
//! (virtual functions, switch ports) must not make an interface invisible.
//!
//! Source: `rtnetlink(7)`, `netlink(7)`, RFC 9568 §1.7 (primary address).

mod changes;
mod events;
mod interface;
mod message;
mod record;
mod requests;
mod socket;
#[cfg(test)]
pub(crate) mod testing;
mod view;

use std::io;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;

use crate::config::model::VirtualAddress;
use crate::vrrp::types::Prefix;

pub use changes::Change;
pub use interface::{Address, Interface, ipv6_forwarding, primary_address};
pub use record::{Held, Record};

use changes::Changes;
use events::{Events, Received};
use requests::Requests;
use view::View;

/// A failure, naming its object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket could not be opened.
    #[error("netlink: open")]
    Open(#[source] io::Error),
    /// A dump failed.
    #[error("netlink: list {what}")]
    List {
        /// `links` or `addresses`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Events cannot be received.
    #[error("netlink: receive events")]
    Events(#[source] io::Error),
    /// An address could not be added.
    #[error("netlink: add {prefix} on {interface}")]
    Add {
        /// The address.
        prefix: Prefix,
        /// Name of the interface, or its index when it is not known.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// An address could not be removed.
    #[error("netlink: remove {prefix} on {interface}")]
    Remove {
        /// The address.
        prefix: Prefix,
        /// Name of the interface, or its index when it is not known.
        interface: String,
        /// Why.
        source: io::Error,
    },
}

/// How [`Netlink::add`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The address was added.
    New,
    /// It was there already; it was left as it is.
    Existed,
}

/// The kernel's interfaces and addresses, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    events: Events,
    requests: Requests,
    view: View,
    pending: Changes,
    /// Events were lost: the view is to be read anew.
    stale: bool,
}

impl Netlink {
    /// Subscribes to changes, then reads all interfaces and addresses. To be called on a tokio
    /// runtime with I/O enabled.
    ///
    /// # Errors
    /// Out of descriptors or memory, or a dump that never settled.
    pub async fn open() -> Result<Self, Error> {
        let events = Events::open().map_err(Error::Open)?;
        Ok(Self {
            requests: Requests::open().map_err(Error::Open)?,
            view: View::dump().await?,
            events,
            pending: Changes::default(),
            stale: false,
        })
    }

    /// All interfaces, by index.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.view.interfaces
    }

    /// The interface of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Interface> {
        self.view.interfaces.iter().find(|i| i.name == name)
    }

    /// The interface of this index.
    #[must_use]
    pub fn get_index(&self, ifindex: u32) -> Option<&Interface> {
        self.view.get(ifindex)
    }

    /// Waits until something changed, and reports everything that has: never an empty list, each
    /// change once. What was undone in the meantime (an address removed and added again) is not
    /// reported as gone.
    ///
    /// Cancel-safe: what was not returned is returned by the next call.
    ///
    /// # Errors
    /// Events can no longer be received, or could not be made up for after an overrun; the next
    /// call tries again.
    pub async fn changed(&mut self) -> Result<Vec<Change>, Error> {
        loop {
            if self.stale {
                // What is queued is older than the dump and has gaps: an addition whose removal
                // was lost would outlive the truth.
                self.events.discard().map_err(Error::Events)?;
                let view = View::dump().await?;
                self.view.compare(&view, &mut self.pending);
                self.view = view;
                self.stale = false;
            } else if self.pending.is_empty() {
                let received = self.events.receive(&mut self.view, &mut self.pending);
                if received.await.map_err(Error::Events)? == Received::Lost {
                    self.stale = true;
                    continue;
                }
            }
            let changes = self.pending.take(&self.view);
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// Puts a virtual address on an interface. One that is there already is a success.
    ///
    /// IPv6 is added without duplicate address detection: it is usable at once, and a virtual
    /// address is a duplicate by design while two routers change roles. As with keepalived, an
    /// IPv6 address with prefix length 128 is added as deprecated (RFC 6724 §5 rule 3), so that
    /// this node does not choose it as the source of its own connections.
    ///
    /// Not cancel-safe in that the address may or may not be there afterwards; another call is
    /// always right.
    ///
    /// # Errors
    /// No `CAP_NET_ADMIN`, the interface is gone, IPv6 is disabled on it.
    pub async fn add(&mut self, ifindex: u32, address: &VirtualAddress) -> Result<Added, Error> {
        let message = RouteNetlinkMessage::NewAddress(message::new_address(ifindex, address));
        match self.requests.ask(message, NLM_F_CREATE | NLM_F_EXCL).await {
            Ok(()) => Ok(Added::New),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(Added::Existed),
            Err(source) => Err(Error::Add {
                prefix: address.prefix,
                interface: self.name_of(ifindex),
                source,
            }),
        }
    }

    /// Takes an address off an interface. One that is not there, or whose interface is gone, is
    /// a success.
    ///
    /// An IPv4 address that is the primary one of its subnet takes the secondary ones with it
    /// unless `promote_secondaries` is set; those are reported by [`Netlink::changed`].
    ///
    /// Not cancel-safe in that the address may or may not be there afterwards; another call is
    /// always right.
    ///
    /// # Errors
    /// No `CAP_NET_ADMIN`.
    pub async fn remove(&mut self, ifindex: u32, prefix: &Prefix) -> Result<(), Error> {
        let message = RouteNetlinkMessage::DelAddress(message::address_message(ifindex, prefix));
        match self.requests.ask(message, 0).await {
            Ok(()) => Ok(()),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                Ok(())
            }
            Err(source) => Err(Error::Remove {
                prefix: *prefix,
                interface: self.name_of(ifindex),
                source,
            }),
        }
    }

    fn name_of(&self, ifindex: u32) -> String {
        self.get_index(ifindex)
            .map_or_else(|| format!("interface {ifindex}"), |i| i.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::prefix;
    use super::*;

    #[test]
    fn errors_name_their_object() {
        let error = Error::Add {
            prefix: prefix("10.0.0.1/32"),
            interface: "eth0".to_owned(),
            source: io::Error::from_raw_os_error(libc::EPERM),
        };
        assert_eq!(error.to_string(), "netlink: add 10.0.0.1/32 on eth0");
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().starts_with("Operation not permitted"));
    }
}
