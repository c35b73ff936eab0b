//! `ha-agent cleanup`: the last resort after a crash.

use std::path::Path;

use ha_agent::config::model::Config;
use ha_agent::sys::Capability;
use ha_agent::{control, dataplane, effects};

use super::{load, require};
use crate::Exit;

pub(crate) fn cleanup(path: &Path) -> anyhow::Result<Exit> {
    let config: Config = match load(path) {
        Ok(loaded) => loaded.config,
        Err(exit) => return Ok(exit),
    };
    if let Err(exit) = require(&[Capability::NetAdmin]) {
        return Ok(exit);
    }
    let socket = config.agent.run_dir.join(super::run::SOCKET_FILE);
    // One that is there but does not answer is frozen, and would go on without its fence.
    if !matches!(
        control::ask(&socket, control::Verb::Status),
        Err(control::Error::NotRunning { .. })
    ) {
        eprintln!(
            "ha-agent: an agent is running on {}: stop it first",
            socket.display()
        );
        return Ok(Exit::Failure);
    }
    // Addresses first, and the fence only when none is left for it to guard.
    let pin_dir = config.agent.pin_dir.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let addresses = runtime.block_on(effects::clean_up(&config))?;
    let pins = dataplane::remove_pins(&pin_dir)?;
    let _ = std::fs::remove_file(&socket);
    if addresses + pins > 0 {
        println!("removed {addresses} virtual addresses and {pins} pins");
    }
    Ok(Exit::Ok)
}
