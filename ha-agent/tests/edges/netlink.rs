//! Addresses and interfaces as the kernel reports them.

use std::fmt::Write as _;
use std::future::Future;
use std::net::IpAddr;

use ha_agent::config::model::{Scope, VirtualAddress};
use ha_agent::netlink::{Added, Change, Interface, Netlink, ipv6_forwarding, primary_address};
use ha_agent::vrrp::types::{Family, Prefix};

use crate::lab::{Namespace, Pair, QUIET, SOON, run};

fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap();
    Prefix {
        address: address.parse().unwrap(),
        len: len.parse().unwrap(),
    }
}

fn vip(text: &str) -> VirtualAddress {
    VirtualAddress {
        prefix: prefix(text),
        scope: Scope::Global,
    }
}

fn interface(name: &str) -> Change {
    Change::Interface(name.to_owned())
}

fn gone(ifindex: u32, address: &str) -> Change {
    Change::AddressGone {
        ifindex,
        address: address.parse().unwrap(),
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what)
        .await
        .expect("nothing came")
}

/// Collects changes until `done`.
async fn until(netlink: &mut Netlink, done: impl Fn(&Netlink, &[Change]) -> bool) -> Vec<Change> {
    let mut all = Vec::new();
    soon(async {
        while !done(netlink, &all) {
            all.extend(netlink.changed().await.unwrap());
        }
    })
    .await;
    all
}

async fn settle(netlink: &mut Netlink) {
    while tokio::time::timeout(QUIET, netlink.changed()).await.is_ok() {}
}

fn holds(interface: &Interface, address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    interface
        .addresses
        .iter()
        .any(|a| a.prefix.address == address)
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_first_view_is_complete() {
    let pair = Pair::new();
    let mac = pair.here.mac("eth0");
    let ifindex = pair.here.ifindex("eth0");
    pair.here.block_on(async || {
        let netlink = Netlink::open().await.unwrap();
        let eth0 = netlink.get("eth0").unwrap();
        assert_eq!(eth0.index, ifindex);
        assert_eq!(eth0.mac, Some(mac));
        assert_eq!(eth0.kind.as_deref(), Some("veth"));
        assert!(eth0.up);
        assert_eq!(
            primary_address(eth0, Family::Ipv4, &[]),
            Some("10.0.0.2".parse().unwrap())
        );
        let link_local = primary_address(eth0, Family::Ipv6, &[]).unwrap();
        assert!(link_local.to_string().starts_with("fe80::"));
        let lo = netlink.get("lo").unwrap();
        assert_eq!(primary_address(lo, Family::Ipv4, &[]), None);
        assert!(netlink.get_index(lo.index).is_some());
        assert!(netlink.interfaces().is_sorted_by_key(|i| i.index));
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn addresses_come_and_go_idempotently() {
    let pair = Pair::new();
    let ifindex = pair.here.ifindex("eth0");
    pair.here.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        for text in [
            "10.0.0.1/32",
            "10.0.0.9/24",
            "2001:db8::1/128",
            "2001:db8::9/64",
        ] {
            let vip = vip(text);
            let address = vip.prefix.address.to_string();
            assert_eq!(netlink.add(ifindex, &vip).await.unwrap(), Added::New);
            assert_eq!(netlink.add(ifindex, &vip).await.unwrap(), Added::Existed);
            let changes = until(&mut netlink, |n, _| holds(n.get("eth0").unwrap(), &address)).await;
            assert_eq!(changes, [interface("eth0")]);
            let known = netlink
                .get("eth0")
                .unwrap()
                .addresses
                .iter()
                .find(|a| a.prefix == vip.prefix)
                .copied()
                .unwrap();
            assert!(
                known.ours && known.permanent && !known.tentative,
                "{known:?}"
            );
            assert_eq!(known.scope, Some(Scope::Global));

            netlink.remove(ifindex, &vip.prefix).await.unwrap();
            netlink.remove(ifindex, &vip.prefix).await.unwrap();
            let changes = until(&mut netlink, |_, changes| !changes.is_empty()).await;
            assert_eq!(changes, [gone(ifindex, &address)]);
        }
        let eth0 = netlink.get("eth0").unwrap();
        assert!(holds(eth0, "10.0.0.2") && eth0.addresses.iter().all(|a| !a.ours));
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn an_ipv6_address_is_usable_at_once() {
    let pair = Pair::new();
    let ifindex = pair.here.ifindex("eth0");
    // The opposite of what the pair was set up with: detection is on for this interface.
    pair.here.sysctl("net/ipv6/conf/eth0/accept_dad", "1");
    pair.here.sysctl("net/ipv6/conf/eth0/dad_transmits", "3");
    pair.here.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        netlink.add(ifindex, &vip("2001:db8::1/128")).await.unwrap();
        netlink.add(ifindex, &vip("2001:db8::9/64")).await.unwrap();
        let shown = run("ip -6 addr show dev eth0");
        assert!(!shown.contains("tentative"), "{shown}");
        let line = |address| shown.lines().find(|line| line.contains(address)).unwrap();
        assert!(line("2001:db8::1/128").contains("deprecated"), "{shown}");
        assert!(!line("2001:db8::9/64").contains("deprecated"), "{shown}");
        // A socket can be bound to it right now.
        std::net::UdpSocket::bind("[2001:db8::1]:0").unwrap();
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn an_address_taken_away_is_noticed_and_can_be_put_back() {
    let pair = Pair::new();
    let ifindex = pair.here.ifindex("eth0");
    pair.here.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        netlink.add(ifindex, &vip("10.0.0.1/32")).await.unwrap();
        settle(&mut netlink).await;
        run("ip addr del 10.0.0.1/32 dev eth0");
        let changes = soon(netlink.changed()).await.unwrap();
        assert_eq!(changes, [gone(ifindex, "10.0.0.1")]);
        assert_eq!(
            netlink.add(ifindex, &vip("10.0.0.1/32")).await.unwrap(),
            Added::New
        );
        settle(&mut netlink).await;
        // Away and back before anybody looks: not gone.
        run("ip addr del 10.0.0.1/32 dev eth0");
        run("ip addr add 10.0.0.1/32 dev eth0");
        let changes = soon(netlink.changed()).await.unwrap();
        assert_eq!(changes, [interface("eth0")]);
        assert!(
            !netlink
                .get("eth0")
                .unwrap()
                .addresses
                .iter()
                .any(|a| a.ours)
        );
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn down_up_and_carrier_are_seen() {
    let pair = Pair::new();
    let ifindex = pair.here.ifindex("eth0");
    let Pair { here, there } = &pair;
    here.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        netlink.add(ifindex, &vip("2001:db8::1/128")).await.unwrap();
        settle(&mut netlink).await;

        run("ip link set eth0 down");
        let changes = until(&mut netlink, |n, _| !n.get("eth0").unwrap().up).await;
        assert!(changes.contains(&interface("eth0")));
        // The kernel flushes IPv6 addresses of an interface that goes down.
        let all = until(&mut netlink, |n, _| {
            !holds(n.get("eth0").unwrap(), "2001:db8::1")
        })
        .await;
        let all = [changes, all].concat();
        assert!(all.contains(&gone(ifindex, "2001:db8::1")), "{all:?}");
        assert!(holds(netlink.get("eth0").unwrap(), "10.0.0.2"));
        run("ip link set eth0 up");
        until(&mut netlink, |n, _| n.get("eth0").unwrap().up).await;

        settle(&mut netlink).await;
        there.ip("link set eth0 down");
        until(&mut netlink, |n, _| !n.get("eth0").unwrap().up).await;
        there.ip("link set eth0 up");
        until(&mut netlink, |n, _| n.get("eth0").unwrap().up).await;
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn an_interface_may_appear_late_and_be_created_anew() {
    let node = Namespace::new();
    node.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        assert_eq!(netlink.get("late0"), None);
        run("ip link add late0 type veth peer name peer0");
        run("ip link set peer0 up");
        run("ip addr add 192.0.2.1/24 dev late0");
        run("ip link set late0 up");
        until(&mut netlink, |n, _| {
            n.get("late0")
                .is_some_and(|late| late.up && holds(late, "192.0.2.1"))
        })
        .await;
        settle(&mut netlink).await;
        let first = netlink.get("late0").unwrap().index;

        run("ip link del late0");
        run("ip link add late0 type veth peer name peer0");
        let changes = until(&mut netlink, |n, _| {
            n.get("late0").is_some_and(|late| late.index != first)
        })
        .await;
        assert!(changes.contains(&interface("late0")), "{changes:?}");
        assert!(changes.contains(&gone(first, "192.0.2.1")), "{changes:?}");
        let second = netlink.get("late0").unwrap();
        assert!(!second.up && !holds(second, "192.0.2.1"));
        assert_eq!(netlink.get_index(first), None);

        run("ip link set late0 name later0");
        let changes = until(&mut netlink, |n, _| n.get("later0").is_some()).await;
        assert_eq!(changes, [interface("late0"), interface("later0")]);
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_port_that_leaves_its_bridge_has_not_vanished() {
    let node = Namespace::new();
    node.ip("link add port0 type veth peer name peer0");
    node.ip("link set peer0 up");
    node.ip("link set port0 up");
    node.ip("link add br0 type bridge");
    node.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        run("ip addr add 192.0.2.9/24 dev port0");
        run("ip link set port0 master br0");
        run("ip link set br0 up");
        until(&mut netlink, |n, _| n.get("br0").unwrap().up).await;
        run("ip link set port0 nomaster");
        settle(&mut netlink).await;
        let port0 = netlink.get("port0").unwrap();
        assert!(port0.up && holds(port0, "192.0.2.9"));
        assert_eq!(netlink.get("br0").unwrap().kind.as_deref(), Some("bridge"));
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn failures_name_the_object() {
    let pair = Pair::new();
    let ifindex = pair.here.ifindex("eth0");
    pair.here.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        let error = netlink.add(4711, &vip("10.0.0.1/32")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "netlink: add 10.0.0.1/32 on interface 4711"
        );
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with("No such device"), "{source}");
        netlink.remove(4711, &prefix("10.0.0.1/32")).await.unwrap();

        std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
        let error = netlink
            .add(ifindex, &vip("2001:db8::1/128"))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "netlink: add 2001:db8::1/128 on eth0");
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn waiting_and_asking_are_cancel_safe() {
    let node = Namespace::new();
    node.ip("link add eth0 type veth peer name peer0");
    node.ip("link set peer0 up");
    let ifindex = node.ifindex("eth0");
    node.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        for number in 0..50 {
            let vip = vip(&format!("10.1.0.{number}/32"));
            // Given up after the request has left; its answer is not the next one's.
            tokio::select! {
                biased;
                _ = tokio::task::yield_now() => {}
                added = netlink.add(ifindex, &vip) => assert_eq!(added.unwrap(), Added::New),
            }
            let added = netlink.add(ifindex, &vip).await.unwrap();
            assert_eq!(added, Added::Existed);
            tokio::select! {
                biased;
                _ = tokio::task::yield_now() => {}
                _ = netlink.changed() => {}
            }
        }
        settle(&mut netlink).await;
        let eth0 = netlink.get("eth0").unwrap();
        assert_eq!(eth0.addresses.iter().filter(|a| a.ours).count(), 50);
        assert_eq!(
            netlink.interfaces(),
            Netlink::open().await.unwrap().interfaces()
        );
    });
}

/// Events lost by this namespace's netlink sockets (column Drops).
fn drops() -> u64 {
    std::fs::read_to_string("/proc/thread-self/net/netlink")
        .unwrap()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok())
        .sum()
}

#[test]
#[ignore = "needs root: network namespaces"]
fn lost_events_are_made_up_for() {
    let node = Namespace::new();
    node.ip("link add eth0 type veth peer name peer0");
    node.ip("link set peer0 up");
    let ifindex = node.ifindex("eth0");
    node.block_on(async || {
        let mut netlink = Netlink::open().await.unwrap();
        netlink.add(ifindex, &vip("10.0.0.1/32")).await.unwrap();
        settle(&mut netlink).await;

        // More events than the buffer holds, nobody reading, the interesting ones last.
        let mut batch = String::new();
        for number in 0..12_000 {
            let (high, low) = (number / 250, number % 250);
            writeln!(
                batch,
                "addr add 10.{}.{}.{low}/32 dev eth0",
                1 + high / 250,
                high % 250
            )
            .unwrap();
        }
        writeln!(batch, "addr flush dev eth0").unwrap();
        writeln!(batch, "addr add 10.0.0.7/24 dev eth0").unwrap();
        writeln!(batch, "link set eth0 up").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), batch).unwrap();
        run(&format!("ip -batch {}", file.path().display()));
        assert!(drops() > 0, "the buffer was never full");

        let changes = until(&mut netlink, |n, changes| {
            let eth0 = n.get("eth0").unwrap();
            eth0.up && holds(eth0, "10.0.0.7") && changes.contains(&gone(ifindex, "10.0.0.1"))
        })
        .await;
        assert!(changes.contains(&interface("eth0")));
        settle(&mut netlink).await;
        assert_eq!(
            netlink.interfaces(),
            Netlink::open().await.unwrap().interfaces()
        );
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn forwarding_is_read_in_the_namespace() {
    let pair = Pair::new();
    pair.here.enter(|| {
        assert!(!ipv6_forwarding("eth0"));
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/forwarding", "1").unwrap();
        assert!(ipv6_forwarding("eth0"));
        assert!(!ipv6_forwarding("nosuch0"));
    });
}
