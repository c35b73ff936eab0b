//! The program on each interface, and what its maps say of the instances there.

use std::sync::Arc;

use super::{Effects, Error, with_causes};
use crate::advert::Receiver;
use crate::config::model;
use crate::dataplane::{self, Desired, DesiredAddress, DesiredRouter};
use crate::netlink::Interface;

/// An interface that carries the program, or should.
pub(super) struct Port {
    pub(super) ifindex: u32,
    pub(super) mode: &'static str,
    pub(super) note: Option<String>,
    pub(super) fenced: bool,
    /// The ear of its instances when there is no program.
    pub(super) receiver: Option<Arc<Receiver>>,
}

impl Port {
    fn missing() -> Self {
        Self {
            ifindex: 0,
            mode: "missing",
            note: Some("no such interface; it is taken up when it appears".to_owned()),
            fenced: false,
            receiver: None,
        }
    }
}

impl Effects {
    /// Attaches the program where it is not yet, and points the maps at the interface.
    pub(super) fn fence(&mut self, name: &str, interface: Option<&Interface>) -> Result<(), Error> {
        let known = self.ports.get(name).map(|port| port.ifindex);
        let current = interface.map_or(0, |interface| interface.index);
        if current != 0
            && known == Some(current)
            && self.ports.get(name).is_some_and(|port| port.fenced)
        {
            return Ok(());
        }
        if let Some(gone) = known.filter(|known| *known != current) {
            self.drop_link(name, gone);
        }
        let (mut port, result) = match interface {
            Some(interface) => self.attach(interface),
            None => (Port::missing(), Ok(())),
        };
        let attached = port.fenced;
        port.fenced = false;
        self.ports.insert(name.to_owned(), port);
        self.point()?;
        // Not before the maps know the interface: an instance that is told of it takes part.
        if let Some(port) = self.ports.get_mut(name) {
            port.fenced = attached;
        }
        result
    }

    fn attach(&mut self, interface: &Interface) -> (Port, Result<(), Error>) {
        let name = &interface.name;
        let mut port = Port {
            ifindex: interface.index,
            mode: "off",
            note: Some(
                "no XDP program, so no fence: a frozen agent keeps its addresses".to_owned(),
            ),
            fenced: true,
            receiver: None,
        };
        let Some(dataplane) = &mut self.dataplane else {
            return (port, Ok(()));
        };
        let mode = match self.agent.xdp {
            model::XdpMode::Native => dataplane::Mode::Native,
            model::XdpMode::Generic => dataplane::Mode::Generic,
            model::XdpMode::Auto | model::XdpMode::Off => dataplane::Mode::Auto,
        };
        match dataplane.attach(name, interface.index, mode) {
            Ok(attached) => {
                port.mode = attached.mode.name();
                port.note = attached.fallback_reason;
                if let Some(reason) = &port.note {
                    tracing::warn!("{name}: XDP in {} mode: {reason}", port.mode);
                } else {
                    tracing::info!("{name}: XDP in {} mode", port.mode);
                }
            }
            Err(error) => {
                port.mode = "refused";
                port.note = Some(with_causes(&error));
                port.fenced = false;
                return (port, Err(error.into()));
            }
        }
        (port, Ok(()))
    }

    /// Lets go of the link to an interface that went away, unless it has another name now.
    fn drop_link(&mut self, name: &str, ifindex: u32) {
        let elsewhere = self
            .ports
            .iter()
            .any(|(other, port)| other != name && port.ifindex == ifindex);
        if ifindex != 0
            && !elsewhere
            && let Some(dataplane) = &mut self.dataplane
            && let Err(error) = dataplane.detach(ifindex)
        {
            tracing::warn!("{name}: {}", with_causes(&error));
        }
    }

    /// Takes the program off interfaces that the configuration no longer names.
    pub(super) fn drop_stale_links(&mut self) -> Result<(), Error> {
        let keep: Vec<u32> = self
            .interface_names()
            .iter()
            .filter_map(|name| self.netlink.get(name).map(|interface| interface.index))
            .collect();
        if let Some(dataplane) = &mut self.dataplane {
            dataplane.detach_others(&keep)?;
        }
        Ok(())
    }

    /// Brings the maps to what the configuration and the interfaces of the moment want.
    pub(super) fn point(&mut self) -> Result<(), Error> {
        let Some(dataplane) = &mut self.dataplane else {
            return Ok(());
        };
        let mut desired = Desired::default();
        for (index, slot) in self.slots.iter().enumerate() {
            let ifindex = self
                .ports
                .get(&slot.settings.interface)
                .map_or(0, |port| port.ifindex);
            if ifindex == 0 {
                continue;
            }
            desired.routers.push(DesiredRouter {
                slot: index as u32,
                ifindex,
                vlans: 0,
                family: slot.settings.router.family,
                vrid: slot.settings.router.vrid.get(),
                peers: slot.settings.peers.clone(),
                addresses: slot
                    .settings
                    .addresses
                    .iter()
                    .map(|address| DesiredAddress {
                        address: address.prefix.address,
                        prefix_len: address.prefix.len,
                        ifindex,
                        vlans: 0,
                    })
                    .collect(),
            });
        }
        Ok(dataplane.apply(&desired)?)
    }
}
