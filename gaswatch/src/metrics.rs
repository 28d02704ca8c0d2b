//! Prometheus text of what the process counts, and what is wrong by those numbers.

use std::fmt::Write as _;
use std::sync::Arc;

use broker::FrontDoor;
use store::{Journal, Readings};

/// Behind by more than this many journal entries is a problem worth showing.
const MOST_LAG: u64 = 1_000_000;

#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) journal: Journal,
    pub(crate) readings: Readings,
    pub(crate) ingest: Arc<ingest::Counters>,
    pub(crate) front_door: FrontDoor,
}

impl Metrics {
    pub(crate) fn text(&self) -> String {
        let journal = self.journal.stats();
        let ingest = &self.ingest;
        let mut text = String::new();
        let mut metric = |kind: &str, name: &str, help: &str, value: u64| {
            let _ =
                writeln!(text, "# HELP gaswatch_{name} {help}\n# TYPE gaswatch_{name} {kind}\ngaswatch_{name} {value}");
        };
        metric("counter", "journal_entries_total", "Entries made durable", journal.entries);
        metric("counter", "journal_commits_total", "Group commits", journal.commits);
        metric("gauge", "journal_position", "Last durable position", journal.durable.0);
        metric("gauge", "journal_queue", "Entries waiting for the next commit", journal.queued as u64);
        metric(
            "gauge",
            "journal_last_commit_microseconds",
            "Duration of the last group commit",
            journal.last_commit.as_micros() as u64,
        );
        metric("counter", "readings_total", "Readings handed to rules and store", ingest.readings.get());
        metric("counter", "repeats_total", "Readings recognised as sent again", ingest.repeats.get());
        metric("counter", "quarantined_total", "Messages put in quarantine", ingest.quarantined.get());
        metric("counter", "ingest_retries_total", "Failed tries to hand a batch on", ingest.retries.get());
        let readings = self.readings.stats();
        metric("gauge", "readings_in_memory", "Readings not in the files yet", readings.in_memory as u64);
        metric("gauge", "readings_sensors", "Sensors ever heard of", readings.sensors as u64);
        metric("counter", "readings_damaged_total", "Damaged chunks and files met", readings.damaged);
        metric("gauge", "ingest_lag", "Durable entries not taken yet", self.lag());
        for (name, help, value) in self.front_door.counters().named() {
            let (kind, suffix) = if name.ends_with("_now") { ("gauge", "") } else { ("counter", "_total") };
            metric(kind, &format!("mqtt_{name}{suffix}"), help.trim(), value);
        }
        text
    }

    /// What an operator must know, in words; empty when all is well.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.lag() > MOST_LAG {
            problems.push(format!("ingest is {} messages behind the journal", self.lag()));
        }
        if self.readings.is_stalled() {
            problems.push("readings cannot be written to disk; they are kept in the journal".to_owned());
        }
        problems
    }

    fn lag(&self) -> u64 {
        self.journal.durable().0.saturating_sub(self.ingest.position.get())
    }
}
