use store::ledger::Schema;

/// The registry's tables.
pub const SCHEMA: Schema = Schema { owner: "registry", migrations: &[TABLES] };

/// `registry_version` has one row per group of tables that processes keep in memory. Whoever
/// changes the group raises its number first, which also locks the row: changes of a group commit
/// one after the other, in the order of their numbers, on PostgreSQL too.
const TABLES: &[&str] = &[
    "CREATE TABLE registry_version (name TEXT PRIMARY KEY, changed BIGINT NOT NULL)",
    "INSERT INTO registry_version (name, changed) VALUES ('places', 0), ('credentials', 0)",
    "CREATE TABLE areas (id TEXT PRIMARY KEY, name_zh TEXT NOT NULL, name_en TEXT NOT NULL)",
    "CREATE TABLE premises (
        id TEXT PRIMARY KEY,
        area TEXT NOT NULL REFERENCES areas (id),
        class TEXT NOT NULL,
        address TEXT NOT NULL,
        building TEXT NOT NULL,
        contact_name TEXT NOT NULL,
        contact_phone TEXT NOT NULL,
        vulnerable BIGINT NOT NULL
    )",
    "CREATE INDEX premises_by_area ON premises (area)",
    "CREATE TABLE sensors (
        id TEXT PRIMARY KEY,
        premises TEXT REFERENCES premises (id),
        room TEXT NOT NULL,
        model TEXT NOT NULL,
        interval_ms BIGINT NOT NULL,
        range_ppm DOUBLE PRECISION NOT NULL
    )",
    "CREATE INDEX sensors_by_premises ON sensors (premises)",
    // Neither of the next two refers to sensors: what is not registered is heard all the same.
    "CREATE TABLE sensor_heard (
        sensor TEXT PRIMARY KEY,
        last_seen BIGINT NOT NULL,
        battery_pct DOUBLE PRECISION,
        signal_dbm DOUBLE PRECISION,
        state TEXT,
        ahead_ms BIGINT
    )",
    "CREATE TABLE presence (
        device TEXT PRIMARY KEY,
        at BIGINT NOT NULL,
        online BIGINT NOT NULL,
        detail TEXT NOT NULL
    )",
    "CREATE TABLE people (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        phone TEXT NOT NULL,
        email TEXT NOT NULL,
        language TEXT NOT NULL
    )",
    "CREATE TABLE accounts (
        login TEXT PRIMARY KEY,
        person TEXT NOT NULL REFERENCES people (id),
        role TEXT NOT NULL,
        password TEXT NOT NULL
    )",
    "CREATE TABLE sessions (
        token_sha256 TEXT PRIMARY KEY,
        login TEXT NOT NULL REFERENCES accounts (login),
        csrf TEXT NOT NULL,
        expires BIGINT NOT NULL
    )",
    "CREATE INDEX sessions_by_expiry ON sessions (expires)",
    "CREATE TABLE credentials (
        id TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        key_version BIGINT NOT NULL,
        filters TEXT NOT NULL,
        revoked BIGINT NOT NULL,
        changed BIGINT NOT NULL
    )",
    "CREATE INDEX credentials_by_change ON credentials (changed)",
];
