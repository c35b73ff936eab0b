//! The sockets that instances speak and hear with: opened and closed here, lent to the engine.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Effects, with_causes};
use crate::advert::{self, Receiver, Sender};
use crate::engine::Sockets;

impl Effects {
    /// The sockets for a link, opened when those at hand are bound to another; `None` when they
    /// cannot be had.
    pub(super) fn bind(&mut self, index: usize, ifindex: u32, local: IpAddr) -> Option<Sockets> {
        let slot = self.slots.get(index)?;
        if let Some((known, source, sockets)) = &slot.bound
            && (*known, *source) == (ifindex, local)
        {
            return Some(sockets.clone());
        }
        let opened = self.open_sockets(index, ifindex, local);
        self.unbind(index);
        let slot = self.slots.get_mut(index)?;
        match opened {
            Ok(sockets) => {
                slot.unbound = None;
                slot.bound = Some((ifindex, local, sockets.clone()));
                Some(sockets)
            }
            Err(error) => {
                let why = with_causes(&error);
                if slot.unbound.as_ref() != Some(&why) {
                    tracing::error!("{}: cannot advertise: {why}", slot.settings.name);
                }
                slot.unbound = Some(why);
                None
            }
        }
    }

    fn open_sockets(
        &mut self,
        index: usize,
        ifindex: u32,
        local: IpAddr,
    ) -> Result<Sockets, advert::Error> {
        let settings = &self.slots[index].settings;
        let receiver = match self.ports.get_mut(&settings.interface) {
            Some(port) if self.dataplane.is_none() => {
                if port.receiver.is_none() {
                    let opened = Receiver::open(&settings.interface, ifindex)?;
                    port.receiver = Some(Arc::new(opened));
                }
                port.receiver.clone()
            }
            _ => None,
        };
        let sender = Sender::open(&advert::Path {
            ifname: settings.interface.clone(),
            ifindex,
            source: local,
            multicast: settings.peers.is_empty(),
        })?;
        Ok(Sockets {
            sender: Arc::new(sender),
            receiver,
        })
    }

    pub(super) fn unbind(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.unbound = None;
            self.retired
                .extend(slot.bound.take().map(|(_, _, sockets)| sockets));
        }
    }

    /// Closes what the engine has let go of.
    pub(super) fn close_retired(&mut self) {
        self.retired
            .retain(|sockets| Arc::strong_count(&sockets.sender) > 1);
    }
}
