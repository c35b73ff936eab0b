//! Recorded findings: `findings/*.txt` holds cases, each a configuration and every word that is
//! said about it. After a change, `HA_AGENT_BLESS=1 cargo test --test config` writes what is said
//! now, for the diff to show.
//!
//! ```text
//! == name of the case
//! @base -vrid            a good instance without its vrid; other lines stand as they are
//! vrid = 256
//! @host eth0 192.168.1.2/24          optional: an interface of the host, with its addresses
//! --
//! what is said; nothing when it is silent
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ha_agent::config::{self, HostInterface, address};

const BASE: [(&str, &str); 4] = [
    ("name", "\"VI_1\""),
    ("interface", "\"eth0\""),
    ("vrid", "51"),
    ("addresses", "[\"192.168.1.200/24\"]"),
];

#[test]
fn agent() {
    recorded("agent");
}

#[test]
fn instance() {
    recorded("instance");
}

#[test]
fn addresses() {
    recorded("addresses");
}

#[test]
fn peers() {
    recorded("peers");
}

#[test]
fn file() {
    recorded("file");
}

#[test]
fn host() {
    recorded("host");
}

fn recorded(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config/findings")
        .join(format!("{name}.txt"));
    let record = fs::read_to_string(&path).unwrap();
    let mut now = String::new();
    for case in record.split("== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (input, _) = rest.split_once("--\n").unwrap();
        writeln!(now, "== {title}\n{input}--\n{}", said(input)).unwrap();
    }
    if std::env::var_os("HA_AGENT_BLESS").is_some() {
        fs::write(&path, now).unwrap();
    } else {
        assert_eq!(
            record, now,
            "{name}.txt differs: see the head of findings.rs"
        );
    }
}

fn said(input: &str) -> String {
    let mut text = String::new();
    let mut host = Vec::new();
    for line in input.lines() {
        if let Some(without) = line.strip_prefix("@base") {
            text.push_str("[[instance]]\n");
            for (key, value) in BASE {
                if !without.split(" -").any(|gone| gone.trim() == key) {
                    writeln!(text, "{key} = {value}").unwrap();
                }
            }
        } else if let Some(interface) = line.strip_prefix("@host ") {
            let (name, addresses) = interface.split_once(' ').unwrap_or((interface, ""));
            host.push(HostInterface {
                name: name.to_owned(),
                addresses: addresses
                    .split_whitespace()
                    .map(|a| address::host_prefix(a).unwrap())
                    .collect(),
            });
        } else {
            writeln!(text, "{line}").unwrap();
        }
    }
    let found = match config::parse("f.toml", &text) {
        Ok(mut loaded) => {
            if !host.is_empty() {
                let more = config::against_host(&loaded, &host);
                loaded.warnings.extend(more);
            }
            loaded.warnings
        }
        Err(found) => {
            assert!(
                found.errors().count() > 0,
                "refused without an error:\n{text}"
            );
            found.0
        }
    };
    for one in &found {
        assert!(one.fix.is_some(), "no fix: {one}");
    }
    found.iter().map(|one| format!("{one}\n")).collect()
}
