//! What `ha-agent status` shows: the answer of the control socket, and its table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Version of this document; it grows when a field changes its meaning or goes.
pub const STATUS_VERSION: u32 = 1;

/// The whole agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`STATUS_VERSION`].
    pub version: u32,
    /// Version of the program.
    pub agent: String,
    /// Name of this node.
    pub router_id: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since start.
    pub uptime_s: f64,
    /// Milliseconds since the election thread last said that it lives.
    pub heartbeat_age_ms: u64,
    /// Scheduling of the election thread: `fifo 50` or `ordinary (why)`.
    pub scheduling: String,
    /// Interfaces with a program.
    pub interfaces: Vec<InterfaceStatus>,
    /// Frames by verdict, over all interfaces; empty without a program.
    pub verdicts: BTreeMap<String, u64>,
    /// Virtual routers, in the order of the configuration.
    pub instances: Vec<InstanceStatus>,
    /// Virtual routers heard that are not configured here.
    pub foreign: Vec<ForeignStatus>,
    /// Fill of every bounded queue and table.
    pub gauges: BTreeMap<String, Gauge>,
}

/// How full a bounded thing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauge {
    /// In use.
    pub used: u64,
    /// Its bound.
    pub bound: u64,
}

/// An interface with a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// `native`, `generic`, `off`, `missing`, or `refused`.
    pub xdp: String,
    /// Why it is not native, or not attached at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One virtual router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Name.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// VRRP version.
    pub vrrp_version: u8,
    /// `Initialize`, `Backup` or `Active`.
    pub state: String,
    /// Seconds in that state.
    pub since_s: f64,
    /// Why it is in that state.
    pub reason: String,
    /// Configured priority.
    pub priority: u8,
    /// Priority in force.
    pub effective_priority: u8,
    /// Advertisement_Interval in milliseconds.
    pub advert_interval_ms: u64,
    /// Active_Down_Interval in milliseconds, with the interval learnt.
    pub active_down_interval_ms: f64,
    /// Own source address.
    pub source: Option<String>,
    /// The router last heard.
    pub peer: Option<PeerStatus>,
    /// Virtual addresses.
    pub addresses: Vec<String>,
    /// Milliseconds until the lease ends; absent when this node may not serve.
    pub lease_ms: Option<f64>,
    /// `native`, `generic`, `off`, `missing` or `refused`, of its interface.
    pub xdp: String,
    /// Advertisements sent.
    pub adverts_sent: u64,
    /// Advertisements that could not be sent.
    pub adverts_failed: u64,
    /// Valid advertisements received.
    pub adverts_received: u64,
    /// Times this node became Active.
    pub became_active: u64,
    /// Gratuitous ARP and neighbour advertisements sent.
    pub announcements_sent: u64,
    /// Discarded frames by reason, without zeros.
    pub drops: BTreeMap<String, u64>,
    /// What may need somebody's attention.
    pub alarms: Vec<AlarmStatus>,
}

/// Something that may need attention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlarmStatus {
    /// Its name, for programs.
    pub cause: String,
    /// `information`, `warning` or `error`.
    pub severity: String,
    /// Seconds since it was raised.
    pub since_s: f64,
    /// How often its cause was seen.
    pub count: u64,
    /// The sentence: what, who, both values, what to do.
    pub text: String,
}

/// The router last heard on an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub address: String,
    /// Its priority; 0: it resigned.
    pub priority: u8,
    /// Its interval in milliseconds.
    pub advert_interval_ms: u64,
    /// Milliseconds since it was heard.
    pub heard_ms_ago: f64,
}

/// A virtual router that is not configured here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignStatus {
    /// Interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Who sends.
    pub address: String,
    /// How many advertisements.
    pub count: u64,
}

impl Status {
    /// The table of `ha-agent status`: a line per instance, then what needs attention.
    #[must_use]
    pub fn table(&self) -> String {
        const HEAD: [&str; 10] = [
            "INSTANCE", "IFACE", "VRID", "STATE", "SINCE", "PRIO", "PEER", "IN/OUT", "LEASE", "XDP",
        ];
        let rows: Vec<[String; 10]> = self.instances.iter().map(InstanceStatus::row).collect();
        let mut widths = HEAD.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = format!(
            "{} (ha-agent {}, pid {}), up {}, election thread {} and alive {} ms ago\n\n",
            self.router_id,
            self.agent,
            self.pid,
            span(self.uptime_s),
            self.scheduling,
            self.heartbeat_age_ms,
        );
        line(&mut table, &HEAD.map(str::to_owned), &widths);
        for row in &rows {
            line(&mut table, row, &widths);
        }
        for instance in &self.instances {
            let _ = writeln!(table, "\n{}: {}", instance.name, instance.reason);
            for alarm in &instance.alarms {
                let _ = writeln!(table, "  {}: {}", alarm.severity, alarm.text);
            }
            for (reason, count) in &instance.drops {
                let _ = writeln!(table, "  dropped {count} {reason}");
            }
        }
        for interface in &self.interfaces {
            if let Some(note) = &interface.note {
                let _ = writeln!(table, "\n{}: xdp {}: {note}", interface.name, interface.xdp);
            }
        }
        for foreign in &self.foreign {
            let _ = writeln!(
                table,
                "\n{}: {} VRID {} from {} is not configured here ({} adverts)",
                foreign.interface, foreign.family, foreign.vrid, foreign.address, foreign.count
            );
        }
        table
    }
}

impl InstanceStatus {
    fn row(&self) -> [String; 10] {
        let priority = if self.priority == self.effective_priority {
            self.priority.to_string()
        } else {
            format!("{} of {}", self.effective_priority, self.priority)
        };
        let peer = self.peer.as_ref().map_or("-".to_owned(), |peer| {
            format!(
                "{} prio {} {:.0} ms ago",
                peer.address, peer.priority, peer.heard_ms_ago
            )
        });
        [
            self.name.clone(),
            self.interface.clone(),
            self.vrid.to_string(),
            self.state.clone(),
            span(self.since_s),
            priority,
            peer,
            format!("{}/{}", self.adverts_received, self.adverts_sent),
            self.lease_ms
                .map_or("-".to_owned(), |ms| format!("{ms:.0} ms")),
            self.xdp.clone(),
        ]
    }
}

fn line(table: &mut String, cells: &[String; 10], widths: &[usize; 10]) {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(text, "{cell:<width$}  ");
    }
    let _ = writeln!(table, "{}", text.trim_end());
}

/// Seconds as a person reads them: `0.4 s`, `12 s`, `3 m 05 s`, `2 h 10 m`, `4 d 03 h`.
fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} m {:02} s", whole / 60, whole % 60),
        3600..=86_399 => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_speech() {
        for (seconds, text) in [
            (0.42, "0.4 s"),
            (59.9, "59 s"),
            (185.0, "3 m 05 s"),
            (7800.0, "2 h 10 m"),
            (356_400.0, "4 d 03 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn the_table_has_a_row_per_instance_and_the_alarms() {
        let status = Status {
            router_id: "r1".to_owned(),
            instances: vec![InstanceStatus {
                name: "VI_1".to_owned(),
                state: "Backup".to_owned(),
                priority: 100,
                effective_priority: 90,
                alarms: vec![AlarmStatus {
                    severity: "error".to_owned(),
                    text: "version mismatch".to_owned(),
                    ..AlarmStatus::default()
                }],
                ..InstanceStatus::default()
            }],
            ..Status::default()
        };
        let table = status.table();
        assert!(table.contains("90 of 100"), "{table}");
        assert!(table.contains("error: version mismatch"), "{table}");
    }
}
