//! The rules behind the table, one test each.

use std::time::Duration;

use ha_agent::vrrp::router::{Reason, RoleName, Why};
use ha_agent::vrrp::types::{
    AdvertPriority, Checksum, Family, Instant, Priority, Version, active_down_interval, skew_time,
};
use ha_agent::vrrp::{Action, Advert, Config, Input, LinkState, Router, State};
use proptest::prelude::*;

use super::show;
use super::table::{
    LOCAL, LOWER, PEER, T, UP, active, advert, config, cs, feed, ip, ms, priority, started,
};

const NS: Duration = Duration::from_nanos(1);

#[track_caller]
fn does(router: &mut Router, now: Instant, input: Input, expected: &str) {
    assert_eq!(show::actions(T, &feed(router, now, input)), expected);
}

#[track_caller]
fn is(router: &Router, expected: &str) {
    assert_eq!(show::state(T, router.state()), expected);
}

fn hear(router: &mut Router, at: Instant, source: &str, wire: u8) -> Vec<Action> {
    feed(router, at, Input::Advert(advert(at, source, wire)))
}

/// A Backup that has followed [`PEER`] since [`T`].
fn follower(config: Config) -> Router {
    let mut router = started(config, T - ms(1));
    hear(&mut router, T, PEER, 200);
    router
}

#[test]
fn a_takeover_is_told_then_served_then_announced() {
    let mut router = follower(config());
    let down = router.deadline().unwrap();
    assert_eq!(down, T + Duration::from_nanos(3_609_375_000));
    does(&mut router, down - NS, Input::Timeout, "");
    does(
        &mut router,
        down,
        Input::Timeout,
        "advert 100, B>A, serve +6.609375, add, announce takeover",
    );
    assert_eq!(router.reason(), Reason::PeerSilent);
    assert_eq!(router.since(), down);
}

#[test]
fn a_mute_router_never_draws_traffic() {
    let mut router = follower(config());
    let mut out = Vec::new();
    let mut now = router.deadline().unwrap();
    for _ in 0..10 {
        router.handle(now, Input::Timeout, &mut out); // and no AdvertSent
        now = router.deadline().unwrap();
    }
    assert_eq!(router.state().name(), RoleName::Backup);
    assert_eq!(router.reason(), Reason::LeaseLapsed);
    let harmless = |action: &Action| {
        matches!(
            action,
            Action::SendAdvert(_) | Action::Close | Action::Transition { .. }
        )
    };
    assert!(out.iter().all(harmless), "{out:?}");
}

#[test]
fn the_lease_is_three_intervals_from_the_last_advertisement_sent() {
    let mut router = active(config(), T);
    is(&router, "Active adver +1 lease +3 answer +0");
    let lease = T + ms(3000);
    let mut late = router.clone();
    does(
        &mut late,
        lease - NS,
        Input::Timeout,
        "advert 100, serve +5.999999999",
    );
    does(
        &mut router,
        lease,
        Input::Timeout,
        "close, remove after 0ns, A>B",
    );
    assert_eq!(router.reason(), Reason::LeaseLapsed);
    is(
        &router,
        "Backup of nobody every 1 s down +6.609375 NobodyHeard",
    );
}

#[test]
fn the_lease_ends_before_the_peer_takes_over() {
    for version in [Version::V2, Version::V3] {
        for n in 1..=254u8 {
            let interval = if version == Version::V2 { 300 } else { 1 };
            let interval = cs(interval);
            let lease = 3 * interval.duration();
            assert!(lease < active_down_interval(version, priority(n), interval));
        }
    }
}

#[test]
fn whoever_was_frozen_past_its_lease_gives_up_before_it_speaks() {
    let inputs = |now| {
        [
            Input::Timeout,
            Input::Startup,
            Input::Shutdown,
            Input::Link(UP()),
            Input::Link(LinkState::Down),
            Input::AddressesFailed,
            Input::AdvertSent(T + ms(100)),
            Input::Advert(advert(now, LOWER, 50)),
            Input::Advert(advert(now, PEER, 0)),
            Input::Advert(advert(T + ms(100), LOWER, 50)),
            Input::Reconfigure(Config {
                priority: priority(7),
                ..config()
            }),
        ]
    };
    let now = T + Duration::from_secs(60);
    for input in inputs(now) {
        let mut router = active(config(), T);
        let out = feed(&mut router, now, input.clone());
        assert!(
            matches!(
                out[..2],
                [Action::Close, Action::RemoveAddresses(Duration::ZERO)]
            ),
            "{input:?}: {out:?}"
        );
        let speaks =
            |action: &Action| matches!(action, Action::SendAdvert(_) | Action::Announce(_));
        assert!(!out.iter().any(speaks), "{input:?}: {out:?}");
        assert_ne!(router.state().name(), RoleName::Active);
    }
}

#[test]
fn frozen_between_sending_and_claiming() {
    let mut router = follower(config());
    let down = router.deadline().unwrap();
    router.handle(down, Input::Timeout, &mut Vec::new());
    let mut out = Vec::new();
    router.handle(down + ms(3000), Input::AdvertSent(down), &mut out);
    assert_eq!(show::actions(T, &out), "close, A>B");
}

#[test]
fn one_advertisement_however_late_and_the_beat_is_kept() {
    let mut router = active(config(), T);
    does(
        &mut router,
        T + ms(1100),
        Input::Timeout,
        "advert 100, serve +4.1",
    );
    is(&router, "Active adver +2 lease +4.1 answer +0");
    does(
        &mut router,
        T + ms(3500),
        Input::Timeout,
        "advert 100, serve +6.5",
    );
    is(&router, "Active adver +4.5 lease +6.5 answer +0");
}

#[test]
fn the_graceful_stop_serves_until_the_successor_speaks() {
    let mut router = active(config(), T);
    does(
        &mut router,
        T + ms(10),
        Input::Shutdown,
        "resign, serve +2.00609375",
    );
    does(&mut router, T + ms(20), Input::Shutdown, "");
    does(&mut router, T + ms(1010), Input::Timeout, "");
    assert!(!router.stopped());
    let out = hear(&mut router, T + ms(1200), LOWER, 1);
    assert_eq!(
        show::actions(T, &out),
        "hand over +1.3, remove after 100ms, A>I"
    );
    assert!(router.stopped());
    assert_eq!(router.deadline(), None);
    does(&mut router, T + ms(1300), Input::Link(UP()), "");
}

#[test]
fn the_graceful_stop_ends_without_a_successor() {
    let mut router = active(config(), T);
    feed(&mut router, T, Input::Shutdown);
    let end = router.deadline().unwrap();
    // Long enough for the slowest successor: its skew is 255/256 of the interval.
    assert_eq!(end, T + ms(1000) + ms(1000) * 255 / 256);
    assert_eq!(
        hear(&mut router, end - NS, PEER, 0),
        [],
        "a resignation is no successor"
    );
    does(
        &mut router,
        end,
        Input::Timeout,
        "close, remove after 0ns, A>I",
    );
    assert_eq!(router.reason(), Reason::Unfit(Why::Stopped));
}

#[test]
fn starting_does_not_turn_a_leaving_router_back() {
    let mut router = active(config(), T);
    feed(&mut router, T, Input::Shutdown);
    does(&mut router, T + ms(1), Input::Startup, "");
    feed(&mut router, T + ms(2), Input::Link(LinkState::Down));
    assert!(router.stopped());
    does(&mut router, T + ms(3), Input::Link(UP()), "");
    assert!(router.stopped());
}

#[test]
fn the_winner_gets_a_last_word_and_the_time_to_arrive() {
    let mut router = active(config(), T);
    let out = hear(&mut router, T + ms(500), PEER, 101);
    assert_eq!(
        show::actions(T, &out),
        "advert 100, hand over +0.6, remove after 100ms, A>B"
    );
    assert_eq!(router.reason(), Reason::HigherPriority);
}

#[test]
fn the_hand_over_is_an_interval_within_bounds() {
    for (interval, handover) in [(1, 20), (5, 50), (100, 100), (4000, 100)] {
        let router = started(
            Config {
                interval: cs(interval),
                ..config()
            },
            T,
        );
        assert_eq!(router.handover(), ms(handover));
    }
}

#[test]
fn ties_are_settled_by_the_address() {
    let mut router = active(config(), T);
    let out = hear(&mut router, T + ms(1), LOWER, 100);
    assert_eq!(
        show::actions(T, &out),
        "advert 100, announce conflict, serve +3.001"
    );
    hear(&mut router, T + ms(2), PEER, 100);
    assert_eq!(router.reason(), Reason::HigherAddress);
    // Unsigned, in network order: 10.0.0.200 is above 10.0.0.5.
    let mut router = active(config(), T);
    hear(&mut router, T + ms(1), "10.0.0.200", 100);
    assert_eq!(router.state().name(), RoleName::Backup);
}

#[test]
fn answers_are_bounded_and_announcements_are_not() {
    let mut router = active(config(), T);
    let mut adverts = 0;
    let mut announcements = 0;
    for n in 1..=1000 {
        for action in hear(&mut router, T + ms(n), LOWER, 50) {
            match action {
                Action::SendAdvert(_) => adverts += 1,
                Action::Announce(_) => announcements += 1,
                _ => {}
            }
        }
    }
    assert_eq!(adverts, 4);
    assert_eq!(announcements, 1000);
}

#[test]
fn an_answer_that_was_held_back_leaves_when_the_bound_allows() {
    let mut router = active(config(), T);
    hear(&mut router, T + ms(500), LOWER, 50);
    is(&router, "Active adver +1.5 lease +3.5 answer +0.75");
    hear(&mut router, T + ms(501), LOWER, 50);
    is(&router, "Active adver +0.75 lease +3.5 answer +0.75");
    does(
        &mut router,
        T + ms(750),
        Input::Timeout,
        "advert 100, serve +3.75",
    );
    is(&router, "Active adver +1.75 lease +3.75 answer +1");
}

#[test]
fn the_last_word_carries_the_interval_of_the_winner() {
    let mut router = active(config(), T);
    assert_eq!(router.advertised_interval(), cs(100));
    let slow = Advert {
        interval: cs(400),
        ..advert(T + ms(1), PEER, 200)
    };
    feed(&mut router, T + ms(1), Input::Advert(slow));
    assert_eq!(router.advertised_interval(), cs(400));
    feed(&mut router, T + ms(2), Input::Link(LinkState::Down));
    assert_eq!(router.advertised_interval(), cs(100));
}

#[test]
fn an_answer_resets_the_adver_timer() {
    let mut router = active(config(), T);
    hear(&mut router, T + ms(600), PEER, 0);
    is(&router, "Active adver +1.6 lease +3.6 answer +0.85");
}

#[test]
fn only_the_router_followed_can_resign() {
    let mut router = follower(config());
    hear(&mut router, T + ms(10), LOWER, 0);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +3.609375 PeerSilent",
    );
    hear(&mut router, T + ms(20), PEER, 0);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +0.629375 PeerResigned",
    );
}

#[test]
fn a_repeated_resignation_does_not_postpone_the_takeover() {
    let mut router = follower(config());
    for n in 1..=10 {
        hear(&mut router, T + ms(n), PEER, 0);
    }
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +0.610375 PeerResigned",
    );
}

/// The timer lags behind advertisements that repeat the last one, because they wake nobody: what it
/// says must not let a lower priority overtake a higher one after a resignation.
#[test]
fn a_resignation_sets_the_skew_whatever_the_timer_says() {
    let mut router = follower(config());
    hear(&mut router, T + ms(3500), PEER, 0);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +4.109375 PeerResigned",
    );
}

#[test]
fn the_interval_is_learnt_and_the_skew_with_it() {
    let mut router = follower(config());
    let fast = Advert {
        interval: cs(10),
        ..advert(T + ms(100), PEER, 200)
    };
    feed(&mut router, T + ms(100), Input::Advert(fast));
    // 0.1 + 3 × 0.1 + 156/256 × 0.1
    is(
        &router,
        "Backup of 10.0.0.9 every 100 ms down +0.4609375 PeerSilent",
    );
    hear(&mut router, T + ms(110), PEER, 0);
    is(
        &router,
        "Backup of 10.0.0.9 every 100 ms down +0.1709375 PeerResigned",
    );
    // As Active it advertises at its own rate.
    feed(&mut router, T + ms(171), Input::Timeout);
    is(&router, "Active adver +1.171 lease +3.171 answer +0.171");
}

#[test]
fn the_skew_of_version_2_is_in_seconds() {
    let v2 = Config {
        version: Version::V2,
        interval: cs(300),
        ..config()
    };
    let mut router = started(v2, T);
    is(
        &router,
        "Backup of nobody every 3 s down +9.609375 NobodyHeard",
    );
    let slow = |at, wire| {
        Input::Advert(Advert {
            interval: cs(300),
            ..advert(at, PEER, wire)
        })
    };
    feed(&mut router, T + ms(1000), slow(T + ms(1000), 200));
    is(
        &router,
        "Backup of 10.0.0.9 every 3 s down +10.609375 PeerSilent",
    );
    feed(&mut router, T + ms(2000), slow(T + ms(2000), 0));
    is(
        &router,
        "Backup of 10.0.0.9 every 3 s down +2.609375 PeerResigned",
    );
}

#[test]
fn a_backup_that_slept_gives_what_lies_unread_one_skew() {
    let due = follower(config()).deadline().unwrap();
    let takeover = |router: &mut Router, at| {
        let mut out = Vec::new();
        router.handle(at, Input::Timeout, &mut out);
        router.state().name() == RoleName::Active
    };
    let mut late = follower(config());
    assert!(takeover(&mut late, due + ms(999)), "late, but awake");

    let mut slept = follower(config());
    assert!(!takeover(&mut slept, due + ms(1000)));
    let again = slept.deadline().unwrap();
    assert_eq!(again, due + ms(1000) + slept_skew());
    let mut spared = slept.clone();
    hear(&mut spared, due + ms(1001), "10.0.0.9", 200);
    assert_eq!(spared.state().name(), RoleName::Backup);
    assert!(spared.deadline().unwrap() > again, "it was alive all along");
    assert!(takeover(&mut slept, again + ms(5000)), "once is enough");
}

fn slept_skew() -> Duration {
    let config = config();
    skew_time(config.version, config.priority, config.interval)
}

#[test]
fn a_lower_priority_is_preempted_when_the_timer_ends() {
    let mut router = started(config(), T);
    for n in 1..=3 {
        hear(&mut router, T + ms(n * 1000), PEER, 99);
    }
    is(
        &router,
        "Backup of nobody every 1 s down +3.609375 Preempted",
    );
    let down = router.deadline().unwrap();
    feed(&mut router, down, Input::Timeout);
    assert_eq!(router.reason(), Reason::Preempted);
}

#[test]
fn without_preemption_a_lower_priority_is_followed() {
    let mut router = started(
        Config {
            preempt: false,
            ..config()
        },
        T,
    );
    hear(&mut router, T + ms(1000), PEER, 1);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +4.609375 PeerSilent",
    );
    let down = router.deadline().unwrap();
    feed(&mut router, down, Input::Timeout);
    assert_eq!(
        router.state().name(),
        RoleName::Active,
        "but not when silent"
    );
}

#[test]
fn preemption_waits_for_its_delay() {
    let delayed = Config {
        preempt_delay: ms(5000),
        ..config()
    };
    let mut router = started(delayed, T);
    hear(&mut router, T + ms(1000), PEER, 50);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +4.609375 preempt +6 PeerSilent",
    );
    hear(&mut router, T + ms(5999), PEER, 50);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +9.608375 preempt +6 PeerSilent",
    );
    hear(&mut router, T + ms(6000), PEER, 50);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +9.608375 preempt +6 Preempted",
    );
    // A higher priority in between starts the count again.
    hear(&mut router, T + ms(6500), PEER, 150);
    hear(&mut router, T + ms(7000), PEER, 50);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +10.609375 preempt +12 PeerSilent",
    );
}

#[test]
fn the_owner_begins_as_active() {
    let owner = Config {
        priority: Priority::OWNER,
        ..config()
    };
    let mut router = Router::new(owner.clone());
    does(&mut router, T, Input::Startup, "");
    does(
        &mut router,
        T,
        Input::Link(UP()),
        "advert 255, I>A, serve +3, add, announce takeover",
    );
    assert_eq!(router.reason(), Reason::Owner);
    // Its lease counts like any other: it does not come back at once.
    feed(&mut router, T + ms(3000), Input::Timeout);
    is(
        &router,
        "Backup of nobody every 1 s down +6.00390625 NobodyHeard",
    );
}

#[test]
fn two_owners_settle_by_address_and_are_told_apart() {
    let owner = Config {
        priority: Priority::OWNER,
        ..config()
    };
    let mut router = started(owner, T);
    assert!(!router.two_owners());
    hear(&mut router, T + ms(1), LOWER, 255);
    assert!(router.two_owners());
    assert_eq!(router.state().name(), RoleName::Active);
    hear(&mut router, T + ms(2), PEER, 255);
    assert_eq!(router.state().name(), RoleName::Backup);
    feed(&mut router, T + ms(3), Input::Reconfigure(config()));
    assert!(!router.two_owners(), "one of them gave it up");
}

#[test]
fn another_address_list_is_noticed_and_changes_nothing() {
    let mut router = started(config(), T);
    let other = Advert {
        addresses: 8,
        ..advert(T + ms(1), PEER, 200)
    };
    feed(&mut router, T + ms(1), Input::Advert(other));
    assert!(router.addresses_differ());
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +3.610375 PeerSilent",
    );
    hear(&mut router, T + ms(2), PEER, 200);
    assert!(!router.addresses_differ());
}

#[test]
fn an_advertisement_counts_once_and_only_forwards() {
    let mut router = follower(config());
    let first = advert(T + ms(100), PEER, 200);
    feed(&mut router, T + ms(100), Input::Advert(first));
    let before = show::state(T, router.state());
    feed(&mut router, T + ms(200), Input::Advert(first));
    hear(&mut router, T + ms(50), PEER, 0);
    is(&router, &before);
}

#[test]
fn an_advertisement_whose_time_is_over_says_nothing() {
    let mut router = started(config(), T);
    let old = Input::Advert(advert(T - ms(4000), PEER, 200));
    does(&mut router, T + ms(1), old, "");
    is(
        &router,
        "Backup of nobody every 1 s down +3.609375 NobodyHeard",
    );
    // A late one counts from its arrival.
    let late = Input::Advert(advert(T - ms(1000), PEER, 200));
    does(&mut router, T + ms(1), late, "");
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +2.609375 PeerSilent",
    );
}

#[test]
fn reconfiguring_keeps_the_role() {
    let mut router = active(config(), T);
    let with = |interval, n| {
        Input::Reconfigure(Config {
            interval: cs(interval),
            priority: priority(n),
            ..config()
        })
    };
    does(&mut router, T + ms(100), with(100, 100), "");
    does(
        &mut router,
        T + ms(200),
        with(100, 50),
        "advert 50, serve +3.2",
    );
    is(&router, "Active adver +1.2 lease +3.2 answer +0");
    does(
        &mut router,
        T + ms(300),
        with(10, 50),
        "advert 50, serve +0.6",
    );
    is(&router, "Active adver +0.4 lease +0.6 answer +0");

    let mut router = follower(config());
    // (256 − 200)/256 instead of (256 − 100)/256, from the same advertisement.
    does(&mut router, T + ms(100), with(100, 200), "");
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +3.21875 PeerSilent",
    );
    // The interval followed is the peer's.
    does(&mut router, T + ms(200), with(10, 200), "");
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +3.21875 PeerSilent",
    );

    let mut router = started(config(), T);
    does(&mut router, T + ms(100), with(10, 100), "");
    is(
        &router,
        "Backup of nobody every 100 ms down +0.3609375 NobodyHeard",
    );
}

#[test]
fn another_preempt_delay_starts_anew() {
    let delayed = |seconds| Config {
        preempt_delay: Duration::from_secs(seconds),
        ..config()
    };
    let mut router = started(delayed(5), T);
    hear(&mut router, T + ms(1000), PEER, 50);
    feed(&mut router, T + ms(1500), Input::Reconfigure(delayed(9)));
    hear(&mut router, T + ms(2000), PEER, 50);
    is(
        &router,
        "Backup of 10.0.0.9 every 1 s down +5.609375 preempt +11 PeerSilent",
    );
}

#[test]
fn a_lost_link_ends_the_role_and_its_return_begins_as_backup() {
    let mut router = active(config(), T);
    does(
        &mut router,
        T + ms(100),
        Input::Link(LinkState::Down),
        "close, remove after 0ns, A>I",
    );
    assert_eq!(router.reason(), Reason::Unfit(Why::LinkDown));
    assert_eq!(router.deadline(), None);
    does(&mut router, T + ms(200), Input::Link(UP()), "close, I>B");
    is(
        &router,
        "Backup of nobody every 1 s down +3.809375 NobodyHeard",
    );
}

#[test]
fn a_new_source_address_does_not_end_the_role() {
    let mut router = active(config(), T);
    let moved = LinkState::Up {
        local: ip("10.0.0.6"),
    };
    does(&mut router, T + ms(100), Input::Link(moved), "");
    assert_eq!(router.link(), moved);
}

#[test]
fn addresses_that_cannot_be_added_are_tried_again() {
    let mut router = active(config(), T);
    does(
        &mut router,
        T,
        Input::AddressesFailed,
        "close, remove after 0ns, resign, A>I",
    );
    let retry = router.deadline().unwrap();
    assert_eq!(retry, T + Duration::from_secs(5));
    does(&mut router, retry - NS, Input::Timeout, "");
    does(&mut router, retry - NS, Input::Link(UP()), "");
    does(&mut router, retry, Input::Timeout, "close, I>B");
}

#[test]
fn the_checksum_is_the_one_of_the_peer() {
    let mut router = started(config(), T);
    assert_eq!(router.checksum(), Checksum::PseudoHeader);
    hear(&mut router, T + ms(1), PEER, 200);
    assert_eq!(router.checksum(), Checksum::MessageOnly);
    let fixed = |family, version, checksum| {
        Router::new(Config {
            family,
            version,
            checksum,
            ..config()
        })
        .checksum()
    };
    let (message, pseudo) = (Checksum::MessageOnly, Checksum::PseudoHeader);
    assert_eq!(fixed(Family::Ipv4, Version::V3, Some(message)), message);
    assert_eq!(fixed(Family::Ipv4, Version::V2, Some(pseudo)), message);
    assert_eq!(fixed(Family::Ipv6, Version::V3, Some(message)), pseudo);
}

/// What may come in, with the time that passes before it.
fn any_input() -> impl Strategy<Value = (Step, u64)> {
    let time = prop_oneof![Just(0), 0..50u64, 0..2_000u64, 3_000..10_000u64];
    let source = prop::sample::select(vec![PEER, LOWER, "10.0.0.77"]);
    let step = prop_oneof![
        4 => Just(Step::Deadline),
        2 => Just(Step::Timeout),
        4 => (source, any::<u8>(), 1..400u16, 0..5_000u64)
            .prop_map(|(source, wire, interval, age)| Step::Advert(source, wire, interval, age)),
        1 => Just(Step::Startup),
        1 => Just(Step::Shutdown),
        2 => (0..4usize).prop_map(Step::Link),
        1 => Just(Step::AddressesFailed),
        1 => (1..=255u8, 1..400u16, any::<bool>(), 0..3_000u64)
            .prop_map(|(n, interval, preempt, delay)| Step::Reconfigure(n, interval, preempt, delay)),
        1 => Just(Step::SendFails),
    ];
    (step, time)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Deadline,
    Timeout,
    Advert(&'static str, u8, u16, u64),
    Startup,
    Shutdown,
    Link(usize),
    AddressesFailed,
    Reconfigure(u8, u16, bool, u64),
    /// The next advertisements do not leave, until this comes again.
    SendFails,
}

/// What the actions promise, whatever the inputs.
#[derive(Default)]
struct Promises {
    added: bool,
    sent_since_close: bool,
}

impl Promises {
    fn check(&mut self, router: &Router, now: Instant, action: &Action) {
        match action {
            Action::SendAdvert(priority) => {
                self.sent_since_close = true;
                if let AdvertPriority::Run(n) = priority {
                    assert_eq!(*n, router.config().priority);
                }
            }
            Action::Serve(until) => {
                assert_eq!(
                    router.state().name(),
                    RoleName::Active,
                    "serves as {router:?}"
                );
                assert!(self.sent_since_close, "serves unannounced");
                let longest = 3 * router.config().interval.duration();
                assert!(*until <= now + longest.max(ms(2000)), "serves for ever");
            }
            Action::HandOver(until) => {
                assert!(*until <= now + ms(100));
                self.sent_since_close = false;
            }
            Action::Close => self.sent_since_close = false,
            Action::AddAddresses => assert!(!std::mem::replace(&mut self.added, true)),
            Action::RemoveAddresses(_) => assert!(std::mem::replace(&mut self.added, false)),
            Action::Announce(_) => assert!(self.added, "announces what it has not"),
            Action::Transition { from, to } => assert_ne!(from, to),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(3_000)
    })]

    #[test]
    fn whatever_comes_the_promises_hold(
        steps in prop::collection::vec(any_input(), 1..60),
        v2 in any::<bool>(),
    ) {
        let mut router = Router::new(Config {
            version: if v2 { Version::V2 } else { Version::V3 },
            ..config()
        });
        let mut promises = Promises::default();
        let mut now = T;
        let mut mute = false;
        let mut role = RoleName::Initialize;
        for (step, passed) in steps {
            now = now + ms(passed);
            let input = match step {
                Step::Deadline => {
                    now = router.deadline().map_or(now, |due| due.max(now));
                    Input::Timeout
                }
                Step::Timeout => Input::Timeout,
                Step::Advert(source, wire, interval, age) => Input::Advert(Advert {
                    interval: cs(if v2 { 100 } else { interval }),
                    ..advert(now - ms(age), source, wire)
                }),
                Step::Startup => Input::Startup,
                Step::Shutdown => Input::Shutdown,
                Step::Link(n) => Input::Link(
                    [LinkState::Missing, LinkState::Down, LinkState::NoAddress, UP()][n],
                ),
                Step::AddressesFailed => Input::AddressesFailed,
                Step::Reconfigure(n, interval, preempt, delay) => Input::Reconfigure(Config {
                    priority: priority(n),
                    interval: cs(if v2 { 100 } else { interval }),
                    preempt,
                    preempt_delay: ms(delay),
                    ..router.config().clone()
                }),
                Step::SendFails => {
                    mute = !mute;
                    continue;
                }
            };
            let mut todo = vec![input.clone()];
            while let Some(input) = todo.pop() {
                let mut out = Vec::new();
                router.handle(now, input, &mut out);
                for action in &out {
                    promises.check(&router, now, action);
                    if let Action::Transition { from, to } = action {
                        prop_assert_eq!(*from, role);
                        role = *to;
                    }
                    if matches!(action, Action::SendAdvert(_)) && !mute {
                        todo.push(Input::AdvertSent(now));
                    }
                }
            }
            prop_assert_eq!(role, router.state().name());
            // No busy loop: at the deadline something happens that moves it, at most after the
            // lapse of a router that could not speak.
            for _ in 0..2 {
                if router.deadline().is_some_and(|due| due <= now) {
                    for action in feed(&mut router, now, Input::Timeout) {
                        promises.check(&router, now, &action);
                        if let Action::Transition { to, .. } = action {
                            role = to;
                        }
                    }
                }
            }
            prop_assert!(router.deadline().is_none_or(|due| due > now), "{:?}", router);
        }
    }
}

#[test]
fn the_tables_addresses_are_what_their_names_say() {
    assert!(ip(LOWER) < ip(LOCAL) && ip(LOCAL) < ip(PEER));
    assert!(matches!(active(config(), T).state(), State::Active { .. }));
}
