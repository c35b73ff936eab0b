//! ha-agent on a node.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::clock::wait_until;
use super::instance::Instance;
use super::node::Node;
use super::process::Process;

/// What the `[agent]` table says beyond what the lab decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `xdp`: auto, native, generic or off.
    pub xdp: String,
    /// `realtime_priority`; `None` leaves the key out.
    pub realtime_priority: Option<u8>,
    /// `log_level`.
    pub log_level: String,
    /// Further lines of the table.
    pub toml: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            xdp: "auto".to_owned(),
            realtime_priority: Some(50),
            log_level: "info".to_owned(),
            toml: String::new(),
        }
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub process: Process,
    node: String,
    folder: PathBuf,
    pins: PathBuf,
    settings: Settings,
}

impl Agent {
    /// Writes the configuration and starts `binary run`.
    pub fn start(binary: &Path, node: &Node, instances: &[Instance]) -> Result<Self> {
        Self::start_with(binary, node, &Settings::default(), instances)
    }

    /// The same with settings.
    pub fn start_with(
        binary: &Path,
        node: &Node,
        settings: &Settings,
        instances: &[Instance],
    ) -> Result<Self> {
        configure(node, settings, instances)?;
        let mut command = Command::new(binary);
        command
            .arg("run")
            .arg("--config")
            .arg(config(node.folder()));
        Ok(Self {
            process: node.spawn("ha-agent", command)?,
            node: node.name.to_owned(),
            folder: node.folder().clone(),
            pins: node.pins().clone(),
            settings: settings.clone(),
        })
    }

    /// Writes another configuration; a HUP puts it in force.
    pub fn rewrite(&self, instances: &[Instance]) -> Result<()> {
        write(
            &self.node,
            &self.folder,
            &self.pins,
            &self.settings,
            instances,
        )
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        config(&self.folder)
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/control.sock")
    }

    /// What the control socket says; the same as `ha-agent status -o json` without its start.
    pub fn status(&self) -> Result<serde_json::Value> {
        let mut stream =
            UnixStream::connect(self.socket()).context("connect to the control socket")?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"{\"protocol\":1,\"verb\":\"status\"}\n")?;
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .context("read the control socket")?;
        serde_json::from_str(&line).with_context(|| format!("the control socket said {line:?}"))
    }

    /// An instance's part of the status.
    pub fn instance(&self, name: &str) -> Result<serde_json::Value> {
        let status = self.status()?;
        status["instances"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|instance| instance["name"] == name)
            .cloned()
            .with_context(|| format!("status has no instance {name}: {status}"))
    }

    /// An instance's state: `Initialize`, `Backup` or `Active`; empty while it does not answer.
    pub fn state(&self, name: &str) -> String {
        self.instance(name)
            .ok()
            .and_then(|instance| Some(instance["state"].as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// Waits until an instance is in this state.
    pub fn wait_for(&self, name: &str, state: &str, limit: Duration) -> Result<()> {
        wait_until(
            &format!("{name} on {} to be {state}", self.node),
            limit,
            || self.state(name) == state,
        )
    }

    /// Where its maps are pinned: the only folder below its pin directory.
    pub fn maps(&self) -> Result<PathBuf> {
        fs::read_dir(&self.pins)
            .with_context(|| format!("read {}", self.pins.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.is_dir())
            .with_context(|| format!("{} has no folder", self.pins.display()))
    }
}

/// The agent's configuration file of a node.
fn config(folder: &Path) -> PathBuf {
    folder.join("ha-agent.toml")
}

/// Writes the configuration of a node without starting anything; returns the file's path.
pub(super) fn configure(
    node: &Node,
    settings: &Settings,
    instances: &[Instance],
) -> Result<PathBuf> {
    write(node.name, node.folder(), node.pins(), settings, instances)?;
    Ok(config(node.folder()))
}

fn write(
    node: &str,
    folder: &Path,
    pins: &Path,
    settings: &Settings,
    instances: &[Instance],
) -> Result<()> {
    let priority = settings
        .realtime_priority
        .map(|priority| format!("realtime_priority = {priority}\n"))
        .unwrap_or_default();
    let tables: Vec<String> = instances.iter().map(Instance::as_toml).collect();
    let text = format!(
        "[agent]\nrouter_id = {node:?}\nrun_dir = {:?}\npin_dir = {:?}\nxdp = {:?}\n{priority}log_level = {:?}\n{}\n{}",
        folder.join("run"),
        pins,
        settings.xdp,
        settings.log_level,
        settings.toml,
        tables.join("\n"),
    );
    let path = config(folder);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
