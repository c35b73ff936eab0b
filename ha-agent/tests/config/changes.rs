//! What a reload can follow.

use ha_agent::config::{self, Change, changes};

const PAIR: &str = r#"
[agent]
router_id = "r1"
[[instance]]
name = "A"
interface = "eth0"
vrid = 51
addresses = ["10.0.0.1/24"]
[[instance]]
name = "B"
interface = "eth0"
vrid = 52
addresses = ["10.0.0.2/24", "10.0.0.3/24"]
"#;

/// The differences after each `before` of [`PAIR`] has become `after`.
fn after(replaced: &[(&str, &str)]) -> Vec<Change> {
    let old = config::parse("old", PAIR).unwrap().config;
    let mut text = PAIR.to_owned();
    for (before, after) in replaced {
        assert!(text.contains(before), "{before}");
        text = text.replacen(before, after, 1);
    }
    let new = config::parse("new", &text).unwrap_or_else(|found| panic!("{found}"));
    changes(&old, &new.config)
}

fn restart(what: &str) -> Vec<Change> {
    vec![Change::NeedsRestart {
        what: what.to_owned(),
    }]
}

#[test]
fn nothing() {
    assert_eq!(after(&[]), []);
    assert_eq!(after(&[("vrid = 51", "vrid = 51 # a comment")]), []);
    assert_eq!(after(&[("vrid = 51", "vrid = 51\npriority = 100")]), []);
}

#[test]
fn the_election_follows() {
    for line in [
        "priority = 90",
        "advert_interval = \"2s\"",
        "preempt = false",
        "preempt_delay = \"5s\"",
        "checksum = \"rfc9568\"",
    ] {
        let changed = after(&[("vrid = 52", &format!("vrid = 52\n{line}"))]);
        assert_eq!(changed, [Change::Router { index: 1 }], "{line}");
    }
}

#[test]
fn the_addresses_follow() {
    let both = [Change::Router { index: 1 }, Change::Addresses { index: 1 }];
    assert_eq!(after(&[(", \"10.0.0.3/24\"", "")]), both);
    let other_list = [("10.0.0.2/24", "10.0.0.4/24")];
    assert_eq!(after(&other_list), both);
    // The same addresses to a peer, but not to the kernel.
    let other_order = [(
        "\"10.0.0.2/24\", \"10.0.0.3/24\"",
        "\"10.0.0.3/24\", \"10.0.0.2/24\"",
    )];
    assert_eq!(after(&other_order), [Change::Addresses { index: 1 }]);
    assert_eq!(
        after(&[("10.0.0.2/24", "10.0.0.2")]),
        [Change::Addresses { index: 1 }]
    );
    let other_scope = [(
        "\"10.0.0.2/24\"",
        "{ address = \"10.0.0.2/24\", scope = \"link\" }",
    )];
    assert_eq!(after(&other_scope), [Change::Addresses { index: 1 }]);
}

#[test]
fn the_announcements_follow() {
    let table = [(
        "[\"10.0.0.1/24\"]",
        "[\"10.0.0.1/24\"]\nannounce = { count = 1 }",
    )];
    assert_eq!(after(&table), [Change::Announce { index: 0 }]);
}

#[test]
fn the_rest_needs_a_restart() {
    for (before, now, what) in [
        ("vrid = 51", "vrid = 53", "A: vrid"),
        ("eth0", "eth1", "A: interface"),
        ("vrid = 51", "vrid = 51\nversion = 2", "A: version"),
        ("vrid = 51", "vrid = 51\nsource = \"10.0.0.9\"", "A: source"),
        ("vrid = 51", "vrid = 51\npeers = [\"10.0.0.9\"]", "A: peers"),
        ("\"r1\"", "\"r2\"", "agent.router_id"),
        ("\"r1\"", "\"r1\"\nrun_dir = \"/run/x\"", "agent.run_dir"),
        (
            "\"r1\"",
            "\"r1\"\npin_dir = \"/sys/fs/bpf/x\"",
            "agent.pin_dir",
        ),
        ("\"r1\"", "\"r1\"\nxdp = \"off\"", "agent.xdp"),
        (
            "\"r1\"",
            "\"r1\"\nfence_interfaces = [\"eth1\"]",
            "agent.fence_interfaces",
        ),
        (
            "\"r1\"",
            "\"r1\"\nrealtime_priority = 0",
            "agent.realtime_priority",
        ),
        ("\"r1\"", "\"r1\"\nlog_level = \"debug\"", "agent.log_level"),
        ("\"r1\"", "\"r1\"\nmax_instances = 2", "agent.max_instances"),
        ("\"r1\"", "\"r1\"\nmax_addresses = 3", "agent.max_addresses"),
    ] {
        assert_eq!(after(&[(before, now)]), restart(what));
    }
    let version_2 = |more| format!("vrid = 51\nversion = 2\n{more}");
    let found = after(&[("vrid = 51", &version_2("password = \"1111\""))]);
    assert_eq!(
        found,
        [restart("A: version"), restart("A: password")].concat()
    );
    let found = after(&[(
        "vrid = 51",
        "vrid = 51\npeers = [\"10.0.0.9\"]\nttl_min = 254",
    )]);
    assert_eq!(found, [restart("A: peers"), restart("A: ttl_min")].concat());
}

#[test]
fn what_is_checked_for_another_protocol_is_not_followed() {
    let other_family = [("[\"10.0.0.1/24\"]", "[\"fe80::1/64\"]")];
    assert_eq!(after(&other_family), restart("A: family"));
    let other_version = [("vrid = 51", "vrid = 51\nversion = 2\npriority = 90")];
    assert_eq!(after(&other_version), restart("A: version"));
    let other_vrid = after(&[("vrid = 51", "vrid = 53\npriority = 90")]);
    assert_eq!(
        other_vrid,
        [restart("A: vrid"), vec![Change::Router { index: 0 }]].concat()
    );
}

#[test]
fn reloadable_takes_over_what_was_told_and_nothing_else() {
    let text = |more: &str| {
        let text = PAIR.replacen("vrid = 51", &format!("vrid = 51\n{more}"), 1);
        config::parse("f.toml", &text).unwrap().config
    };
    let old = text("");
    let mut new = text("priority = 90\nsource = \"10.0.0.9\"\nannounce = { count = 1 }");
    let merged = config::reloadable(&old.instances[0], &new.instances[0]);
    new.instances[0].source = None;
    assert_eq!(merged, new.instances[0]);
    let other_family = PAIR.replace("10.0.0.1/24", "fe80::1/64");
    let other_family = config::parse("f.toml", &other_family).unwrap().config;
    let merged = config::reloadable(&old.instances[0], &other_family.instances[0]);
    assert_eq!(merged, old.instances[0]);
}

#[test]
fn instances_are_known_by_their_names() {
    let renamed = after(&[("\"B\"", "\"C\"")]);
    assert_eq!(
        renamed,
        [restart("C: added"), restart("B: removed")].concat()
    );
    let swapped = after(&[
        ("\"A\"", "\"X\""),
        ("\"B\"", "\"A\""),
        ("\"X\"", "\"B\""),
        ("51", "X"),
        ("52", "51"),
        ("X", "52"),
        ("[\"10.0.0.1/24\"]", "X"),
        ("[\"10.0.0.2/24\", \"10.0.0.3/24\"]", "[\"10.0.0.1/24\"]"),
        ("X", "[\"10.0.0.2/24\", \"10.0.0.3/24\"]\npriority = 90"),
    ]);
    assert_eq!(swapped, [Change::Router { index: 0 }], "B, now the first");
}

#[test]
fn a_change_says_what_it_is() {
    assert_eq!(
        restart("A: vrid")[0].to_string(),
        "A: vrid (needs a restart)"
    );
    assert_eq!(
        Change::Router { index: 0 }.to_string(),
        "instance 0: election"
    );
}
