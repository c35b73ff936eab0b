//! The pipeline once more, over hash maps of this process: what the kernel should say.
//!
//! Written from DESIGN.md §3, not from the program; the packet views and `vrrp::judge` are the
//! shared ones. Time stands still: the test runs within one advertisement interval, and a lease is
//! either over or endless.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ha_agent::dataplane::wire;
use ha_common::maps::{Cast, LastAdvert, PeerKey, RATE_BURST, Role, Vip, VridKey, is_link_local};
use ha_common::net::{self, Address, Fragment, Ip, Link, mapped};
use ha_common::verdict::Verdict;
use ha_common::vrrp::{self, Header, IPPROTO_VRRP};

use crate::bench::{FOREVER, Router};

pub(crate) struct Model<'a> {
    routers: &'a [Router],
    slots: HashMap<VridKey, usize>,
    vips: HashMap<(Address, u32), Vip>,
    peers: HashSet<PeerKey>,
    last: HashMap<usize, LastAdvert>,
    changed: HashMap<PeerKey, u32>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(routers: &'a [Router]) -> Self {
        let mut model = Self {
            routers,
            slots: HashMap::new(),
            vips: HashMap::new(),
            peers: HashSet::new(),
            last: HashMap::new(),
            changed: HashMap::new(),
        };
        for (slot, router) in routers.iter().enumerate() {
            let i = &router.instance;
            let key = VridKey::new(i.ifindex, i.vlans, i.family, i.vrid);
            model.slots.insert(key, slot);
            for peer in &router.peers {
                let address = wire(*peer);
                let slot = slot as u32;
                model.peers.insert(PeerKey { address, slot });
            }
            for wanted in &router.addresses {
                let address = wire(wanted.address);
                let scoped = matches!(wanted.address, IpAddr::V6(_)) && is_link_local(&address);
                let vip = Vip {
                    slot: slot as u32,
                    ifindex: wanted.ifindex,
                    vlans: wanted.vlans,
                    prefix_len: wanted.prefix_len.into(),
                };
                let scope = if scoped { wanted.ifindex } else { 0 };
                model.vips.insert((address, scope), vip);
            }
        }
        model
    }

    pub(crate) fn verdict(&mut self, ifindex: u32, frame: &[u8]) -> Verdict {
        let Some(link) = net::link(frame) else {
            return Verdict::PassUnparsed;
        };
        match link.ethertype {
            net::ETHERTYPE_ARP => self.arp(ifindex, frame, &link),
            net::ETHERTYPE_IPV4 => match net::ipv4(frame, link.payload) {
                Some(ip) => self.ip(ifindex, frame, &link, &ip, Some(ip)),
                None => Verdict::PassUnparsed,
            },
            net::ETHERTYPE_IPV6 => match net::ipv6(frame, link.payload) {
                Some(ip) => {
                    let upper = net::upper_layer(frame, ip);
                    self.ip(ifindex, frame, &link, &ip, upper)
                }
                None => Verdict::PassUnparsed,
            },
            _ => Verdict::PassOther,
        }
    }

    fn arp(&self, ifindex: u32, frame: &[u8], link: &Link) -> Verdict {
        let Some(arp) = net::arp(frame, link.payload) else {
            return Verdict::PassUnparsed;
        };
        let asks = arp.operation == net::ARP_REQUEST && arp.sender != arp.target;
        match self.vips.get(&(mapped(arp.target), 0)) {
            Some(vip) if asks => self.fence(ifindex, link, vip, Verdict::FenceArp),
            _ => Verdict::PassArp,
        }
    }

    fn ip(
        &mut self,
        ifindex: u32,
        frame: &[u8],
        link: &Link,
        ip: &Ip,
        upper: Option<Ip>,
    ) -> Verdict {
        let vrrp = upper.filter(|ip| ip.protocol == IPPROTO_VRRP && ip.fragment != Fragment::Later);
        if let Some(ip) = vrrp {
            return self.vrrp(ifindex, frame, link, &ip);
        }
        let target = upper
            .filter(|ip| ip.family == net::Family::Ipv6)
            .and_then(|ip| net::solicited(frame, &ip));
        if let Some(vip) = target.and_then(|target| self.vip(ifindex, target)) {
            return self.fence(ifindex, link, vip, Verdict::FenceNd);
        }
        match self.vip(ifindex, ip.destination) {
            Some(vip) => self.fence(ifindex, link, vip, Verdict::FenceTraffic),
            None if upper.is_none() => Verdict::PassUnparsed,
            None => Verdict::PassNotOurs,
        }
    }

    fn vip(&self, ifindex: u32, address: Address) -> Option<&Vip> {
        let scope = if is_link_local(&address) { ifindex } else { 0 };
        self.vips.get(&(address, scope))
    }

    fn fence(&self, ifindex: u32, link: &Link, vip: &Vip, closed: Verdict) -> Verdict {
        let instance = &self.routers[vip.slot as usize].instance;
        let live = instance.lease_until_ns == FOREVER;
        let traffic = closed == Verdict::FenceTraffic;
        match instance.role {
            Role::Active if live && traffic => Verdict::PassServed,
            Role::Active if live => Verdict::PassAnswered,
            Role::Handover if live && traffic => Verdict::PassHandover,
            Role::Active | Role::Handover => closed,
            Role::Backup | Role::Initialize => {
                if (ifindex, link.vlans) == (vip.ifindex, vip.vlans) {
                    closed
                } else {
                    Verdict::PassTransit
                }
            }
        }
    }

    fn vrrp(&mut self, ifindex: u32, frame: &[u8], link: &Link, ip: &Ip) -> Verdict {
        let Some(header) = Header::load(frame, ip.payload) else {
            return Verdict::PassUnparsed;
        };
        let key = VridKey::new(ifindex, link.vlans, ip.family, header.vrid());
        let Some(&slot) = self.slots.get(&key) else {
            return Verdict::PassForeignVrid;
        };
        let instance = &self.routers[slot].instance;
        let advert = match vrrp::judge(frame, ip, header, instance) {
            Ok(advert) => advert,
            Err(verdict) => return verdict,
        };
        let sender = PeerKey {
            address: advert.source,
            slot: slot as u32,
        };
        if instance.cast == Cast::Unicast && !self.peers.contains(&sender) {
            return Verdict::VrrpSource;
        }
        let quiet = matches!(instance.role, Role::Backup | Role::Initialize);
        let repeats = self
            .last
            .get(&slot)
            .is_some_and(|last| last.repeats(&advert));
        if quiet && repeats && advert.priority != 0 {
            return Verdict::AdvertUnchanged;
        }
        let sent = self.changed.entry(sender).or_default();
        if *sent >= RATE_BURST {
            return Verdict::VrrpRate;
        }
        *sent += 1;
        self.last.insert(slot, advert);
        Verdict::AdvertChanged
    }
}
