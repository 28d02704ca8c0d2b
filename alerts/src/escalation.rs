//! Taking escalation steps: who is told, and when the next step is due.

use model::Stamp;
use registry::people::Person;
use sqlx::{AnyPool, Row};
use store::Tx;

use crate::AlertError;
use crate::engine::Settings;
use crate::links::{self, AckLink};
use crate::message::{self, Message};
use crate::notify::Providers;
use crate::outbox::Channel;
use crate::plan::{Post, REPEAT_EVERY, Roster, Step};
use crate::query::EventKind;
use crate::rows;
use crate::state::{Change, Live, NewEvent, Next};

/// What a step needs besides the incident.
pub(crate) struct Means<'a> {
    pub(crate) roster: &'a Roster,
    pub(crate) providers: &'a Providers,
    pub(crate) settings: &'a Settings,
    pub(crate) now: Stamp,
}

impl Change<'_> {
    /// Takes the due step of each incident in `steps`, and writes its notifications.
    pub(crate) async fn take_steps(&mut self, tx: &mut Tx, means: &Means<'_>) -> Result<(), AlertError> {
        for id in std::mem::take(&mut self.steps) {
            let Some(live) = self.live_mut(id) else { continue };
            let mut live = live.clone();
            let events = take_step(tx, &mut live, means).await?;
            if let Some(kept) = self.live_mut(id) {
                kept.next = live.next;
            }
            self.events.extend(events);
        }
        Ok(())
    }
}

/// Takes the due step. One that finds nobody is followed by the next at once, down to everybody
/// there is: an alarm must not reach nobody.
async fn take_step(tx: &mut Tx, live: &mut Live, means: &Means<'_>) -> Result<Vec<NewEvent>, AlertError> {
    let plan = means.roster.plan(live.incident.level);
    let mut events = Vec::new();
    let mut note = |kind: EventKind, detail: String| {
        let incident = live.incident.id;
        events.push(NewEvent { incident, at: means.now, kind, by: String::new(), detail, key: None });
    };
    let Some(Next { mut step, due }) = live.next else { return Ok(events) };
    let told = loop {
        let planned = usize::try_from(step).ok().and_then(|number| plan.get(number));
        let mut people = match planned {
            Some(planned) => reachable(&means.roster.holding(&planned.posts), means.providers),
            None => reachable(&means.roster.holding(&all_posts(&plan)), means.providers),
        };
        if planned.is_none() && (people.is_empty() || has_reached_nobody(tx, live).await?) {
            tracing::error!(incident = live.incident.id, "nobody on shift can be reached, telling everybody there is");
            people = reachable(&means.roster.everybody(), means.providers);
        }
        if !people.is_empty() {
            break people;
        }
        note(EventKind::NobodyToTell, format!("step={step}"));
        if planned.is_none() {
            tracing::error!(incident = live.incident.id, "there is NOBODY to tell about this danger");
            break people;
        }
        step += 1;
    };
    if !told.is_empty() {
        let names: Vec<&str> = told.iter().map(|(person, _)| person.name.as_str()).collect();
        note(EventKind::StepTaken, format!("step={step} people={}", names.join(", ")));
        write(tx, live, step, due, &told, means).await?;
    }
    live.next = Some(Next { step: step + 1, due: next_due(&plan, live.round_started, step + 1, means.now) });
    Ok(events)
}

/// Steps of the plan come at their time; after the last one, everyone is told again regularly.
fn next_due(plan: &[&Step], round_started: Stamp, step: i64, now: Stamp) -> Stamp {
    match usize::try_from(step).ok().and_then(|number| plan.get(number)) {
        Some(planned) => round_started + planned.after_ms,
        None => now + REPEAT_EVERY,
    }
}

fn all_posts(plan: &[&Step]) -> Vec<Post> {
    plan.iter().flat_map(|step| step.posts.iter().copied()).collect()
}

/// The people who have an address for a configured provider, with those channels.
fn reachable<'p>(people: &[&'p Person], providers: &Providers) -> Vec<(&'p Person, Vec<Channel>)> {
    let ways = |person: &Person| -> Vec<Channel> {
        Channel::ALL
            .into_iter()
            .filter(|channel| providers.carries(*channel) && !address(person, *channel).is_empty())
            .collect()
    };
    people.iter().map(|person| (*person, ways(person))).filter(|(_, ways)| !ways.is_empty()).collect()
}

fn address(person: &Person, channel: Channel) -> &str {
    match channel {
        Channel::Sms => person.phone.trim(),
        Channel::Email => person.email.trim(),
    }
}

/// Whether every notification of this round has failed for good.
async fn has_reached_nobody(tx: &mut Tx, live: &Live) -> Result<bool, AlertError> {
    let row = sqlx::query(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN delivery = 'failed' THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM outbox WHERE incident = $1 AND round = $2",
    )
    .bind(live.incident.id)
    .bind(live.round)
    .fetch_one(&mut **tx)
    .await?;
    let (all, failed): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(all > 0 && all == failed)
}

/// Whether what a step sent has failed for good: every text message, or, where it sent none, all.
pub(crate) async fn has_step_failed(pool: &AnyPool, incident: i64, round: i64, step: i64) -> Result<bool, AlertError> {
    let rows = sqlx::query("SELECT channel, delivery FROM outbox WHERE incident = $1 AND round = $2 AND step = $3")
        .bind(incident)
        .bind(round)
        .bind(step)
        .fetch_all(pool)
        .await?;
    let mut sent = Vec::new();
    for row in &rows {
        sent.push((row.try_get::<String, _>(0)? == Channel::Sms.as_str(), row.try_get::<String, _>(1)? == "failed"));
    }
    let has_sms = sent.iter().any(|(is_sms, _)| *is_sms);
    Ok(!sent.is_empty() && sent.iter().filter(|(is_sms, _)| *is_sms == has_sms).all(|(_, has_failed)| *has_failed))
}

async fn write(
    tx: &mut Tx,
    live: &Live,
    step: i64,
    due: Stamp,
    told: &[(&Person, Vec<Channel>)],
    means: &Means<'_>,
) -> Result<(), AlertError> {
    let mut id = rows::next_id(tx, "SELECT MAX(id) FROM outbox").await?;
    for (person, channels) in told {
        let link =
            AckLink { incident: live.incident.id, person: person.id.clone(), expires: means.now + links::GOOD_FOR };
        let link = format!("{}/a/{}", means.settings.public_url, link.token(&means.settings.link_key));
        let message = Message {
            incident: &live.incident,
            language: person.language,
            time_zone: &means.settings.time_zone,
            is_delayed: means.now.since(due) > message::DELAYED_AFTER,
        };
        for channel in channels {
            let (subject, body) = match channel {
                Channel::Sms => (String::new(), message.sms(&link).replace(&link, rows::LINK)),
                Channel::Email => (message.subject(), message.body(rows::LINK)),
            };
            let (incident, round) = (live.incident.id, live.round);
            sqlx::query(
                "INSERT INTO outbox (id, idempotency_key, incident, round, step, person, name, channel, address,
                    subject, body, delivery, attempts, decided, due)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', 0, $12, $12)
                 ON CONFLICT (idempotency_key) DO NOTHING",
            )
            .bind(id)
            .bind(format!("{incident}/{round}/{step}/{}/{}", person.id, channel.as_str()))
            .bind(incident)
            .bind(round)
            .bind(step)
            .bind(person.id.as_str())
            .bind(person.name.as_str())
            .bind(channel.as_str())
            .bind(address(person, *channel))
            .bind(subject)
            .bind(body)
            .bind(means.now.0)
            .execute(&mut **tx)
            .await?;
            id += 1;
        }
    }
    Ok(())
}
