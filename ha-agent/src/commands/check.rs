//! `ha-agent check`.

use std::path::Path;

use ha_agent::config::{self, Diagnostic, Severity};
use ha_agent::netlink::Netlink;

use crate::{Exit, Output};

pub(crate) fn check(path: &Path, host: bool, strict: bool, output: Output) -> anyhow::Result<Exit> {
    let diagnostics: Vec<Diagnostic> = match config::load(path) {
        Ok(loaded) => {
            let mut diagnostics = loaded.warnings.clone();
            if host {
                diagnostics.extend(config::against_host(&loaded, &host_interfaces()?));
            }
            diagnostics
        }
        Err(diagnostics) => diagnostics.0,
    };
    let errors = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .count();
    match output {
        Output::Json => println!("{}", serde_json::to_string(&diagnostics)?),
        Output::Table => {
            for diagnostic in &diagnostics {
                println!("{diagnostic}");
            }
            if diagnostics.is_empty() {
                println!("{}: fine", path.display());
            }
        }
    }
    Ok(match (errors, diagnostics.len()) {
        (0, 0) => Exit::Ok,
        (0, _) if !strict => Exit::Warnings,
        _ => Exit::Unusable,
    })
}

/// The interfaces of this host with their own addresses.
pub(super) fn host_interfaces() -> anyhow::Result<Vec<config::HostInterface>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let netlink = runtime.block_on(Netlink::open())?;
    Ok(netlink
        .interfaces()
        .iter()
        .map(|interface| config::HostInterface {
            name: interface.name.clone(),
            addresses: interface
                .addresses
                .iter()
                .map(|address| address.prefix)
                .collect(),
        })
        .collect())
}
