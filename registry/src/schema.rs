use store::ledger::Schema;

/// The registry's tables.
pub const SCHEMA: Schema = Schema { owner: "registry", migrations: &[] };
