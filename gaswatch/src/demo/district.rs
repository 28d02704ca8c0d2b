//! Puts the simulated district into the books, as an operator's import would.

use std::collections::HashMap;

use alerts::plan::{Post, Shift, put_shifts};
use inspection::{Inspection, Outcome, Visit};
use model::Stamp;
use model::time::{DAY, HOUR};
use registry::people::{Account, Language, Person, StaffRole, put_people};
use registry::places::{Area, Premises, PremisesClass, put_areas, put_premises};
use registry::sensors::{Sensor, put_sensors};
use simulator::district::{Home, Language as SimulatedLanguage, Post as SimulatedPost, Staff};
use simulator::{District, Login};

use crate::app::Book;
use crate::commands::new_password;

/// Sign-in name of the person at the screen.
pub(crate) const LOGIN: &str = "demo";

/// What the simulation needs to act as the district's sensors and staff.
pub(crate) struct Keys {
    /// MQTT passwords by sensor id.
    pub(crate) secrets: HashMap<String, String>,
    /// Console sign-ins by person id.
    pub(crate) logins: HashMap<String, Login>,
}

/// Puts everything in, with a sign-in for the person at the screen and one for each of the staff.
pub(crate) async fn put(book: &Book, district: &District, password: &str, now: Stamp) -> anyhow::Result<Keys> {
    let areas: Vec<Area> = district
        .areas
        .iter()
        .map(|area| Area { id: area.id.clone(), name_zh: area.name_zh.clone(), name_en: area.name_en.clone() })
        .collect();
    let premises: Vec<Premises> = district.homes.iter().map(premises).collect();
    let sensors: Vec<Sensor> = district.homes.iter().map(sensor).collect();
    let people: Vec<Person> = district.staff.iter().map(person).chain([viewer()]).collect();
    let shifts: Vec<Shift> = district.staff.iter().map(shift).collect();

    let mut tx = book.ledger.begin().await?;
    put_areas(&mut tx, &areas).await?;
    put_premises(&mut tx, &premises).await?;
    put_sensors(&mut tx, &sensors).await?;
    put_people(&mut tx, &people).await?;
    put_shifts(&mut tx, &shifts).await?;
    tx.commit().await?;
    book.registry.reload().await?;

    let mut logins = HashMap::new();
    for staff in &district.staff {
        let own = new_password()?;
        put_account(book, &staff.id, &staff.id, &own).await?;
        logins.insert(staff.id.clone(), Login { login: staff.id.clone(), password: own });
    }
    put_account(book, LOGIN, VIEWER, password).await?;
    put_past_visits(book, district, now).await?;
    let ids: Vec<_> = sensors.iter().map(|sensor| sensor.id.clone()).collect();
    let secrets = book.credentials.enrol_sensors(&ids).await?;
    Ok(Keys { secrets: ids.iter().map(ToString::to_string).zip(secrets).collect(), logins })
}

/// Person id of whoever looks at the demo.
const VIEWER: &str = "viewer";

fn viewer() -> Person {
    Person {
        id: VIEWER.to_owned(),
        name: "演示 Demo".to_owned(),
        phone: String::new(),
        email: String::new(),
        language: Language::Zh,
    }
}

async fn put_account(book: &Book, login: &str, person: &str, password: &str) -> anyhow::Result<()> {
    let account = Account { login: login.to_owned(), person: person.to_owned(), role: StaffRole::Supervisor };
    Ok(book.registry.put_account(&account, password).await?)
}

/// The inspections of the last months, once: nine homes in ten let the inspector in.
async fn put_past_visits(book: &Book, district: &District, now: Stamp) -> anyhow::Result<()> {
    let inspection = Inspection::new(book.registry.clone());
    let (Some(home), Some(inspector)) = (district.homes.first(), district.staff.first()) else { return Ok(()) };
    if inspection.last_visit(&home.id).await?.attempt.is_some() {
        return Ok(());
    }
    let visits: Vec<Visit> = (1_i64..)
        .zip(&district.homes)
        .map(|(number, home)| {
            let at = now - (number * 37 % 110 + 1) * DAY - number * 7 % 9 * HOUR;
            Visit {
                id: uuid::Builder::from_unix_timestamp_millis(at.0.unsigned_abs(), &visit_bytes(number)).into_uuid(),
                premises: home.id.clone(),
                inspector: inspector.id.clone(),
                at,
                outcome: if number % 10 == 9 { Outcome::NoAccess } else { Outcome::Completed },
                note: String::new(),
            }
        })
        .collect();
    inspection.record(&visits).await?;
    Ok(())
}

/// The part of a visit's id that is not its time.
fn visit_bytes(number: i64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn premises(home: &Home) -> Premises {
    Premises {
        id: home.id.clone(),
        area: home.area.clone(),
        class: PremisesClass::Home,
        address: home.address.clone(),
        building: home.building.clone(),
        contact_name: home.contact_name.clone(),
        contact_phone: home.contact_phone.clone(),
        vulnerable: home.vulnerable,
    }
}

fn sensor(home: &Home) -> Sensor {
    Sensor {
        id: home.sensor.id.clone(),
        premises: Some(home.id.clone()),
        room: home.sensor.room.name_zh().to_owned(),
        model: home.sensor.model.clone(),
        interval_ms: home.sensor.interval_ms,
        range_ppm: home.sensor.range_ppm,
    }
}

fn person(staff: &Staff) -> Person {
    Person {
        id: staff.id.clone(),
        name: staff.name.clone(),
        phone: staff.phone.clone(),
        email: staff.email.clone(),
        language: match staff.language {
            SimulatedLanguage::Zh => Language::Zh,
            SimulatedLanguage::En => Language::En,
        },
    }
}

/// Everybody is on duty all the time: a demo has no night.
fn shift(staff: &Staff) -> Shift {
    Shift {
        post: match staff.role {
            SimulatedPost::DutyOfficer => Post::DutyOfficer,
            SimulatedPost::Deputy => Post::Deputy,
            SimulatedPost::Supervisor => Post::Supervisor,
            SimulatedPost::DistrictLead => Post::DistrictLead,
        },
        person: staff.id.clone(),
        from: Stamp::EARLIEST,
        to: Stamp::LATEST,
    }
}
