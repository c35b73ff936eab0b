//! Who may import whom: the core knows no edge and no clock, edges do not know one another.

use super::rust::{self, CodePath};
use super::{File, Finding};

/// The core: pure decisions, by the path their files begin with.
const CORE: [&str; 8] = [
    "ha-agent/src/vrrp.rs",
    "ha-agent/src/vrrp/",
    "ha-agent/src/lb/",
    "ha-agent/src/health/rise_fall.rs",
    "ha-agent/src/config/model.rs",
    "ha-agent/src/config/model/",
    "ha-agent/src/alarm.rs",
    "ha-agent/src/alarm/",
];

/// The owners of a kernel or process resource.
const EDGES: [&str; 5] = ["dataplane", "netlink", "advert", "neighbor", "control"];

/// Modules besides the edges that the core may not know.
const AROUND: [&str; 3] = ["effects", "engine", "sys"];

/// What the core may not name, by how the path begins: I/O, clocks, threads, logging.
const OUTSIDE: [&[&str]; 20] = [
    &["tokio"],
    &["aya"],
    &["aya_log"],
    &["tracing"],
    &["tracing_subscriber"],
    &["log"],
    &["libc"],
    &["rustix"],
    &["socket2"],
    &["rtnetlink"],
    &["futures_util"],
    &["rand"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["std", "time", "*"],
];

/// The same by how the path ends, for what was imported in part.
const OUTSIDE_ENDS: [&[&str]; 6] = [
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["std", "time"],
    &["net", "UdpSocket"],
    &["net", "TcpStream"],
    &["net", "TcpListener"],
];

/// All imports of the agent that break the rule.
pub fn check(files: &[File]) -> Vec<Finding> {
    let ours = |file: &&File| file.path.starts_with("ha-agent/src/");
    let mut found: Vec<_> = files.iter().filter_map(rust::unreadable).collect();
    for file in files.iter().filter(ours) {
        let core = CORE.iter().any(|start| file.path.starts_with(start));
        let edge = edge_of(&file.path);
        if !core && edge.is_none() {
            continue;
        }
        for path in rust::paths(file) {
            let name = path.parts.join("::");
            if core && let Some(fix) = foreign_to_core(&path) {
                found.push(file.finding(path.line, format!("the core names `{name}`"), fix));
            }
            if let (Some(edge), Some(other)) = (&edge, edge_named(&path))
                && edge != other
            {
                found.push(file.finding(
                    path.line,
                    format!("the edge `{edge}` names the edge `{other}` (`{name}`)"),
                    "let the engine, which knows both, carry it",
                ));
            }
        }
    }
    found
}

/// Why the core may not name a path, if it may not.
fn foreign_to_core(path: &CodePath) -> Option<&'static str> {
    let module = || path.parts.get(1).map_or("", String::as_str);
    let outside = OUTSIDE.iter().any(|start| path.starts_with(start))
        || OUTSIDE_ENDS.iter().any(|end| path.ends_with(end));
    if outside && (path.parts.len() > 1 || path.used) {
        Some("take it as an argument, or hand an action to an edge")
    } else if edge_named(path).is_some()
        || (path.starts_with(&["crate"]) && AROUND.contains(&module()))
    {
        Some("the core is imported by the edges and the engine, never the other way")
    } else {
        None
    }
}

/// The edge a file belongs to.
fn edge_of(path: &str) -> Option<String> {
    rust::module_of(path)
        .into_iter()
        .next()
        .filter(|first| EDGES.contains(&first.as_str()))
}

/// The edge a path leads into.
fn edge_named(path: &CodePath) -> Option<&String> {
    let in_our_crate = path.starts_with(&["crate"]) || path.starts_with(&["ha_agent"]);
    path.parts
        .get(1)
        .filter(|part| in_our_crate && EDGES.contains(&part.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::lines;

    #[test]
    fn the_core_may_not_name_the_outside() {
        let router = "ha-agent/src/vrrp/router.rs";
        for bad in [
            "use tokio::time::sleep;",
            "use std::{fmt, time::Instant};",
            "use std::time;",
            "use std::time::*;",
            "use std::{net::UdpSocket};",
            "use tracing as log;",
            "fn f() { let now = Instant::now(); }",
            "fn f() { tracing::info!(\"x\"); }",
            "fn f() -> aya::Ebpf {}",
            "fn f() { std::thread::sleep(d) }",
            "#[tokio::test] async fn f() {}",
            "use crate::netlink::Link;",
            "use crate::{config, dataplane};",
            "use super::super::engine::Engine;",
            "use crate::sys;",
            "fn f() { crate::control::answer() }",
        ] {
            assert_eq!(lines(check, router, &format!("\n{bad}")), [2], "{bad}");
        }
        for path in [
            "ha-agent/src/alarm.rs",
            "ha-agent/src/alarm/tests.rs",
            "ha-agent/src/config/model.rs",
            "ha-agent/src/vrrp.rs",
        ] {
            assert_eq!(lines(check, path, "use tokio::sync::mpsc;"), [1], "{path}");
        }
    }

    #[test]
    fn the_core_may_name_itself_and_plain_std() {
        let text = "//! Not Instant::now() but an argument; see crate::engine.\n\
            use std::{fmt, net::{IpAddr, Ipv4Addr}, time::Duration};\n\
            use crate::config::model::Config;\nuse super::types::Vrid;\n\
            fn f(now: Instant, control: u8, log: u8) { let s = \"tokio::spawn\"; self.sys.x(control, log) }";
        assert_eq!(lines(check, "ha-agent/src/vrrp/router.rs", text), [0; 0]);
    }

    #[test]
    fn edges_may_not_name_one_another() {
        for bad in [
            "use crate::netlink::Link;",
            "use super::advert;",
            "use crate::{vrrp, control::{A, B}};",
        ] {
            assert!(
                !lines(check, "ha-agent/src/dataplane.rs", bad).is_empty(),
                "{bad}"
            );
        }
        assert_eq!(
            lines(
                check,
                "ha-agent/src/dataplane/maps.rs",
                "use crate::neighbor::N;"
            ),
            [1]
        );
        assert_eq!(
            lines(
                check,
                "ha-agent/src/dataplane/maps.rs",
                "use crate::dataplane::X; use super::pins;"
            ),
            [0; 0]
        );
        assert_eq!(
            lines(
                check,
                "ha-agent/src/netlink.rs",
                "use tokio::io; use crate::vrrp::Vrid; use crate::sys;"
            ),
            [0; 0]
        );
    }

    #[test]
    fn the_engine_may_name_all() {
        let text =
            "use crate::{netlink, advert, dataplane}; use tokio::select; use std::time::Instant;";
        assert_eq!(lines(check, "ha-agent/src/engine.rs", text), [0; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_over() {
        assert_eq!(
            lines(check, "ha-agent/src/vrrp/router.rs", "use tokio::{"),
            [1]
        );
    }
}
