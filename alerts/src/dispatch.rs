//! Sending what the outbox holds, until each message is sent, refused or given up.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::Stamp;
use model::time::{HOUR, SECOND};
use sqlx::Row;
use sqlx::any::AnyRow;
use tokio::sync::Notify;

use crate::AlertError;
use crate::engine::Alerts;
use crate::links::{self, AckLink};
use crate::notify::{Outcome, Outgoing};
use crate::outbox::Channel;
use crate::rows;

/// Pauses between attempts, seconds; the last one repeats.
const PAUSES: [i64; 6] = [1, 2, 5, 10, 30, 60];
/// A danger that could not be told for so long has been told by later steps, or cannot be told.
const GIVE_UP_AFTER: i64 = HOUR;
/// Attempts under way at once. A bound on memory, not a throttle: messages that were never tried
/// go first, and a hanging provider holds none for longer than its timeout.
const SMS_AT_ONCE: usize = 64;
const EMAIL_AT_ONCE: usize = 16;
/// How long to wait before trying again after the ledger failed. Real time.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// An attempt that is over.
struct Attempt {
    id: i64,
    outcome: Outcome,
}

/// Steps whose notification failed for good: incident, round, step.
type FailedSteps = Vec<(i64, i64, i64)>;

impl Alerts {
    /// Sends until `stopping`, then finishes the attempts under way.
    pub(crate) async fn run_outbox(&self, stopping: &Notify) {
        let mut under_way = FuturesUnordered::new();
        let mut ids: HashSet<(Channel, i64)> = HashSet::new();
        let mut over: Vec<(Channel, Attempt)> = Vec::new();
        let mut is_stopping = false;
        loop {
            if !over.is_empty() {
                match self.record(&over).await {
                    Ok(()) => {
                        for (channel, attempt) in over.drain(..) {
                            ids.remove(&(channel, attempt.id));
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot note what was sent, trying again");
                        tokio::time::sleep(TRY_AGAIN).await;
                        continue;
                    }
                }
            }
            if is_stopping && under_way.is_empty() {
                return;
            }
            let mut next = None;
            if !is_stopping {
                match self.waiting(&ids).await {
                    Ok((messages, due)) => {
                        next = due;
                        for message in messages {
                            ids.insert((message.channel, message.id));
                            under_way.push(async move {
                                let outcome = self.providers().send(&message).await;
                                (message.channel, Attempt { id: message.id, outcome })
                            });
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot read the outbox, trying again");
                        next = Some(self.clock().now() + SECOND);
                    }
                }
            }
            tokio::select! {
                Some(attempt) = under_way.next() => {
                    over.push(attempt);
                    // whatever else has ended meanwhile is noted in the same transaction
                    while let Some(Some(attempt)) = futures_util::FutureExt::now_or_never(under_way.next()) {
                        over.push(attempt);
                    }
                }
                () = self.outbox_changed().notified(), if !is_stopping => {}
                () = sleep_until(self, next), if !is_stopping && next.is_some() => {}
                () = stopping.notified(), if !is_stopping => is_stopping = true,
            }
        }
    }

    /// Messages that are due and not under way, and when the next one will be.
    async fn waiting(&self, under_way: &HashSet<(Channel, i64)>) -> Result<(Vec<Outgoing>, Option<Stamp>), AlertError> {
        let now = self.clock().now();
        let mut messages = Vec::new();
        for (channel, most) in [(Channel::Sms, SMS_AT_ONCE), (Channel::Email, EMAIL_AT_ONCE)] {
            let busy = under_way.iter().filter(|(other, _)| *other == channel).count();
            let free = most.saturating_sub(busy);
            if free == 0 {
                continue;
            }
            let rows = sqlx::query(
                "SELECT id, incident, person, channel, address, subject, body, decided FROM outbox
                 WHERE delivery = 'waiting' AND channel = $1 AND due <= $2 ORDER BY attempts, id LIMIT $3",
            )
            .bind(channel.as_str())
            .bind(now.0)
            .bind((busy + free) as i64)
            .fetch_all(self.reader())
            .await?;
            let all = rows.iter().map(|row| self.outgoing(row, channel)).collect::<Result<Vec<_>, _>>()?;
            messages.extend(all.into_iter().filter(|m| !under_way.contains(&(channel, m.id))).take(free));
        }
        let next = sqlx::query("SELECT MIN(due) FROM outbox WHERE delivery = 'waiting' AND due > $1")
            .bind(now.0)
            .fetch_one(self.reader())
            .await?;
        Ok((messages, next.try_get::<Option<i64>, _>(0)?.map(Stamp)))
    }

    fn outgoing(&self, row: &AnyRow, channel: Channel) -> Result<Outgoing, AlertError> {
        let decided = Stamp(row.try_get("decided")?);
        let incident = row.try_get("incident")?;
        let link = AckLink { incident, person: row.try_get("person")?, expires: decided + links::GOOD_FOR };
        let link = format!("{}/a/{}", self.settings().public_url, link.token(&self.settings().link_key));
        Ok(Outgoing {
            id: row.try_get("id")?,
            incident,
            channel,
            address: row.try_get("address")?,
            subject: row.try_get("subject")?,
            text: row.try_get::<String, _>("body")?.replace(rows::LINK, &link),
            decided,
        })
    }

    /// Notes what attempts came to, and takes the next step where one has failed for good.
    async fn record(&self, over: &[(Channel, Attempt)]) -> Result<(), AlertError> {
        let now = self.clock().now();
        let mut tx = self.registry().ledger().begin().await?;
        let mut changed: Vec<i64> = Vec::new();
        let mut failed = FailedSteps::new();
        for (_, Attempt { id, outcome }) in over {
            let row = sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1 WHERE id = $1
                 RETURNING incident, round, step, attempts, decided, delivery",
            )
            .bind(*id)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else { continue };
            let (incident, attempts): (i64, i64) = (row.try_get(0)?, row.try_get(3)?);
            changed.push(incident);
            let is_old = now.since(Stamp(row.try_get(4)?)) >= GIVE_UP_AFTER;
            let is_waiting = row.try_get::<String, _>(5)? == "waiting";
            // what came back meanwhile, a receipt or an answer, is newer than this attempt's outcome
            let (statement, error) = match outcome {
                Outcome::Sent => (
                    "UPDATE outbox SET delivery = CASE WHEN delivery IN ('waiting', 'cancelled') THEN 'sent'
                        ELSE delivery END, sent = COALESCE(sent, $2), error = $3 WHERE id = $1",
                    None,
                ),
                Outcome::Queued(words) => (
                    "UPDATE outbox SET delivery = CASE WHEN delivery IN ('waiting', 'cancelled') THEN 'queued'
                        ELSE delivery END, due = $2, error = $3 WHERE id = $1",
                    Some(words.clone()),
                ),
                Outcome::Retry(words) if !is_old => (
                    "UPDATE outbox SET due = $2, error = $3 WHERE id = $1 AND delivery = 'waiting'",
                    Some(words.clone()),
                ),
                Outcome::Retry(words) | Outcome::Refused(words) => {
                    if is_waiting {
                        failed.push((incident, row.try_get(1)?, row.try_get(2)?));
                    }
                    (
                        "UPDATE outbox SET delivery = 'failed', due = $2, error = $3 WHERE id = $1
                         AND delivery = 'waiting'",
                        Some(words.clone()),
                    )
                }
            };
            let at = if matches!(outcome, Outcome::Retry(_)) { now + pause(attempts) } else { now };
            sqlx::query(statement).bind(*id).bind(at.0).bind(error).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        changed.dedup();
        for incident in changed {
            self.tell(incident);
        }
        failed.dedup();
        for (incident, round, step) in failed {
            tracing::warn!(incident, step, "a notification failed for good");
            if let Err(error) = self.step_failed(incident, round, step).await {
                // the step's own timer will do it
                tracing::error!(%error, incident, "cannot take the next step early");
            }
        }
        Ok(())
    }
}

async fn sleep_until(alerts: &Alerts, due: Option<Stamp>) {
    if let Some(due) = due {
        alerts.clock().sleep_until(due).await;
    }
}

fn pause(attempts: i64) -> i64 {
    let index = usize::try_from(attempts - 1).unwrap_or(0).min(PAUSES.len() - 1);
    PAUSES[index] * SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let seconds: Vec<i64> = (1..=8).map(|attempts| pause(attempts) / SECOND).collect();
        assert_eq!(seconds, [1, 2, 5, 10, 30, 60, 60, 60]);
    }
}
