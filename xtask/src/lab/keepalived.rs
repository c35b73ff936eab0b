//! The peer: keepalived on a node.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::instance::Instance;
use super::node::Node;
use super::process::Process;
use crate::machine;

/// A running keepalived.
#[derive(Debug)]
pub struct Keepalived {
    /// The parent process; the child below it does the VRRP.
    pub process: Process,
}

impl Keepalived {
    /// Writes the configuration and starts the daemon.
    pub fn start(node: &Node, instances: &[Instance]) -> Result<Self> {
        let file = |name: &str| node.folder().join(name);
        let blocks: String = instances.iter().map(Instance::as_keepalived).collect();
        let config = file("keepalived.conf");
        fs::write(
            &config,
            format!("global_defs {{\n  router_id {}\n}}\n{blocks}", node.name),
        )
        .with_context(|| format!("write {}", config.display()))?;
        // After a kill they name processes that keepalived would take for itself.
        for stale in ["keepalived.pid", "keepalived-vrrp.pid"] {
            let _ = fs::remove_file(file(stale));
        }
        let program = machine::find_program("keepalived").context("keepalived is not installed")?;
        let mut command = Command::new(program);
        command
            .args(["--dont-fork", "--log-console", "--log-detail", "--vrrp"])
            .arg("--use-file")
            .arg(&config)
            .arg("--pid")
            .arg(file("keepalived.pid"))
            .arg("--vrrp_pid")
            .arg(file("keepalived-vrrp.pid"));
        Ok(Self {
            process: node.spawn("keepalived", command)?,
        })
    }

    /// Whether it serves, as far as the kernel shows: the address is on the interface.
    pub fn is_active(&self, node: &Node, address: IpAddr) -> bool {
        node.holds(address)
    }
}
