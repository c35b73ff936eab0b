//! Either daemon, where an experiment does not care which.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::agent::Agent;
use super::instance::Instance;
use super::keepalived::Keepalived;
use super::node::Node;
use super::process::{Process, Signal};

/// Which daemon.
#[derive(Clone, Debug)]
pub enum Daemon {
    /// ha-agent, the binary at this path.
    Agent(PathBuf),
    /// The system's keepalived.
    Keepalived,
}

/// A running daemon.
#[derive(Debug)]
pub enum Router {
    /// ha-agent.
    Agent(Agent),
    /// keepalived.
    Keepalived(Keepalived),
}

impl Router {
    /// Starts a daemon on a node.
    pub fn start(daemon: &Daemon, node: &Node, instances: &[Instance]) -> Result<Self> {
        Ok(match daemon {
            Daemon::Agent(binary) => Self::Agent(Agent::start(binary, node, instances)?),
            Daemon::Keepalived => Self::Keepalived(Keepalived::start(node, instances)?),
        })
    }

    /// Its process, or the parent of its processes.
    pub fn process(&mut self) -> &mut Process {
        match self {
            Self::Agent(agent) => &mut agent.process,
            Self::Keepalived(keepalived) => &mut keepalived.process,
        }
    }

    /// Asks it to stop.
    pub fn stop(&mut self) -> Result<()> {
        self.process().signal(Signal::TERM)
    }

    /// Whether it says, or its interface shows, that it serves.
    pub fn is_active(&self, node: &Node, instance: &Instance, address: IpAddr) -> bool {
        match self {
            Self::Agent(agent) => agent.state(&instance.name) == "Active",
            Self::Keepalived(keepalived) => keepalived.is_active(node, address),
        }
    }
}
