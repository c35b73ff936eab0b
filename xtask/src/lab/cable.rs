//! Faults of the network between the hosts.

use anyhow::Result;
use std::process::Command;

use super::node::{INTERFACE, Node};
use super::{Lab, plug_in};
use crate::cmd;

impl Lab {
    /// Pulls a host's cable: both ends lose their carrier.
    pub fn cut_cable(&self, node: &Node) -> Result<()> {
        self.switch
            .ip(&["link", "set", "dev", node.name, "down"])
            .map(drop)
    }

    /// Plugs it in again.
    pub fn restore_cable(&self, node: &Node) -> Result<()> {
        self.switch
            .ip(&["link", "set", "dev", node.name, "up"])
            .map(drop)
    }

    /// The switch forwards nothing from or to a host any more; its carrier stays.
    pub fn black_hole(&self, node: &Node) -> Result<()> {
        self.port(node, &["state", "0"])
    }

    /// Ends [`Lab::black_hole`].
    pub fn end_black_hole(&self, node: &Node) -> Result<()> {
        self.port(node, &["state", "3"])
    }

    /// The routers no longer hear each other; the client hears them all.
    pub fn partition(&self) -> Result<()> {
        self.routers
            .iter()
            .try_for_each(|node| self.port(node, &["isolated", "on"]))
    }

    /// Ends [`Lab::partition`].
    pub fn heal(&self) -> Result<()> {
        self.routers
            .iter()
            .try_for_each(|node| self.port(node, &["isolated", "off"]))
    }

    /// Takes a host's interface away altogether.
    pub fn remove_interface(&self, node: &Node) -> Result<()> {
        node.netns.ip(&["link", "delete", INTERFACE]).map(drop)
    }

    /// Gives it back, with its addresses.
    pub fn add_interface(&self, node: &Node) -> Result<()> {
        plug_in(node, &self.switch)
    }

    fn port(&self, node: &Node, setting: &[&str]) -> Result<()> {
        cmd::stdout(
            Command::new("bridge")
                .args(["-n", self.switch.name(), "link", "set", "dev", node.name])
                .args(setting),
        )
        .map(drop)
    }
}
