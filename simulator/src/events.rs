//! What goes wrong in the district, when, and what really happened: the truth to score against.

use model::time::{MINUTE, SECOND};
use model::{DeviceId, Stamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::clock::SimClock;
use crate::district::{District, Place};
use crate::random::Random;
use crate::room::FaultKind;
use crate::world::World;

/// How often things go wrong; times are of the simulated clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// From the start to the first poisoning, milliseconds.
    pub first_after_ms: i64,
    /// Mean time between further ones, milliseconds; their number is Poisson-distributed.
    pub mean_between_ms: i64,
    /// How likely the duty officer misses the first messages of an alarm. Of the very first
    /// poisoning's he certainly does.
    pub officer_misses: f64,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates { first_after_ms: MINUTE, mean_between_ms: 20 * MINUTE, officer_misses: 0.3 }
    }
}

/// One poisoning as it really was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Poisoning {
    /// Running number from 0.
    pub id: usize,
    pub kind: FaultKind,
    /// The home's id.
    pub home: String,
    pub sensor: DeviceId,
    pub started: Stamp,
    /// When the true CO first was 300 ppm or more.
    pub danger: Option<Stamp>,
    /// When the window was opened.
    pub ended: Option<Stamp>,
    /// Who opened it: a person's id, or `neighbour` when nobody was sent in time.
    pub ended_by: Option<String>,
    /// First acknowledgement, by whom and when.
    pub acknowledged: Option<Stamp>,
    pub acknowledged_by: Option<String>,
    /// When the incident was resolved on the console.
    pub resolved: Option<Stamp>,
    /// Real milliseconds from publishing the first reading of 300 ppm or more to the first message
    /// on a handset about it; 0 when an earlier rule had spoken before.
    pub alarm_latency_ms: Option<u64>,
}

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    pub at: Stamp,
    /// Index of the home.
    pub home: usize,
    pub kind: FaultKind,
}

/// The endless list of what is to happen, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Script {
    random: Random,
    rates: Rates,
    homes: usize,
    next: Planned,
}

impl Script {
    /// `None` for a district without homes.
    pub fn new(district: &District, rates: Rates, seed: u64, start: Stamp) -> Option<Script> {
        let mut random = Random::stream(seed, 1);
        let is_bathroom = |index: &usize| district.homes[*index].sensor.room == Place::Bathroom;
        let bathrooms: Vec<usize> = (0..district.homes.len()).filter(is_bathroom).collect();
        let home = *random.pick(&bathrooms)?;
        let next = Planned { at: start + rates.first_after_ms, home, kind: FaultKind::BlockedFlue };
        Some(Script { random, rates, homes: district.homes.len(), next })
    }
}

impl Iterator for Script {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let planned = self.next;
        let wait = self.random.exponential(self.rates.mean_between_ms.max(1) as f64) as i64;
        self.next = Planned {
            at: planned.at + wait,
            home: self.random.below(self.homes),
            kind: FaultKind::ALL[self.random.below(FaultKind::ALL.len())],
        };
        Some(planned)
    }
}

/// When nobody was sent, somebody comes by at last.
const FOUND_ANYWAY_AFTER: i64 = 60 * MINUTE;
const LOOK_EVERY: i64 = 30 * SECOND;

/// Lets the script happen until `stop`.
pub(crate) async fn play(world: &World, clock: &SimClock, script: Script, stop: &CancellationToken) {
    let mut script = script.peekable();
    while let Some(planned) = script.peek().copied() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(planned.at.min(clock.now() + LOOK_EVERY)) => {}
        }
        let now = clock.now();
        if planned.at <= now {
            script.next();
            world.begin(planned.home, planned.kind, now);
        }
        for id in world.lasting_since(now - FOUND_ANYWAY_AFTER) {
            world.open_window(id, "neighbour", now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Stamp = Stamp(1_795_485_600_000);

    #[test]
    fn the_first_is_a_blocked_flue_in_a_bathroom_after_a_minute() {
        for seed in 0..20 {
            let district = District::generate(seed, 60);
            let first = Script::new(&district, Rates::default(), seed, START).unwrap().next().unwrap();
            assert_eq!(first.at, START + 60 * SECOND);
            assert_eq!(first.kind, FaultKind::BlockedFlue);
            assert_eq!(district.homes[first.home].sensor.room, Place::Bathroom);
        }
    }

    #[test]
    fn further_ones_come_at_the_rate() {
        let district = District::generate(1, 60);
        let count = 2_000;
        let last = Script::new(&district, Rates::default(), 1, START).unwrap().nth(count).unwrap();
        let mean = last.at.since(START) / count as i64;
        assert!((19 * MINUTE..21 * MINUTE).contains(&mean), "{mean}");
    }

    #[test]
    fn no_homes_no_script() {
        assert!(Script::new(&District::generate(1, 0), Rates::default(), 1, START).is_none());
    }

    proptest! {
        #[test]
        fn one_seed_one_script(seed: u64, homes in 1usize..80) {
            let district = District::generate(seed, homes);
            let play = || Script::new(&district, Rates::default(), seed, START).unwrap().take(30).collect::<Vec<_>>();
            prop_assert_eq!(play(), play());
            prop_assert!(play().windows(2).all(|pair| pair[0].at <= pair[1].at));
            prop_assert!(play().iter().all(|planned| planned.home < homes));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_script_happens_and_the_forgotten_are_found_at_last() {
        let clock = SimClock::new(START, 60.0);
        let district = District::generate(4, 30);
        let world = World::new(&district, START, 4);
        let rates = Rates { mean_between_ms: 600 * MINUTE, ..Rates::default() };
        let script = Script::new(&district, rates, 4, START).unwrap();
        let stop = CancellationToken::new();
        let until = async {
            clock.sleep(65 * MINUTE).await;
            stop.cancel();
        };
        tokio::join!(play(&world, &clock, script, &stop), until);
        let records = world.poisonings(clock.now());
        assert_eq!(records.len(), 1);
        let first = &records[0];
        assert!((0..SECOND).contains(&first.started.since(START + MINUTE)), "{first:?}");
        let danger = first.danger.unwrap().since(first.started);
        assert!((5 * MINUTE..=8 * MINUTE).contains(&danger), "{danger}");
        assert!((60 * MINUTE..62 * MINUTE).contains(&first.ended.unwrap().since(first.started)));
        assert_eq!(first.ended_by.as_deref(), Some("neighbour"));
        assert!(serde_json::to_string(first).unwrap().contains("\"kind\":\"blocked_flue\""));
    }
}
