//! Once a second: alarms, watchdog, service status; on request: the status document.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ha_common::maps::{LastDrop, MAX_FOREIGN, MAX_PEERS};
use ha_common::net::Family;
use ha_common::verdict::{Fate, Verdict, Verdicts};
use tokio::sync::{mpsc, oneshot};

use super::Effects;
use super::slot::Slot;
use crate::alarm::{Change, ForeignRouter, Observation, Severity};
use crate::control::{Request, Verb};
use crate::engine::{Command, Effect, Report};
use crate::status::{
    AlarmStatus, ForeignStatus, Gauge, InstanceStatus, InterfaceStatus, PeerStatus, STATUS_VERSION,
    Status,
};
use crate::sys;
use crate::vrrp::router::RoleName;
use crate::vrrp::types::{Instant, from_wire};

/// Oldest sign of life of the election thread that still feeds the watchdog.
const ALIVE: Duration = Duration::from_secs(2);
/// How long the election thread may take to report: it answers within one pass.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was counted at the last look.
#[derive(Debug, Default)]
pub(super) struct Watched {
    drops: [u64; Verdict::COUNT],
    failed: u64,
    started: Option<Instant>,
}

/// The bounded queues and how full they were at the last look.
#[derive(Debug, Default)]
pub(super) struct Queues {
    gauges: BTreeMap<String, Gauge>,
}

impl Queues {
    pub(super) fn effects(&mut self, queue: &mpsc::Receiver<Effect>) {
        self.gauges.insert(
            "effects_queue".to_owned(),
            Gauge {
                used: queue.len() as u64,
                bound: queue.max_capacity() as u64,
            },
        );
    }
}

/// A foreign virtual router with where it was heard.
struct Stranger {
    ifindex: u32,
    family: Family,
    router: ForeignRouter,
    count: u64,
}

impl Effects {
    /// Reads counters, judges alarms, tells systemd.
    pub(super) async fn observe(&mut self) {
        if let Some(log) = &mut self.kernel_log {
            log.flush();
        }
        let reports = self.report().await;
        let strangers = self.strangers();
        let now = sys::now();
        for (index, report) in reports.iter().enumerate() {
            let (verdicts, last_drop) = self.counted(index, report);
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            judge(slot, now, report, &verdicts, last_drop, &strangers);
        }
        if self.heartbeat_age() < ALIVE {
            let _ = sd_notify::notify(&[
                sd_notify::NotifyState::Watchdog,
                sd_notify::NotifyState::Status(&summary(&reports)),
            ]);
        }
    }

    /// What the election thread knows; nothing when it does not answer.
    async fn report(&self) -> Vec<Report> {
        let (answer, report) = oneshot::channel();
        let asked = async {
            self.engine.send(Command::Report(answer)).await.ok()?;
            report.await.ok()
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.ok().flatten().unwrap_or_default()
    }

    pub(super) async fn answer(&mut self, request: Request) {
        match request.verb {
            Verb::Status => {
                let reports = self.report().await;
                let status = self.status(&reports);
                let line = serde_json::to_string(&status)
                    .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
                let _ = request.answer.send(line);
            }
        }
    }

    pub(super) async fn print(&mut self) {
        let reports = self.report().await;
        for line in self.status(&reports).table().lines() {
            tracing::info!("{line}");
        }
    }

    fn heartbeat_age(&self) -> Duration {
        sys::now().since(Instant(self.heartbeat.load(Ordering::Relaxed)))
    }

    /// Verdicts and last discard of a slot: the kernel's, or without a program the engine's.
    fn counted(&self, index: usize, report: &Report) -> (Verdicts, Option<LastDrop>) {
        match &self.dataplane {
            Some(dataplane) => (
                dataplane.vrid_counters(index as u32).unwrap_or_default(),
                dataplane.last_drop(index as u32).unwrap_or_default(),
            ),
            None => (report.verdicts, report.last_drop),
        }
    }

    fn strangers(&self) -> Vec<Stranger> {
        let Some(dataplane) = &self.dataplane else {
            return Vec::new();
        };
        let foreign = dataplane.foreign().unwrap_or_default();
        foreign
            .into_iter()
            .filter(|(key, _)| key.vlans == 0)
            .map(|(key, foreign)| {
                let family = if key.family == Family::Ipv4 as u8 {
                    Family::Ipv4
                } else {
                    Family::Ipv6
                };
                Stranger {
                    ifindex: key.ifindex,
                    family,
                    router: ForeignRouter {
                        vrid: key.vrid,
                        source: from_wire(family, &foreign.source),
                        at: Instant(foreign.at_ns),
                    },
                    count: u64::from(foreign.count),
                }
            })
            .collect()
    }

    /// The status document.
    fn status(&self, reports: &[Report]) -> Status {
        let now = sys::now();
        let strangers = self.strangers();
        let mut gauges = self.queues.gauges.clone();
        let bound = |used: usize, bound: u32| Gauge {
            used: used as u64,
            bound: u64::from(bound),
        };
        if self.dataplane.is_some() {
            let peers = self
                .slots
                .iter()
                .map(|slot| slot.settings.peers.len())
                .sum();
            let addresses = self
                .slots
                .iter()
                .map(|slot| slot.settings.addresses.len())
                .sum();
            gauges.insert(
                "map_instances".to_owned(),
                bound(self.slots.len(), self.agent.max_instances),
            );
            gauges.insert(
                "map_addresses".to_owned(),
                bound(addresses, self.agent.max_addresses),
            );
            gauges.insert("map_peers".to_owned(), bound(peers, MAX_PEERS));
            gauges.insert(
                "map_foreign".to_owned(),
                bound(strangers.len(), MAX_FOREIGN),
            );
        }
        Status {
            version: STATUS_VERSION,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            router_id: self.agent.router_id.clone(),
            pid: std::process::id(),
            uptime_s: now.since(self.started).as_secs_f64(),
            heartbeat_age_ms: self.heartbeat_age().as_millis() as u64,
            scheduling: self.scheduling.clone(),
            interfaces: self
                .ports
                .iter()
                .map(|(name, port)| InterfaceStatus {
                    name: name.clone(),
                    xdp: port.mode.to_owned(),
                    note: port.note.clone(),
                })
                .collect(),
            verdicts: self
                .dataplane
                .as_ref()
                .and_then(|dataplane| dataplane.counters().ok())
                .map(|counters| named(&counters, |_| true))
                .unwrap_or_default(),
            instances: self
                .slots
                .iter()
                .zip(reports)
                .enumerate()
                .map(|(index, (slot, report))| self.instance_status(index, slot, report, now))
                .collect(),
            foreign: strangers
                .iter()
                .map(|stranger| ForeignStatus {
                    interface: self.name_of(stranger.ifindex),
                    vrid: stranger.router.vrid,
                    family: family_name(stranger.family).to_owned(),
                    address: stranger.router.source.to_string(),
                    count: stranger.count,
                })
                .collect(),
            gauges,
        }
    }

    fn name_of(&self, ifindex: u32) -> String {
        self.ports
            .iter()
            .find(|(_, port)| port.ifindex == ifindex)
            .map_or_else(|| ifindex.to_string(), |(name, _)| name.clone())
    }

    fn instance_status(
        &self,
        index: usize,
        slot: &Slot,
        report: &Report,
        now: Instant,
    ) -> InstanceStatus {
        let (verdicts, _) = self.counted(index, report);
        let router = &slot.settings.router;
        InstanceStatus {
            name: slot.settings.name.clone(),
            interface: slot.settings.interface.clone(),
            vrid: router.vrid.get(),
            family: family_name(router.family).to_owned(),
            vrrp_version: router.version.number(),
            state: report.state.as_str().to_owned(),
            // A router that never left its first state is in it since the start.
            since_s: now.since(report.since.max(self.started)).as_secs_f64(),
            reason: if report.leaving {
                "stopping: serves until a successor is heard".to_owned()
            } else {
                report.reason.as_str().to_owned()
            },
            priority: router.priority.get(),
            effective_priority: report.priority.get(),
            advert_interval_ms: router.interval.duration().as_millis() as u64,
            active_down_interval_ms: report.down.as_secs_f64() * 1e3,
            source: report.local.map(|local| local.to_string()),
            peer: report.last.map(|last| PeerStatus {
                address: last.source.to_string(),
                priority: last.priority.to_wire(),
                advert_interval_ms: last.interval.duration().as_millis() as u64,
                heard_ms_ago: now.since(last.at).as_secs_f64() * 1e3,
            }),
            addresses: slot
                .settings
                .addresses
                .iter()
                .map(|address| address.prefix.to_string())
                .collect(),
            lease_ms: report
                .lease_until
                .map(|until| until.since(now).as_secs_f64() * 1e3),
            xdp: self
                .ports
                .get(&slot.settings.interface)
                .map_or("missing", |port| port.mode)
                .to_owned(),
            adverts_sent: report.sent,
            adverts_failed: report.failed,
            adverts_received: verdicts.advert_unchanged
                + verdicts.advert_changed
                + verdicts.advert_lost,
            became_active: report.became_active,
            announcements_sent: self.announcer.counters(index as u32).sent,
            drops: named(&verdicts, |verdict| verdict.fate() == Fate::Drop),
            alarms: slot
                .alarms
                .iter()
                .map(|alarm| AlarmStatus {
                    cause: alarm.cause.name().to_owned(),
                    severity: alarm.severity.as_str().to_owned(),
                    since_s: now.since(alarm.since).as_secs_f64(),
                    count: alarm.count,
                    text: alarm.text.clone(),
                })
                .collect(),
        }
    }
}

fn judge(
    slot: &mut Slot,
    now: Instant,
    report: &Report,
    verdicts: &Verdicts,
    last_drop: Option<LastDrop>,
    strangers: &[Stranger],
) {
    // Silence counts from the moment the instance could hear.
    if report.state == RoleName::Initialize {
        slot.watched.started = None;
    } else if slot.watched.started.is_none() {
        slot.watched.started = Some(report.since);
    }
    let ifindex = slot.ifindex();
    let foreign: Vec<ForeignRouter> = strangers
        .iter()
        .filter(|stranger| {
            stranger.ifindex == ifindex && stranger.family == slot.settings.router.family
        })
        .map(|stranger| stranger.router)
        .collect();
    let mut drops = [0; Verdict::COUNT];
    for verdict in Verdict::ALL {
        let index = verdict as usize;
        let total = verdicts.get(verdict);
        drops[index] = total.saturating_sub(slot.watched.drops[index]);
        slot.watched.drops[index] = total;
    }
    let send_failures = report.failed.saturating_sub(slot.watched.failed);
    slot.watched.failed = report.failed;
    let changes = slot.alarms.observe(&Observation {
        now,
        started: slot.watched.started.unwrap_or(now),
        config: &slot.settings.router,
        interface: &slot.settings.interface,
        peers: &slot.settings.peers,
        password: slot.settings.password.is_some(),
        ttl_min: slot.settings.ttl_min,
        drops,
        last_drop,
        heard: report.last,
        foreign: &foreign,
        is_active: report.state == RoleName::Active,
        send_failures,
        send_error: &report.send_error,
    });
    let name = &slot.settings.name;
    for change in changes {
        match change {
            Change::Raised(alarm) => match alarm.severity {
                Severity::Error => tracing::error!("{name}: {}", alarm.text),
                Severity::Warning => tracing::warn!("{name}: {}", alarm.text),
                Severity::Information => tracing::info!("{name}: {}", alarm.text),
            },
            Change::Cleared(alarm) => tracing::info!(
                "{name}: no longer: {} (after {} s, seen {} times)",
                alarm.cause.name(),
                now.since(alarm.since).as_secs(),
                alarm.count
            ),
        }
    }
}

/// The one line that `systemctl status` shows.
fn summary(reports: &[Report]) -> String {
    let count = |state| {
        reports
            .iter()
            .filter(|report| report.state == state)
            .count()
    };
    format!(
        "{} Active, {} Backup, {} Initialize",
        count(RoleName::Active),
        count(RoleName::Backup),
        count(RoleName::Initialize)
    )
}

fn named(verdicts: &Verdicts, wanted: impl Fn(Verdict) -> bool) -> BTreeMap<String, u64> {
    Verdict::ALL
        .into_iter()
        .filter(|verdict| wanted(*verdict) && verdicts.get(*verdict) != 0)
        .map(|verdict| (verdict.name().to_owned(), verdicts.get(verdict)))
        .collect()
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}
