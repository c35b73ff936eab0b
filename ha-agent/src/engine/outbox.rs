//! What the engine asks of the effects task, and where that waits when the queue is full.

use tokio::sync::mpsc;

use crate::vrrp::Announcement;
use crate::vrrp::types::Instant;

/// What the engine asks of the effects task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put the addresses of an instance on its interface.
    Hold {
        /// Which instance.
        slot: usize,
    },
    /// Take them off at that time.
    Release {
        /// Which instance.
        slot: usize,
        /// When.
        at: Instant,
    },
    /// Announce them.
    Announce {
        /// Which instance.
        slot: usize,
        /// Why.
        why: Announcement,
    },
}

impl Effect {
    const fn slot(self) -> usize {
        match self {
            Self::Hold { slot } | Self::Release { slot, .. } | Self::Announce { slot, .. } => slot,
        }
    }

    /// Whether `earlier`, still waiting, is pointless now. A release ends announcements too.
    fn overrides(self, earlier: Self) -> bool {
        self.slot() == earlier.slot()
            && match self {
                Self::Release { .. } => true,
                Self::Hold { .. } => !matches!(earlier, Self::Announce { .. }),
                Self::Announce { .. } => matches!(earlier, Self::Announce { .. }),
            }
    }

    /// Whether `later` adds nothing to this one: a takeover announces all that a conflict would,
    /// and begins what a conflict only repeats.
    fn covers(self, later: Self) -> bool {
        self.slot() == later.slot()
            && matches!(
                (self, later),
                (
                    Self::Announce { .. },
                    Self::Announce {
                        why: Announcement::Conflict,
                        ..
                    }
                )
            )
    }
}

/// The bounded queue towards the effects task. What finds it full waits here, the latest wish
/// per instance, so that memory stays bounded and nothing final is lost.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Effect>,
    backlog: Vec<Effect>,
}

impl Outbox {
    pub(super) const fn new(queue: mpsc::Sender<Effect>) -> Self {
        Self {
            queue,
            backlog: Vec::new(),
        }
    }

    /// Nothing waits here.
    pub(super) const fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    pub(super) fn post(&mut self, effect: Effect) {
        if self.backlog.is_empty() && self.queue.try_send(effect).is_ok() {
            return;
        }
        if self.backlog.iter().any(|old| old.covers(effect)) {
            return;
        }
        self.backlog.retain(|old| !effect.overrides(*old));
        self.backlog.push(effect);
    }

    pub(super) fn flush(&mut self) {
        let taken = self
            .backlog
            .iter()
            .take_while(|effect| self.queue.try_send(**effect).is_ok())
            .count();
        self.backlog.drain(..taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Effect = Effect::Hold { slot: 1 };
    const RELEASE: Effect = Effect::Release {
        slot: 1,
        at: Instant(7),
    };
    const TAKEOVER: Effect = announce(1, Announcement::Takeover);
    const CONFLICT: Effect = announce(1, Announcement::Conflict);

    const fn announce(slot: usize, why: Announcement) -> Effect {
        Effect::Announce { slot, why }
    }

    /// What is left waiting when `wishes` meet a queue that is full.
    fn waiting(wishes: &[Effect]) -> Vec<Effect> {
        let (queue, mut taken) = mpsc::channel(1);
        let mut outbox = Outbox::new(queue);
        let filler = announce(9, Announcement::Takeover);
        outbox.post(filler);
        for wish in wishes {
            outbox.post(*wish);
        }
        let mut left = Vec::new();
        assert_eq!(taken.try_recv(), Ok(filler));
        while !outbox.is_empty() {
            outbox.flush();
            left.extend(taken.try_recv());
        }
        left
    }

    #[test]
    fn of_what_waits_the_last_wish_counts() {
        for (wishes, left) in [
            (&[HOLD, TAKEOVER][..], &[HOLD, TAKEOVER][..]),
            (&[HOLD, RELEASE], &[RELEASE]),
            (&[RELEASE, HOLD], &[HOLD]),
            // A conflict only repeats what a takeover begins.
            (&[HOLD, TAKEOVER, CONFLICT], &[HOLD, TAKEOVER]),
            (&[CONFLICT, TAKEOVER], &[TAKEOVER]),
            (&[CONFLICT, CONFLICT], &[CONFLICT]),
            (&[HOLD, TAKEOVER, RELEASE], &[RELEASE]),
            (
                &[TAKEOVER, RELEASE, HOLD, TAKEOVER, CONFLICT],
                &[HOLD, TAKEOVER],
            ),
        ] {
            assert_eq!(waiting(wishes), left, "{wishes:?}");
        }
    }

    #[test]
    fn what_waits_for_one_instance_does_not_touch_another() {
        let other = Effect::Release {
            slot: 2,
            at: Instant(0),
        };
        assert_eq!(
            waiting(&[HOLD, other, TAKEOVER]),
            [HOLD, other, TAKEOVER].as_slice()
        );
    }
}
