//! Frames that nobody wrote: mutations of the table and plain noise, against the model.

use std::collections::HashMap;

use ha_common::verdict::{Fate, Verdict};

use crate::bench::{Bench, LAN, UPLINK, routers};
use crate::cases::table;
use crate::model::Model;

const MUTATED: u32 = 250_000;
const NOISE: u32 = 100_000;
/// Frames after which everything heard is forgotten, or the rate bound would swallow all news.
const FORGET_EVERY: u32 = 1000;

/// xorshift64*: the same frames every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        // Zeroes, ones and small numbers are what headers are made of.
        match self.below(4) {
            0 => self.below(4) as u8,
            1 => 0xff,
            _ => self.next() as u8,
        }
    }
}

fn mutate(random: &mut Random, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..random.below(4) {
        match random.below(8) {
            0 => frame.truncate(14 + random.below(frame.len())),
            1 => frame.resize(frame.len() + random.below(40), 0),
            2 => {
                let at = random.below(frame.len());
                frame.insert(at, random.byte());
            }
            _ => {
                // Headers sit at the front.
                let end = frame.len().min(14 + random.below(100));
                let at = random.below(end);
                frame[at] = random.byte();
            }
        }
    }
    frame.resize(frame.len().max(14), 0);
    frame
}

fn noise(random: &mut Random) -> Vec<u8> {
    let len = 14 + random.below(120);
    let mut frame: Vec<u8> = (0..len).map(|_| random.byte()).collect();
    // Otherwise it would nearly always end at the EtherType.
    let ethertype: &[u8] = match random.below(8) {
        0 | 1 => &[0x08, 0x00],
        2 | 3 => &[0x86, 0xdd],
        4 => &[0x08, 0x06],
        5 => &[0x81, 0x00],
        _ => &[],
    };
    frame[12..12 + ethertype.len()].copy_from_slice(ethertype);
    if frame.len() > 24 && random.below(2) == 0 {
        frame[14] = if ethertype == [0x08, 0x00] {
            0x45
        } else {
            0x60
        };
        frame[if ethertype == [0x08, 0x00] { 23 } else { 20 }] = 112;
    }
    frame
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn kernel_and_model_agree_on_mutated_frames() {
    // Time must not pass for the model: intervals of 40 s.
    let mut bench = Bench::new(4000);
    let routers = routers(4000);
    let mut model = Model::new(&routers);
    let mut random = Random(0x6861_2d61_6765_6e74);
    let cases = table();
    let mut seen: HashMap<Verdict, u32> = HashMap::new();
    for round in 0..MUTATED {
        if round % FORGET_EVERY == 0 {
            bench.reset();
            model = Model::new(&routers);
        }
        let case = &cases[random.below(cases.len())];
        let frame = mutate(&mut random, &case.frame);
        let ifindex = if random.below(8) == 0 {
            UPLINK
        } else {
            case.ifindex
        };
        let expected = model.verdict(ifindex, &frame);
        let verdict = bench.verdict(ifindex, &frame);
        assert_eq!(
            verdict, expected,
            "round {round}, interface {ifindex}: {frame:02x?}"
        );
        *seen.entry(verdict).or_default() += 1;
        while bench.fast.next_event().is_some() {}
    }
    println!("{seen:?}");
    assert!(
        seen.len() > Verdict::COUNT * 2 / 3,
        "the frames are too tame: {seen:?}"
    );
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn nothing_is_dropped_that_is_not_ours() {
    // No virtual router, no virtual address: whatever comes, passes.
    let mut bench = Bench::with(Vec::new());
    let mut random = Random(42);
    let cases = table();
    let before = bench.dataplane.counters().unwrap();
    for round in 0..NOISE {
        let frame = match random.below(2) {
            0 => noise(&mut random),
            _ => {
                let case = &cases[random.below(cases.len())];
                mutate(&mut random, &case.frame)
            }
        };
        let ran = bench.run(LAN, &frame);
        assert_eq!(ran.fate, Fate::Pass, "round {round}: {frame:02x?}");
        assert!(ran.unchanged, "round {round}: {frame:02x?}");
    }
    let counted = crate::bench::difference(&before, &bench.dataplane.counters().unwrap());
    assert_eq!(
        counted.values().sum::<u64>(),
        u64::from(NOISE),
        "{counted:?}"
    );
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn kernel_and_model_agree_on_noise() {
    let mut bench = Bench::new(4000);
    let routers = routers(4000);
    let mut model = Model::new(&routers);
    let mut random = Random(7);
    for round in 0..NOISE {
        let frame = noise(&mut random);
        let expected = model.verdict(LAN, &frame);
        assert_eq!(
            bench.verdict(LAN, &frame),
            expected,
            "round {round}: {frame:02x?}"
        );
    }
}
