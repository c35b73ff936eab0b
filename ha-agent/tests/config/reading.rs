//! Reading a file: what comes out, and what stops it.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ha_agent::config::model::{
    Agent, Announce, Instance, LogLevel, Scope, VirtualAddress, XdpMode,
};
use ha_agent::config::{self, Diagnostics, Severity};
use ha_agent::vrrp;
use ha_agent::vrrp::types::{
    Centiseconds, Checksum, Family, Prefix, Priority, Version, Vrid, to_wire,
};
use proptest::prelude::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let text = r#"
[agent]
router_id = "r1"
run_dir = "/run/x"
pin_dir = "/sys/fs/bpf/x"
xdp = "generic"
fence_interfaces = ["eth1", "eth2"]
realtime_priority = 0
log_level = "warn"
max_instances = 7
max_addresses = 8
[[instance]]
name = "VI_1"
interface = "eth0"
vrid = 51
family = "ipv4"
priority = 200
advert_interval = "10ms"
preempt = true
preempt_delay = "1.5s"
addresses = ["192.168.1.200/24", { address = "10.0.0.1", scope = "link" }]
source = "192.168.1.2"
peers = ["192.168.1.3"]
ttl_min = 250
checksum = "rfc5798"
[instance.announce]
count = 1
repeat_after = "6s"
repeat_count = 2
refresh = "2m"
conflict_gap = "500ms"
"#;
    let loaded = config::parse("f.toml", text).unwrap();
    assert_eq!(loaded.warnings, []);
    let agent = Agent {
        router_id: "r1".to_owned(),
        run_dir: PathBuf::from("/run/x"),
        pin_dir: PathBuf::from("/sys/fs/bpf/x"),
        xdp: XdpMode::Generic,
        fence_interfaces: vec!["eth1".to_owned(), "eth2".to_owned()],
        realtime_priority: None,
        log_level: LogLevel::Warn,
        max_instances: 7,
        max_addresses: 8,
    };
    assert_eq!(loaded.config.agent, agent);
    let vip = |text: &str, len, scope| VirtualAddress {
        prefix: Prefix {
            address: address(text),
            len,
        },
        scope,
    };
    let wire = ["192.168.1.200", "10.0.0.1"].map(|text| to_wire(address(text)));
    let instance = Instance {
        name: "VI_1".to_owned(),
        interface: "eth0".to_owned(),
        router: vrrp::Config {
            vrid: Vrid::try_from(51).unwrap(),
            family: Family::Ipv4,
            version: Version::V3,
            priority: Priority::try_from(200).unwrap(),
            interval: Centiseconds::try_from(1).unwrap(),
            preempt: true,
            preempt_delay: Duration::from_millis(1500),
            addresses: ha_common::vrrp::digest(Family::Ipv4, wire),
            checksum: Some(Checksum::PseudoHeader),
        },
        addresses: vec![
            vip("192.168.1.200", 24, Scope::Global),
            vip("10.0.0.1", 32, Scope::Link),
        ],
        source: Some(address("192.168.1.2")),
        peers: vec![address("192.168.1.3")],
        password: None,
        ttl_min: 250,
        announce: Announce {
            count: 1,
            repeat_after: Duration::from_secs(6),
            repeat_count: 2,
            refresh: Duration::from_secs(120),
            conflict_gap: Duration::from_millis(500),
        },
    };
    assert_eq!(loaded.config.instances, [instance]);
}

#[test]
fn the_host_name_is_the_default_router_id() {
    let loaded = config::parse("f.toml", &instances(1, 1, "10.0")).unwrap();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(loaded.config.agent.router_id, name.trim());
}

#[test]
fn crlf_and_a_byte_order_mark_are_no_matter() {
    let text = format!("\u{feff}{}", instances(1, 1, "10.0")).replace('\n', "\r\n");
    assert_eq!(config::parse("f.toml", &text).unwrap().warnings, []);
}

/// `count` instances with `vips` addresses each, below a prefix of two numbers.
fn instances(count: usize, vips: usize, net: &str) -> String {
    let mut text = String::new();
    let mut host = 0;
    for index in 0..count {
        let addresses: Vec<_> = (0..vips)
            .map(|_| {
                host += 1;
                format!("\"{net}.{}.{}\"", host / 250, host % 250 + 1)
            })
            .collect();
        writeln!(
            text,
            "[[instance]]\nname = \"VI_{index}\"\ninterface = \"eth{}\"\nvrid = {}\naddresses = [{}]",
            index / 255,
            index % 255 + 1,
            addresses.join(", "),
        )
        .unwrap();
    }
    text
}

fn messages(found: &Diagnostics) -> Vec<&str> {
    found.0.iter().map(|one| &*one.message).collect()
}

#[test]
fn an_ipv4_message_carries_255_addresses() {
    assert!(config::parse("f.toml", &instances(1, 255, "10.0")).is_ok());
    let found = config::parse("f.toml", &instances(1, 256, "10.0")).unwrap_err();
    assert_eq!(
        messages(&found),
        ["addresses has 256 entries, but one IPv4 message carries 255"]
    );
}

/// Together with its header, 40 + 8 + 90 × 16 = 1488 bytes; a 91st would make fragments.
#[test]
fn an_ipv6_message_carries_90_addresses() {
    let text = |count: usize| {
        let all: Vec<_> = (1..=count).map(|n| format!("\"fe80::{n:x}/64\"")).collect();
        format!(
            "[[instance]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [{}]",
            all.join(", ")
        )
    };
    assert!(config::parse("f.toml", &text(90)).is_ok());
    let found = config::parse("f.toml", &text(91)).unwrap_err();
    assert_eq!(
        messages(&found),
        ["addresses has 91 entries, but one IPv6 message carries 90"]
    );
}

#[test]
fn the_default_room_is_256_instances() {
    assert!(config::parse("f.toml", &instances(256, 1, "10.0")).is_ok());
    let found = config::parse("f.toml", &instances(257, 1, "10.0")).unwrap_err();
    assert_eq!(
        messages(&found),
        ["257 instances, but max_instances is 256"]
    );
    assert_eq!(
        found.0[0].fix.as_deref(),
        Some("max_instances = 257 in [agent]")
    );
    let more = format!(
        "[agent]\nmax_instances = 257\n{}",
        instances(257, 1, "10.0")
    );
    assert!(config::parse("f.toml", &more).is_ok());
}

#[test]
fn the_map_of_peers_holds_4096() {
    let peers = |count: u32| {
        let all: Vec<_> = (1..=count)
            .map(|n| format!("\"{}\"", IpAddr::from((0x0a01_0000 + n).to_be_bytes())))
            .collect();
        format!("{}peers = [{}]\n", instances(1, 1, "10.0"), all.join(", "))
    };
    assert!(config::parse("f.toml", &peers(4096)).is_ok());
    let found = config::parse("f.toml", &peers(4097)).unwrap_err();
    assert_eq!(messages(&found), ["more than 4096 peers in the file"]);
}

#[test]
fn a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    assert_eq!(
        config::load(&missing).unwrap_err().to_string(),
        format!(
            "{}: error: cannot read: No such file or directory (os error 2)\n  \
             fix: write it, or name another with --config",
            missing.display()
        )
    );
    assert_eq!(
        config::load(folder.path()).unwrap_err().to_string(),
        format!(
            "{}: error: cannot read: Is a directory (os error 21)\n  fix: name a file in it",
            folder.path().display()
        )
    );
}

#[test]
fn a_file_of_more_than_10_mb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.toml");
    let mut text = instances(1, 1, "10.0");
    let limit = usize::try_from(config::MAX_BYTES).unwrap();
    text.push_str(&"#".repeat(limit - text.len()));
    fs::write(&path, &text).unwrap();
    assert!(config::load(&path).is_ok());
    fs::write(&path, text + "#").unwrap();
    assert_eq!(
        config::load(&path).unwrap_err().to_string(),
        format!(
            "{}: error: more than 10 MB\n  fix: is this the right file?",
            path.display()
        )
    );
}

#[test]
fn a_file_that_is_not_utf8() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.toml");
    fs::write(&path, b"[agent]\nrouter_id = \"M\xfcnchen\"\n").unwrap();
    assert_eq!(
        config::load(&path).unwrap_err().to_string(),
        format!(
            "{}:2:15: error: byte 0xfc is not UTF-8\n    router_id = \"M\u{fffd}nchen\"\n    \
             {:14}^\n  fix: save the file as UTF-8",
            path.display(),
            ""
        )
    );
}

#[test]
fn findings_are_json_too() {
    let found = config::parse("f.toml", "[[instance]]\nvrid = 0").unwrap_err();
    assert_eq!(found.errors().count(), 3);
    let last = found.0.last().unwrap();
    assert_eq!(last.severity, Severity::Error);
    assert_eq!(
        serde_json::to_value(last).unwrap(),
        serde_json::json!({
            "severity": "error",
            "message": "vrid must be 1 to 255, not 0",
            "fix": "for example vrid = 51",
            "file": "f.toml",
            "line": 2,
            "column": 8,
            "source": "vrid = 0",
        })
    );
    let whole = config::load("/nonexistent".as_ref()).unwrap_err();
    assert_eq!(
        serde_json::to_value(&whole).unwrap(),
        serde_json::json!([{
            "severity": "error",
            "message": "cannot read: No such file or directory (os error 2)",
            "fix": "write it, or name another with --config",
            "file": "/nonexistent",
        }])
    );
}

#[test]
fn nesting_ends_in_an_error() {
    for open in ["[", "{a="] {
        let text = format!("agent = {}", open.repeat(100_000));
        assert!(config::parse("f.toml", &text).is_err());
    }
}

#[test]
fn ten_thousand_mistakes_are_told_up_to_a_thousand() {
    let text: String = (0..10_000).map(|n| format!("key{n} = 0\n")).collect();
    assert_eq!(config::parse("f.toml", &text).unwrap_err().0.len(), 1000);
}

proptest! {
    /// Whatever is written, there is an answer, and an error when it is refused.
    #[test]
    fn any_text_has_an_answer(words in prop::collection::vec(word(), 0..60)) {
        let text = words.concat();
        if let Err(found) = config::parse("f.toml", &text) {
            prop_assert!(found.errors().count() > 0);
            prop_assert!(!found.to_string().is_empty());
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    let known = [
        "[agent]\n",
        "[[instance]]\n",
        "[instance.announce]\n",
        "name = ",
        "interface = ",
        "vrid = ",
        "version = ",
        "family = ",
        "addresses = ",
        "source = ",
        "peers = ",
        "password = ",
        "advert_interval = ",
        "count = ",
        "announce = ",
        "address = ",
        "scope = ",
        "xdp = ",
        "\"VI_1\"",
        "\"eth0\"",
        "\"10.0.0.1/24\"",
        "\"10.0.0.2\"",
        "\"fe80::1/64\"",
        "\"1s\"",
        "\"ipv6\"",
        "51",
        "0",
        "2",
        "-1",
        "1.5",
        "true",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\n",
        "\r\n",
        "\"",
        "'",
        "#",
        "=",
        ".",
        " ",
        "\t",
        "\u{e9}",
        "\u{1f600}",
        "\u{0}",
        "\\",
    ];
    prop_oneof![
        9 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => ".{0,3}",
    ]
}
