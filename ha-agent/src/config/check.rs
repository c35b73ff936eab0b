//! What the keys of one instance say together.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ha_common::vrrp::{HEADER_LEN, digest};
use toml::Spanned;

use super::address::{self, is_link_local};
use super::duration::Written;
use super::file::InstanceTable;
use super::model::{Instance, VirtualAddress};
use super::report::Report;
use crate::vrrp;
use crate::vrrp::types::{Centiseconds, Family, Priority, Version, family_of, to_wire};

/// The MTU that a message must fit, in bytes: that of Ethernet. A fragment is discarded.
const MTU: usize = 1500;

/// Most addresses of one message. IPv4: the 8-bit Address Count. IPv6: what fits behind the
/// header of 40 bytes.
const fn most_addresses(family: Family) -> usize {
    match family {
        Family::Ipv4 => 255,
        Family::Ipv6 => (MTU - 40 - HEADER_LEN) / 16,
    }
}

impl InstanceTable {
    /// The virtual addresses that could be read.
    pub(super) fn vips(&self) -> &[Spanned<VirtualAddress>] {
        self.addresses.as_ref().map_or(&[], |list| list.get_ref())
    }

    /// The peers that could be read.
    pub(super) fn peer_list(&self) -> &[Spanned<IpAddr>] {
        self.peers.as_ref().map_or(&[], |list| list.get_ref())
    }

    /// Whether advertisements go to the group; `false` when that is not known.
    fn multicast(&self) -> bool {
        self.peers.is_none() || (self.peer_list().is_empty() && self.errors == 0)
    }

    fn owner(&self) -> bool {
        matches!(&self.priority, Some(p) if *p.get_ref() == Priority::OWNER)
    }

    /// The family: of the key, else of the first address named. Not reported when absent.
    pub(super) fn family(&self) -> Option<Family> {
        let named = || self.first_address().map(family_of);
        self.family.as_ref().map(|f| *f.get_ref()).or_else(named)
    }

    fn first_address(&self) -> Option<IpAddr> {
        let vip = self.vips().first().map(|vip| vip.get_ref().prefix.address);
        let source = || self.source.as_ref().map(|source| *source.get_ref());
        let peer = || self.peer_list().first().map(|peer| *peer.get_ref());
        vip.or_else(source).or_else(peer)
    }
}

/// Checks one instance; `None`: something was reported.
pub(super) fn instance(report: &mut Report<'_>, table: &InstanceTable) -> Option<Instance> {
    let family = families(report, table);
    let interval = interval(report, table);
    version(report, table, family);
    preemption(report, table);
    addresses(report, table, family);
    source(report, table);
    peers(report, table);
    cast(report, table);
    let password = password(report, table);
    let vips: Vec<VirtualAddress> = table.vips().iter().map(|vip| *vip.get_ref()).collect();
    let family = family?;
    let wire = vips.iter().map(|vip| to_wire(vip.prefix.address));
    let version = *table.version.as_ref()?.get_ref();
    let checksum = table.checksum.as_ref().and_then(|form| *form.get_ref());
    Some(Instance {
        name: table.name.as_ref()?.get_ref().clone(),
        interface: table.interface.as_ref()?.get_ref().clone(),
        router: vrrp::Config {
            vrid: *table.vrid.as_ref()?.get_ref(),
            family,
            version,
            priority: *table.priority.as_ref()?.get_ref(),
            interval: interval?,
            preempt: *table.preempt.as_ref()?.get_ref(),
            preempt_delay: *table.preempt_delay.as_ref()?.get_ref(),
            addresses: digest(family, wire),
            // The other cases have one form only.
            checksum: checksum.filter(|_| version == Version::V3 && family == Family::Ipv4),
        },
        addresses: vips,
        source: table.source.as_ref().map(|source| *source.get_ref()),
        peers: table
            .peer_list()
            .iter()
            .map(|peer| *peer.get_ref())
            .collect(),
        password,
        ttl_min: *table.ttl_min.as_ref()?.get_ref(),
        announce: table.announce,
    })
}

fn families(report: &mut Report<'_>, table: &InstanceTable) -> Option<Family> {
    let Some(family) = table.family() else {
        if table.errors == 0 {
            report.error(
                table.header.clone(),
                "nothing says whether the instance is IPv4 or IPv6",
                "for example family = \"ipv4\"",
            );
        }
        return None;
    };
    let here = address::name(family);
    let because = match (&table.family, table.first_address()) {
        (None, Some(first)) => first.to_string(),
        _ => "family".to_owned(),
    };
    let mut judge = |at, address: IpAddr, fix: &str| {
        if family_of(address) != family {
            let other = address::name(family_of(address));
            let message =
                format!("{address} is {other}, but {because} makes this an {here} instance");
            report.error(at, message, fix);
        }
    };
    for vip in table.vips() {
        let fix =
            "one family per instance: move it to an [[instance]] of its own, same vrid allowed";
        judge(vip.span(), vip.get_ref().prefix.address, fix);
    }
    if let Some(source) = &table.source {
        judge(
            source.span(),
            *source.get_ref(),
            &format!("write an {here} source"),
        );
    }
    for peer in table.peer_list() {
        judge(
            peer.span(),
            *peer.get_ref(),
            &format!("write the {here} address of the peer"),
        );
    }
    Some(family)
}

fn version(report: &mut Report<'_>, table: &InstanceTable, family: Option<Family>) {
    let Some(version) = &table.version else {
        return;
    };
    let v2 = *version.get_ref() == Version::V2;
    let ipv6 = family == Some(Family::Ipv6);
    if v2 && ipv6 {
        report.error(version.span(), "VRRPv2 has no IPv6", "version = 3");
    }
    if let Some(form) = &table.checksum
        && form.get_ref().is_some()
        && (v2 || ipv6)
    {
        let what = if v2 { "VRRPv2" } else { "IPv6" };
        let message = format!("checksum has no effect: {what} has one form only");
        report.warning(form.span(), message, "remove checksum");
    }
}

fn interval(report: &mut Report<'_>, table: &InstanceTable) -> Option<Centiseconds> {
    let at = table.interval.as_ref()?;
    let version = *table.version.as_ref()?.get_ref();
    let given = *at.get_ref();
    let (number, range, step) = match version {
        Version::V2 => (2, Duration::from_secs(1)..=Duration::from_secs(255), 1000),
        Version::V3 => (
            3,
            Duration::from_millis(10)..=Duration::from_millis(40_950),
            10,
        ),
    };
    let whole = given.as_nanos().is_multiple_of(step * 1_000_000);
    if range.contains(&given) && whole {
        let centiseconds = u64::try_from(given.as_millis() / 10).ok()?;
        return Centiseconds::try_from(centiseconds).ok();
    }
    let message = format!(
        "advert_interval in VRRPv{number} must be {} to {} in steps of {}, not {}",
        Written(*range.start()),
        Written(*range.end()),
        Written(*range.start()),
        Written(given),
    );
    let v3 = Duration::from_millis(10)..=Duration::from_millis(40_950);
    let fix = if version == Version::V2 && v3.contains(&given) {
        "advert_interval = \"1s\", or version = 3 on every router"
    } else {
        "for example advert_interval = \"1s\""
    };
    report.error(at.span(), message, fix);
    None
}

fn preemption(report: &mut Report<'_>, table: &InstanceTable) {
    let off = table.preempt.as_ref().filter(|preempt| !preempt.get_ref());
    let delay = table
        .preempt_delay
        .as_ref()
        .filter(|delay| !delay.get_ref().is_zero());
    if table.owner() {
        let keys = [
            off.map(|p| (p.span(), "preempt = false")),
            delay.map(|d| (d.span(), "preempt_delay")),
        ];
        for (at, key) in keys.into_iter().flatten() {
            report.error(
                at,
                format!("{key} contradicts priority 255: an address owner is Active at once"),
                format!("priority = 254, or remove {key}"),
            );
        }
    } else if let (Some(_), Some(delay)) = (off, delay) {
        report.error(
            delay.span(),
            "preempt_delay contradicts preempt = false: there is no preemption to delay",
            "remove preempt_delay, or write preempt = true",
        );
    }
}

fn addresses(report: &mut Report<'_>, table: &InstanceTable, family: Option<Family>) {
    let Some(list) = &table.addresses else {
        if table.errors == 0 {
            report.warning(
                table.header.clone(),
                "the instance has no virtual address: it elects a role and serves nothing",
                "for example addresses = [\"192.168.1.200/24\"], or addresses = [] if this is meant",
            );
        }
        return;
    };
    let Some(family) = family else {
        return;
    };
    let (count, most) = (list.get_ref().len(), most_addresses(family));
    if count > most {
        let name = address::name(family);
        report.error(
            list.span(),
            format!("addresses has {count} entries, but one {name} message carries {most}"),
            "move the rest to an [[instance]] with another vrid",
        );
    }
    if let Some(first) = table.vips().first()
        && family == Family::Ipv6
        && first.get_ref().prefix.address.is_ipv6()
        && !is_link_local(first.get_ref().prefix.address)
    {
        let first_address = first.get_ref().prefix.address;
        report.warning(
            first.span(),
            format!("the first IPv6 address must be link-local (RFC 9568 §5.2.9), {first_address} is not"),
            "put a virtual link-local address first, for example \"fe80::1/64\"",
        );
    }
}

fn source(report: &mut Report<'_>, table: &InstanceTable) {
    let Some(source) = &table.source else {
        return;
    };
    let address = *source.get_ref();
    let virtual_too = table
        .vips()
        .iter()
        .any(|vip| vip.get_ref().prefix.address == address);
    if virtual_too && !table.owner() {
        report.error(
            source.span(),
            format!("source {address} is a virtual address: a Backup does not have it"),
            "write the interface's own address",
        );
    }
    if address.is_ipv6() && !is_link_local(address) && table.multicast() {
        report.warning(
            source.span(),
            format!("IPv6 multicast must come from a link-local address (RFC 9568 §5.1.2.1), {address} is not"),
            "remove source, or write the interface's fe80:: address",
        );
    }
}

fn peers(report: &mut Report<'_>, table: &InstanceTable) {
    let mut seen = BTreeSet::new();
    for peer in table.peer_list() {
        let address = *peer.get_ref();
        let mut wrong = |message: String, fix: &str| report.error(peer.span(), message, fix);
        if matches!(&table.source, Some(source) if *source.get_ref() == address) {
            wrong(
                format!("peer {address} is this router's own source"),
                "write the other router's address",
            );
        } else if table
            .vips()
            .iter()
            .any(|vip| vip.get_ref().prefix.address == address)
        {
            wrong(
                format!("peer {address} is a virtual address"),
                "write the address that only the peer has",
            );
        } else if !seen.insert(address) {
            wrong(format!("peer {address} is given twice"), "keep one of them");
        }
    }
}

fn cast(report: &mut Report<'_>, table: &InstanceTable) {
    if let Some(ttl) = &table.ttl_min
        && *ttl.get_ref() < 255
        && table.multicast()
    {
        report.error(
            ttl.span(),
            "ttl_min below 255 is for unicast peers some hops away, but there are no peers",
            "remove ttl_min, or write peers = […]",
        );
    }
}

fn password(report: &mut Report<'_>, table: &InstanceTable) -> Option<[u8; 8]> {
    let written = table.password.as_ref()?;
    let bytes = written.get_ref().as_bytes();
    let version = *table.version.as_ref()?.get_ref();
    let mut wrong = |message: String, fix: &str| report.error(written.span(), message, fix);
    if version == Version::V3 {
        wrong(
            "VRRPv3 has no password (RFC 9568 removed authentication)".to_owned(),
            "remove password, or write version = 2 on every router",
        );
        return None;
    }
    if bytes.is_empty() {
        wrong(
            "password is empty".to_owned(),
            "remove it, or write 1 to 8 bytes",
        );
        return None;
    }
    let mut padded = [0; 8];
    let Some(room) = padded.get_mut(..bytes.len()) else {
        let message = format!("password has {} bytes, but VRRPv2 carries 8", bytes.len());
        wrong(
            message,
            "shorten it to the first 8 bytes: keepalived peers use those",
        );
        return None;
    };
    room.copy_from_slice(bytes);
    report.warning(
        written.span(),
        "the password travels in clear text: it stops mistakes, not attackers",
        "keep it for peers that ask for it; else remove it, version = 3 on every router",
    );
    Some(padded)
}
