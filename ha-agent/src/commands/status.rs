//! `ha-agent status`.

use std::path::Path;

use anyhow::Context;
use ha_agent::control::{self, Verb};
use ha_agent::status::Status;

use crate::{Exit, Output};

pub(crate) fn status(socket: &Path, output: Output) -> anyhow::Result<Exit> {
    let line = match control::ask(socket, Verb::Status) {
        Ok(line) => line,
        Err(error) => {
            let exit = match &error {
                control::Error::NotRunning { source, .. }
                    if source.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    Exit::Permission
                }
                control::Error::NotRunning { .. } => Exit::NotRunning,
                _ => Exit::Failure,
            };
            eprintln!("ha-agent: {error}");
            return Ok(exit);
        }
    };
    match output {
        Output::Json => super::print(&line)?,
        Output::Table => {
            let status: Status =
                serde_json::from_str(&line).context("an answer this version cannot read")?;
            super::print(&status.table())?;
        }
    }
    Ok(Exit::Ok)
}
