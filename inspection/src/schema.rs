use store::ledger::Schema;

/// The tables of inspection.
pub const SCHEMA: Schema = Schema { owner: "inspection", migrations: &[TABLES] };

const TABLES: &[&str] = &[
    "CREATE TABLE visits (
        id TEXT PRIMARY KEY,
        premises TEXT NOT NULL,
        inspector TEXT NOT NULL,
        at BIGINT NOT NULL,
        outcome TEXT NOT NULL,
        note TEXT NOT NULL
    )",
    "CREATE INDEX visits_by_premises ON visits (premises, at)",
    // Has all that coverage reads.
    "CREATE INDEX visits_by_time ON visits (at, premises, outcome)",
];
