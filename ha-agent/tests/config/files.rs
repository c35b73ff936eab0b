//! The files under `configs/`: each one loads, and says what its comments say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ha_agent::config::model::{Config, Instance};
use ha_agent::config::{self, Loaded};
use ha_agent::vrrp::types::{Family, Priority, Version};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

fn example(name: &str) -> Config {
    load(&configs().join("examples").join(name)).config
}

fn load(path: &Path) -> Loaded {
    config::load(path).unwrap_or_else(|found| panic!("{found}"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_file_loads_and_warns_of_passwords_alone() {
    let mut all = Vec::new();
    files(&configs(), &mut all);
    let is_toml = |path: &&PathBuf| path.extension().is_some_and(|e| e == "toml");
    assert_eq!(all.iter().filter(is_toml).count(), 9);
    for path in all.iter().filter(is_toml) {
        for warning in load(path).warnings {
            assert!(
                warning
                    .message
                    .starts_with("the password travels in clear text"),
                "{warning}"
            );
        }
    }
}

/// What is said of a key as its default is what a file without the key gets.
#[test]
fn the_reference_shows_the_defaults() {
    let path = configs().join("ha-agent.toml");
    let reference = load(&path);
    assert_eq!(reference.warnings, []);
    let least = "
        [[instance]]
        name = \"VI_1\"
        interface = \"eth0\"
        vrid = 51
        addresses = [\"192.168.1.200/24\", \"192.168.1.201\"]
        [[instance]]
        name = \"VI_2\"
        interface = \"eth0\"
        vrid = 52
        addresses = [\"192.168.1.210/24\"]
        source = \"192.168.1.2\"
        peers = [\"192.168.1.3\"]
    ";
    let mut least = config::parse("least", least).unwrap().config;
    least.agent.router_id = "r1".to_owned();
    assert_eq!(reference.config, least);
}

/// A key that the parser knows and the reference does not would have no documentation.
#[test]
fn the_reference_names_every_key() {
    let text = fs::read_to_string(configs().join("ha-agent.toml")).unwrap();
    let all = config::parse(
        "all",
        "[[instance]]\n_ = 0\n[agent]\n_ = 0\n[instance.announce]\n_ = 0",
    );
    let mut keys = 0;
    for found in all.unwrap_err().0 {
        let fix = found.fix.unwrap();
        let Some(list) = fix.strip_prefix("the keys here are ") else {
            continue;
        };
        for key in list.split(", ").filter(|key| *key != "announce") {
            let documented = text.lines().any(|line| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{key} = "))
            });
            assert!(documented, "{key} is not in configs/ha-agent.toml");
            keys += 1;
        }
    }
    assert_eq!(keys, 9 + 15 + 5);
}

/// Both files describe one virtual router, and one of them wins.
fn pair(folder: &str, a: &str, b: &str) -> (Instance, Instance) {
    let a = example(&format!("{folder}/{a}.toml")).instances.remove(0);
    let b = example(&format!("{folder}/{b}.toml")).instances.remove(0);
    assert_eq!(a.router.vrid, b.router.vrid);
    assert_eq!(a.router.version, b.router.version);
    assert_eq!(a.router.interval, b.router.interval);
    assert_eq!(a.addresses, b.addresses);
    assert_eq!(a.password, b.password);
    assert!(a.router.priority > b.router.priority);
    assert!(a.router.priority < Priority::OWNER);
    (a, b)
}

#[test]
fn gateway_multicast() {
    let (a, b) = pair("gateway-multicast", "router-a", "router-b");
    assert_eq!(a.router.version, Version::V3);
    assert!(a.peers.is_empty() && b.peers.is_empty());
    let down = ha_agent::vrrp::types::active_down_interval(
        b.router.version,
        b.router.priority,
        b.router.interval,
    );
    assert_eq!(down.as_millis(), 360, "router-a.toml says 0.36 s");
}

#[test]
fn cloud_unicast() {
    let (a, b) = pair("cloud-unicast", "node-a", "node-b");
    assert_eq!(a.peers, [b.source.unwrap()]);
    assert_eq!(b.peers, [a.source.unwrap()]);
    assert!(!a.router.preempt);
    for node in [a, b] {
        assert!(node.announce.repeat_after.as_secs() > 5);
        assert!(node.announce.repeat_count > 0);
    }
}

#[test]
fn ipv6() {
    let (a, _) = pair("ipv6", "router-a", "router-b");
    assert_eq!(a.router.family, Family::Ipv6);
    assert_eq!(a.addresses[0].prefix.to_string(), "fe80::1/64");
}

#[test]
fn keepalived_compatible() {
    let (a, _) = pair("keepalived-compatible", "router-a", "router-b");
    assert_eq!(a.router.version, Version::V2);
    assert_eq!(a.password, Some(*b"1111\0\0\0\0"));
}

fn service() -> BTreeMap<String, String> {
    let text = fs::read_to_string(configs().join("ha-agent.service")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_service_supervises_the_agent() {
    let unit = service();
    for (key, value) in [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        (
            "ExecStart",
            "/usr/bin/ha-agent run --config /etc/ha-agent/ha-agent.toml",
        ),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        (
            "ExecStopPost",
            "/usr/bin/ha-agent cleanup --config /etc/ha-agent/ha-agent.toml",
        ),
        ("WatchdogSec", "5"),
        ("Restart", "on-failure"),
        ("KillMode", "mixed"),
        ("Wants", "network-online.target"),
        ("After", "network.target network-online.target"),
        ("LimitMEMLOCK", "infinity"),
        ("WantedBy", "multi-user.target"),
    ] {
        assert_eq!(unit.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn the_service_leaves_the_agent_what_it_needs() {
    let unit = service();
    for (key, parts) in [
        (
            "CapabilityBoundingSet",
            "CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_PERFMON CAP_SYS_NICE CAP_IPC_LOCK",
        ),
        (
            "RestrictAddressFamilies",
            "AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET",
        ),
        ("ReadWritePaths", "/sys/fs/bpf"),
        ("SystemCallFilter", "@system-service bpf"),
    ] {
        let given: Vec<&str> = unit[key].split(' ').collect();
        assert_eq!(given, parts.split(' ').collect::<Vec<_>>(), "{key}");
    }
    for key in [
        "RestrictRealtime",
        "PrivateNetwork",
        "PrivateUsers",
        "ProcSubset",
        "User",
    ] {
        assert_eq!(
            unit.get(key),
            None,
            "{key} takes away what the agent works with"
        );
    }
}

/// The numbers of the service that follow from the configuration.
#[test]
fn the_service_fits_the_configuration() {
    let unit = service();
    let config = load(&configs().join("ha-agent.toml")).config;
    let run_dir = Path::new("/run").join(&unit["RuntimeDirectory"]);
    assert_eq!(run_dir, config.agent.run_dir);
    assert!(config.agent.pin_dir.starts_with(&unit["ReadWritePaths"]));
    let realtime: u8 = unit["LimitRTPRIO"].parse().unwrap();
    assert!(config.agent.realtime_priority.unwrap() <= realtime);
    // The longest graceful stop: a skew of a second and an interval of 255.
    let stop: u64 = unit["TimeoutStopSec"].parse().unwrap();
    assert!(stop > 256);
}
