use store::ledger::Schema;

/// The tables of alerts.
pub const SCHEMA: Schema = Schema { owner: "alerts", migrations: &[] };
