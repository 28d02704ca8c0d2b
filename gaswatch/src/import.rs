//! The district file: a small district written by hand, in TOML. See `docs/district-file.md`.

use std::collections::{HashMap, HashSet};
use std::fmt;

use alerts::plan::{Post, Shift, Step, put_plan, put_shifts};
use anyhow::{Context as _, bail};
use model::rights::Role;
use model::time::SECOND;
use model::{DeviceId, Level, Stamp};
use registry::credentials::{Credential, put_credentials};
use registry::people::{Account, Language, Person, StaffRole, put_people};
use registry::places::{Area, Premises, PremisesClass, put_areas, put_premises};
use registry::sensors::{Sensor, put_sensors};
use serde::Deserialize;

use crate::app::Book;

/// What a district file may hold; every list may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DistrictFile {
    area: Vec<AreaRow>,
    premises: Vec<PremisesRow>,
    sensor: Vec<SensorRow>,
    person: Vec<PersonRow>,
    account: Vec<AccountRow>,
    shift: Vec<ShiftRow>,
    step: Vec<StepRow>,
    integration: Vec<IntegrationRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaRow {
    id: String,
    name_zh: String,
    name_en: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PremisesRow {
    id: String,
    area: String,
    #[serde(default = "home")]
    class: String,
    address: String,
    #[serde(default)]
    building: String,
    #[serde(default)]
    contact_name: String,
    #[serde(default)]
    contact_phone: String,
    #[serde(default)]
    vulnerable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SensorRow {
    id: DeviceId,
    premises: Option<String>,
    #[serde(default)]
    room: String,
    #[serde(default)]
    model: String,
    #[serde(default = "one_minute")]
    interval_s: i64,
    #[serde(default = "thousand_ppm")]
    range_ppm: f32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonRow {
    id: String,
    name: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    email: String,
    #[serde(default = "zh")]
    language: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountRow {
    login: String,
    person: String,
    role: String,
    password: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShiftRow {
    post: String,
    person: String,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepRow {
    level: String,
    after_s: i64,
    posts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntegrationRow {
    id: DeviceId,
    filters: Vec<String>,
}

fn home() -> String {
    PremisesClass::Home.as_str().to_owned()
}

fn zh() -> String {
    Language::Zh.as_str().to_owned()
}

fn one_minute() -> i64 {
    60
}

fn thousand_ppm() -> f32 {
    1_000.0
}

/// How much was taken.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counts {
    areas: usize,
    premises: usize,
    sensors: usize,
    people: usize,
    accounts: usize,
    shifts: usize,
    steps: usize,
    integrations: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "imported {} areas, {} premises, {} sensors, {} people, {} accounts, {} shifts, {} plan steps, {} integrations",
            self.areas,
            self.premises,
            self.sensors,
            self.people,
            self.accounts,
            self.shifts,
            self.steps,
            self.integrations
        )
    }
}

impl DistrictFile {
    /// # Errors
    /// With line and column of what cannot be read.
    pub(crate) fn parse(text: &str) -> Result<DistrictFile, toml::de::Error> {
        toml::from_str(text)
    }
}

/// Puts everything of the file into the ledger: what has the same id is replaced, the rest stays.
/// Areas, premises, sensors, people, shifts and plan go in together or not at all; accounts and
/// credentials follow.
pub(crate) async fn import(book: &Book, file: &DistrictFile) -> anyhow::Result<Counts> {
    let areas: Vec<Area> = file.area.iter().map(AreaRow::read).collect();
    let premises = read_all("premises", &file.premises, |row| row.id.clone(), PremisesRow::read)?;
    let sensors: Vec<Sensor> = file.sensor.iter().map(SensorRow::read).collect();
    let people = read_all("person", &file.person, |row| row.id.clone(), PersonRow::read)?;
    let accounts = read_all("account", &file.account, |row| row.login.clone(), AccountRow::read)?;
    let shifts = read_all("shift", &file.shift, |row| format!("of {}", row.person), ShiftRow::read)?;
    let steps = read_steps(&file.step)?;

    check_entries(book, file)?;
    for shift in &shifts {
        let is_known = people.iter().any(|person| person.id == shift.person);
        if !is_known && book.registry.person(&shift.person).await?.is_none() {
            bail!("shift of {}: there is no such person, so an alarm would reach nobody", shift.person);
        }
    }

    let mut tx = book.ledger.begin().await?;
    put_areas(&mut tx, &areas).await?;
    put_premises(&mut tx, &premises).await?;
    put_sensors(&mut tx, &sensors).await?;
    put_people(&mut tx, &people).await?;
    put_shifts(&mut tx, &shifts).await?;
    if !steps.is_empty() {
        put_plan(&mut tx, &steps).await?;
    }
    tx.commit().await?;

    // what already lets somebody in is left alone: passwords that were changed, secrets that devices
    // hold, credentials that were revoked
    let known: HashSet<String> = book.registry.accounts().await?.into_iter().map(|account| account.login).collect();
    for (account, row) in accounts.iter().zip(&file.account).filter(|(account, _)| !known.contains(&account.login)) {
        book.registry.put_account(account, &row.password).await.with_context(|| format!("account {}", row.login))?;
    }
    let known: HashMap<DeviceId, Credential> =
        book.credentials.list().into_iter().map(|credential| (credential.id.clone(), credential)).collect();
    let fresh: Vec<DeviceId> =
        sensors.iter().map(|sensor| sensor.id.clone()).filter(|id| !known.contains_key(id)).collect();
    book.credentials.enrol_sensors(&fresh).await?;
    for row in &file.integration {
        match known.get(&row.id) {
            None => {
                book.credentials.enrol(&row.id, Role::Integration, &row.filters).await?;
            }
            Some(credential) => {
                let changed = Credential { filters: row.filters.clone(), ..credential.clone() };
                let mut tx = book.ledger.begin().await?;
                put_credentials(&mut tx, &[changed]).await?;
                tx.commit().await?;
            }
        }
    }
    book.credentials.refresh().await?;
    book.registry.reload().await?;
    Ok(Counts {
        areas: areas.len(),
        premises: premises.len(),
        sensors: sensors.len(),
        people: people.len(),
        accounts: accounts.len(),
        shifts: shifts.len(),
        steps: steps.len(),
        integrations: file.integration.len(),
    })
}

/// What is written after the main transaction must be right before it, so that a wrong row really
/// imports nothing.
fn check_entries(book: &Book, file: &DistrictFile) -> anyhow::Result<()> {
    for row in &file.account {
        if row.password.chars().count() < SHORTEST_PASSWORD {
            bail!("account {}: the password needs at least {SHORTEST_PASSWORD} characters", row.login);
        }
    }
    let roles: HashMap<DeviceId, Role> =
        book.credentials.list().into_iter().map(|credential| (credential.id, credential.role)).collect();
    let sensors = file.sensor.iter().map(|row| (&row.id, Role::Sensor));
    let integrations = file.integration.iter().map(|row| (&row.id, Role::Integration));
    let mut seen: HashMap<&DeviceId, Role> = HashMap::new();
    for (id, role) in sensors.chain(integrations) {
        if let Some(other) = roles.get(id).filter(|known| **known != role) {
            bail!("{id} is enrolled as {}; it cannot be {} too", other.as_str(), role.as_str());
        }
        if seen.insert(id, role).is_some() {
            bail!("{id} stands in the file twice");
        }
    }
    for row in &file.integration {
        for filter in &row.filters {
            model::topic::check_filter(filter).with_context(|| format!("integration {}: filter {filter:?}", row.id))?;
        }
    }
    if let Some(row) = file.step.iter().find(|row| !(0..=MOST_WAIT_S).contains(&row.after_s)) {
        bail!("step of {}: after_s = {} is not between 0 and {MOST_WAIT_S}", row.level, row.after_s);
    }
    if let Some(row) = file.sensor.iter().find(|row| !(1..=MOST_INTERVAL_S).contains(&row.interval_s)) {
        bail!("sensor {}: interval_s = {} is not between 1 and {MOST_INTERVAL_S}", row.id, row.interval_s);
    }
    Ok(())
}

/// As the registry asks.
const SHORTEST_PASSWORD: usize = 10;
/// A step later than an hour is a slip of the pen.
const MOST_WAIT_S: i64 = 3_600;
/// No sensor reports less often than every two days (25 h is the longest the standards know).
const MOST_INTERVAL_S: i64 = 2 * 24 * 3_600;

/// Reads each row, naming the one that is wrong.
fn read_all<Row, Record>(
    what: &str,
    rows: &[Row],
    name: impl Fn(&Row) -> String,
    read: impl Fn(&Row) -> anyhow::Result<Record>,
) -> anyhow::Result<Vec<Record>> {
    rows.iter().map(|row| read(row).with_context(|| format!("{what} {}", name(row)))).collect()
}

impl AreaRow {
    fn read(&self) -> Area {
        Area { id: self.id.clone(), name_zh: self.name_zh.clone(), name_en: self.name_en.clone() }
    }
}

impl PremisesRow {
    fn read(&self) -> anyhow::Result<Premises> {
        let class = PremisesClass::parse(&self.class)
            .with_context(|| unknown("class", &self.class, "home, restaurant, other"))?;
        Ok(Premises {
            id: self.id.clone(),
            area: self.area.clone(),
            class,
            address: self.address.clone(),
            building: self.building.clone(),
            contact_name: self.contact_name.clone(),
            contact_phone: self.contact_phone.clone(),
            vulnerable: self.vulnerable,
        })
    }
}

impl SensorRow {
    fn read(&self) -> Sensor {
        Sensor {
            id: self.id.clone(),
            premises: self.premises.clone(),
            room: self.room.clone(),
            model: self.model.clone(),
            interval_ms: self.interval_s.saturating_mul(SECOND),
            range_ppm: self.range_ppm,
        }
    }
}

impl PersonRow {
    fn read(&self) -> anyhow::Result<Person> {
        let language =
            Language::parse(&self.language).with_context(|| unknown("language", &self.language, "zh, en"))?;
        Ok(Person {
            id: self.id.clone(),
            name: self.name.clone(),
            phone: self.phone.clone(),
            email: self.email.clone(),
            language,
        })
    }
}

impl AccountRow {
    fn read(&self) -> anyhow::Result<Account> {
        let roles = "administrator, supervisor, duty_officer, inspector, grid_worker, reviewer, auditor";
        let role = StaffRole::parse(&self.role).with_context(|| unknown("role", &self.role, roles))?;
        Ok(Account { login: self.login.clone(), person: self.person.clone(), role })
    }
}

impl ShiftRow {
    fn read(&self) -> anyhow::Result<Shift> {
        let shift = Shift {
            post: read_post(&self.post)?,
            person: self.person.clone(),
            from: read_time(self.from.as_deref(), Stamp::EARLIEST)?,
            to: read_time(self.to.as_deref(), Stamp::LATEST)?,
        };
        if shift.from >= shift.to {
            bail!("it ends before it begins");
        }
        Ok(shift)
    }
}

fn read_time(text: Option<&str>, default: Stamp) -> anyhow::Result<Stamp> {
    match text {
        None => Ok(default),
        Some(text) => Stamp::parse_rfc3339(text)
            .with_context(|| format!("{text:?} is no time; write for example 2026-11-24T08:00:00+08:00")),
    }
}

fn read_post(text: &str) -> anyhow::Result<Post> {
    Post::parse(text).with_context(|| unknown("post", text, "duty_officer, deputy, supervisor, district_lead"))
}

/// Steps are numbered by their place among those of their level.
fn read_steps(rows: &[StepRow]) -> anyhow::Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for row in rows {
        let level = Level::parse(&row.level).with_context(|| unknown("level", &row.level, "danger, urgent"))?;
        let number = steps.iter().filter(|step| step.level == level).count() as i64;
        let posts = row.posts.iter().map(|post| read_post(post)).collect::<anyhow::Result<Vec<Post>>>()?;
        steps.push(Step { level, number, after_ms: row.after_s.saturating_mul(SECOND), posts });
    }
    Ok(steps)
}

fn unknown(what: &str, found: &str, known: &str) -> String {
    format!("unknown {what} {found:?}; known are {known}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FILE: &str = r#"
        [[area]]
        id = "shijing"
        name_zh = "石井街"
        name_en = "Shijing"

        [[premises]]
        id = "P1"
        area = "shijing"
        address = "石井街潭村西街7号302"
        building = "B7"

        [[sensor]]
        id = "S1"
        premises = "P1"
        room = "浴室"

        [[person]]
        id = "li"
        name = "李值班"
        phone = "13800000001"

        [[account]]
        login = "li"
        person = "li"
        role = "duty_officer"
        password = "correct horse battery"

        [[shift]]
        post = "duty_officer"
        person = "li"

        [[step]]
        level = "danger"
        after_s = 0
        posts = ["duty_officer"]

        [[integration]]
        id = "archive"
        filters = ["gas/v1/#"]
    "#;

    async fn book() -> (tempfile::TempDir, Book) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data: dir.path().join("data"), ..Config::default() };
        (dir, Book::open(&config).await.unwrap())
    }

    #[tokio::test]
    async fn a_district_is_imported_and_imported_again_without_change() {
        let (_dir, book) = book().await;
        let file = DistrictFile::parse(FILE).unwrap();
        let first = import(&book, &file).await.unwrap();
        let secret = book.credentials.secret(&DeviceId::new("S1").unwrap()).unwrap();
        assert_eq!(import(&book, &file).await.unwrap(), first);
        assert_eq!(book.credentials.secret(&DeviceId::new("S1").unwrap()).unwrap(), secret);
        let placed = book.registry.placed(&DeviceId::new("S1").unwrap()).unwrap();
        assert_eq!(placed.address.as_deref(), Some("石井街潭村西街7号302"));
        assert!(book.credentials.authenticate("S1", secret.as_bytes()).is_ok());
    }

    #[tokio::test]
    async fn importing_again_lets_nobody_in_or_out() {
        let (_dir, book) = book().await;
        let file = DistrictFile::parse(FILE).unwrap();
        import(&book, &file).await.unwrap();
        let sensor = DeviceId::new("S1").unwrap();
        let secret = book.credentials.secret(&sensor).unwrap();
        book.credentials.revoke(&sensor).await.unwrap();
        let account = book.registry.accounts().await.unwrap().remove(0);
        book.registry.put_account(&account, "changed since then").await.unwrap();
        import(&book, &file).await.unwrap();
        assert!(book.credentials.authenticate("S1", secret.as_bytes()).is_err(), "still revoked");
        let now = Stamp(1_780_000_000_000);
        assert!(book.registry.sign_in("li", "changed since then", now).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_wrong_in_any_list_imports_nothing() {
        let (_dir, book) = book().await;
        for (right, wrong, named) in [
            ("correct horse battery", "short", "password"),
            ("gas/v1/#", "gas/#/x", "archive"),
            ("id = \"archive\"", "id = \"S1\"", "twice"),
            ("after_s = 0", "after_s = 99999999999", "after_s"),
        ] {
            let file = DistrictFile::parse(&FILE.replace(right, wrong)).unwrap();
            let error = import(&book, &file).await.unwrap_err();
            assert!(format!("{error:#}").contains(named), "{error:#}");
            assert!(book.registry.areas().await.unwrap().is_empty(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_sensor_does_not_become_an_integration() {
        let (_dir, book) = book().await;
        import(&book, &DistrictFile::parse(FILE).unwrap()).await.unwrap();
        let wrong = "[[integration]]\nid = \"S1\"\nfilters = [\"gas/v1/#\"]";
        let error = import(&book, &DistrictFile::parse(wrong).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("sensor"), "{error:#}");
    }

    #[tokio::test]
    async fn a_shift_of_nobody_is_refused() {
        let (_dir, book) = book().await;
        let wrong = FILE.replace(
            "post = \"duty_officer\"\n        person = \"li\"",
            "post = \"duty_officer\"\n        person = \"lee\"",
        );
        let error = import(&book, &DistrictFile::parse(&wrong).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("lee"), "{error:#}");
    }

    #[tokio::test]
    async fn one_wrong_row_imports_nothing_and_is_named() {
        let (_dir, book) = book().await;
        let wrong = FILE.replace("area = \"shijing\"\n        address", "area = \"nowhere\"\n        address");
        let error = import(&book, &DistrictFile::parse(&wrong).unwrap()).await.unwrap_err();
        assert!(format!("{error:#}").contains("nowhere"), "{error:#}");
        assert_eq!(book.registry.premises_count().await.unwrap(), 0);
        assert!(book.registry.areas().await.unwrap().is_empty());
    }

    #[test]
    fn words_that_mean_nothing_are_refused_with_those_that_do() {
        let file = DistrictFile::parse(&FILE.replace("post = \"duty_officer\"", "post = \"king\"")).unwrap();
        let error = read_all("shift", &file.shift, |row| row.person.clone(), ShiftRow::read).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "shift li: unknown post \"king\"; known are duty_officer, deputy, supervisor, district_lead"
        );
    }
}
