//! The duty staff: they read messages on their phones, acknowledge, drive there, open the window and
//! write the incident's end into the console.

mod console;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::time::{MINUTE, SECOND};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::SimClock;
use crate::district::{Post, Staff};
use crate::events::Rates;
use crate::http::HttpError;
use crate::phones::Sms;
use crate::random::Random;
use crate::room::FaultKind;
use crate::world::World;
pub use console::Login;
use console::{Browser, Outcome};

pub(crate) struct People {
    pub(crate) world: Arc<World>,
    pub(crate) clock: SimClock,
    pub(crate) staff: Vec<Staff>,
    /// Console sign-ins by person id.
    pub(crate) logins: HashMap<String, Login>,
    browser: Browser,
}

/// Seconds between a message's arrival and the answer, least and most.
const REACTION_SECONDS: (f64, f64) = (15.0, 40.0);
/// Supervisor and lead look at their phones more slowly.
const REACTION_SECONDS_ABOVE: (f64, f64) = (60.0, 110.0);
const TRAVEL_MINUTES: (f64, f64) = (3.0, 6.0);
const LOOK_EVERY: i64 = 30 * SECOND;
/// Between fresh air and the report, so that the sensor has said so too.
const WRITE_UP: i64 = 2 * MINUTE;
const RESOLVE_TRIES: usize = 5;
/// Messages being answered at once; more than that no staff can handle either.
const MOST_AT_ONCE: usize = 1_000;

/// The seeded part of answering one message.
#[derive(Clone, Copy, Debug)]
struct Answer {
    after: i64,
    travel: i64,
}

impl People {
    pub(crate) fn new(
        world: Arc<World>,
        clock: SimClock,
        staff: Vec<Staff>,
        logins: HashMap<String, Login>,
        client: reqwest::Client,
        base: &str,
    ) -> People {
        People { world, clock, staff, logins, browser: Browser::new(client, base) }
    }

    /// Reads messages and answers them until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut messages: broadcast::Receiver<Sms>,
        rates: Rates,
        seed: u64,
        stop: CancellationToken,
    ) {
        let mut random = Random::stream(seed, 3);
        let mut attention = Attention::new(rates.officer_misses, Random::stream(seed, 4));
        let mut answering = JoinSet::new();
        loop {
            let sms = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = answering.join_next() => continue,
                received = messages.recv() => match received {
                    Ok(sms) => sms,
                    Err(RecvError::Lagged(lost)) => {
                        tracing::warn!(lost, "more messages arrive than people can read");
                        continue;
                    }
                    Err(RecvError::Closed) => return,
                },
            };
            let Some((person, poisoning)) = self.read(&sms) else { continue };
            let is_missed = person.role == Post::DutyOfficer && attention.is_missed(poisoning, self.clock.now().0);
            let answer = Answer::draw(person.role, &mut random);
            if is_missed {
                tracing::info!(to = sms.to, "the {} missed the message", person.role.name());
            } else if answering.len() < MOST_AT_ONCE {
                answering.spawn(self.clone().answer(person.clone(), sms, poisoning, answer));
            }
        }
    }

    /// Tells a message about; returns the member of staff it is for and the poisoning it is about.
    fn read(&self, sms: &Sms) -> Option<(&Staff, Option<usize>)> {
        let poisoning = self.world.meant_by(&sms.text);
        if let Some(latency_ms) = poisoning.and_then(|id| self.world.message_arrived(id, sms.at)) {
            tracing::info!(id = poisoning, latency_ms, "first message about a poisoning");
        }
        let person = self.staff.iter().find(|person| person.phone == sms.to);
        let reader = match person {
            Some(person) => person.role.name(),
            None => self.world.household(&sms.to).map_or("nobody here", |_| "household"),
        };
        tracing::info!("SMS to {} ({reader}): {}", sms.to, sms.text);
        person.map(|person| (person, poisoning))
    }

    async fn answer(self: Arc<Self>, person: Staff, sms: Sms, poisoning: Option<usize>, answer: Answer) {
        let Some(link) = console::link(&sms.text) else {
            tracing::debug!(to = sms.to, "the message has no link, nothing to answer");
            return;
        };
        self.clock.sleep(answer.after).await;
        if poisoning.is_some_and(|id| self.world.is_acknowledged_since(id, sms.at)) {
            return;
        }
        if let Err(error) = self.browser.acknowledge(link).await {
            tracing::warn!(%error, "the {} could not acknowledge", person.role.name());
            return;
        }
        tracing::info!(id = poisoning, "the {} acknowledged", person.role.name());
        let Some(id) = poisoning else { return };
        if self.world.acknowledge(id, &person.id, self.clock.now()) {
            self.help(id, &person, answer.travel).await;
        }
    }

    /// Drives there, opens the window, waits for fresh air and reports.
    async fn help(&self, id: usize, person: &Staff, travel: i64) {
        self.clock.sleep(travel).await;
        self.world.open_window(id, &person.id, self.clock.now());
        while !self.world.is_normal(id, self.clock.now()) {
            self.clock.sleep(LOOK_EVERY).await;
        }
        for try_number in 1..=RESOLVE_TRIES {
            self.clock.sleep(WRITE_UP).await;
            match self.resolve(id, person).await {
                Ok(()) => {
                    self.world.resolve(id, self.clock.now());
                    tracing::info!(id, "the {} resolved the incident", person.role.name());
                    return;
                }
                Err(error) => {
                    tracing::warn!(id, try_number, %error, "the {} could not resolve the incident", person.role.name());
                }
            }
        }
    }

    async fn resolve(&self, id: usize, person: &Staff) -> Result<(), HttpError> {
        let (kind, home) =
            self.world.of(id).ok_or_else(|| HttpError::Unexpected("there is no such poisoning".to_owned()))?;
        let deputised = || self.staff.iter().find_map(|colleague| self.logins.get(&colleague.id));
        let login = self.logins.get(&person.id).or_else(deputised);
        let login = login.ok_or_else(|| HttpError::Unexpected("nobody has a sign-in to the console".to_owned()))?;
        let (cause, cause_words): (_, &[&str]) = match kind {
            FaultKind::BlockedFlue => ("热水器烟道堵塞 blocked flue", &["flue", "烟道"]),
            FaultKind::FluelessHeater => ("直排式热水器 flueless heater", &["flueless", "heater", "直排", "热水器"]),
            FaultKind::RunningEngine => ("室内运行发动机 running engine", &["engine", "发动机", "other"]),
        };
        let outcome = Outcome {
            cause,
            cause_words,
            people_affected: "1",
            action: "已关闭热源，开窗通风，人员已撤离并送医检查 source off, window open, household out and examined",
        };
        self.browser.resolve(login, &home.sensor.id, &home.id, &outcome).await
    }
}

impl Answer {
    fn draw(role: Post, random: &mut Random) -> Answer {
        let (least, most) = match role {
            Post::DutyOfficer | Post::Deputy => REACTION_SECONDS,
            Post::Supervisor | Post::DistrictLead => REACTION_SECONDS_ABOVE,
        };
        let after = (random.between(least, most) * SECOND as f64) as i64;
        let (least, most) = TRAVEL_MINUTES;
        Answer { after, travel: (random.between(least, most) * MINUTE as f64) as i64 }
    }
}

/// Whether the duty officer looks at the phone: decided once per poisoning, and a phone that is not
/// looked at is not looked at for a while.
struct Attention {
    misses: f64,
    random: Random,
    decided: HashSet<usize>,
    away_until: i64,
}

const AWAY: i64 = 100 * SECOND;

impl Attention {
    fn new(misses: f64, random: Random) -> Attention {
        Attention { misses, random, decided: HashSet::new(), away_until: i64::MIN }
    }

    fn is_missed(&mut self, poisoning: Option<usize>, now: i64) -> bool {
        if let Some(id) = poisoning
            && self.decided.insert(id)
            && (self.decided.len() == 1 || self.random.chance(self.misses))
        {
            self.away_until = now + AWAY;
        }
        now < self.away_until
    }
}

#[cfg(test)]
mod tests;
