//! `ha-agent cleanup`: the last resort after a crash.

use std::path::{Path, PathBuf};

use ha_agent::config::{self, model::Instance};
use ha_agent::sys::Capability;
use ha_agent::{control, dataplane, effects};

use super::{load, require};
use crate::Exit;

pub(crate) fn cleanup(path: &Path) -> anyhow::Result<Exit> {
    // After a broken edit the record still says what there is to remove.
    let (left, exit) = match load(path) {
        Ok(loaded) => {
            let config = loaded.config;
            let (run_dir, pin_dir) = (config.agent.run_dir, config.agent.pin_dir);
            (
                Left {
                    run_dir,
                    pin_dir,
                    instances: config.instances,
                },
                Exit::Ok,
            )
        }
        Err(exit) => {
            eprintln!("ha-agent: going by the record in {} alone", config::RUN_DIR);
            (Left::default(), exit)
        }
    };
    if let Err(exit) = require(&[Capability::NetAdmin]) {
        return Ok(exit);
    }
    let socket = left.run_dir.join(super::run::SOCKET_FILE);
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let addresses = runtime.block_on(effects::clean_up(&left.run_dir, &left.instances))?;
    let pins = dataplane::remove_pins(&left.pin_dir)?;
    let _ = std::fs::remove_file(&socket);
    if addresses + pins > 0 {
        println!("removed {addresses} virtual addresses and {pins} pins");
    }
    Ok(exit)
}

/// Where a dead agent may have left something.
struct Left {
    run_dir: PathBuf,
    pin_dir: PathBuf,
    instances: Vec<Instance>,
}

impl Default for Left {
    fn default() -> Self {
        Self {
            run_dir: config::RUN_DIR.into(),
            pin_dir: config::PIN_DIR.into(),
            instances: Vec::new(),
        }
    }
}
