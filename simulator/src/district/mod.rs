//! A small district to simulate: plain data, the same for the same seed.

mod names;

use model::DeviceId;
use model::time::MINUTE;
use serde::Serialize;

use crate::random::Random;
use names::{AREAS, GIVEN, LANES, MODELS, SURNAMES};

/// A simulated Baiyun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct District {
    /// All 24 towns and streets.
    pub areas: Vec<Area>,
    pub homes: Vec<Home>,
    pub staff: Vec<Staff>,
}

/// A town or street.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Area {
    /// Pinyin in lower case, for example `shijing`.
    pub id: String,
    pub name_zh: String,
    pub name_en: String,
}

/// A home with bottled gas and one CO sensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Home {
    /// For example `H-shijing-0007`.
    pub id: String,
    pub area: String,
    pub address: String,
    /// For example `B-shijing-002`; neighbours share it.
    pub building: String,
    pub contact_name: String,
    /// Fictitious: 138000xxxxx.
    pub contact_phone: String,
    /// A small child, an old or an ill person lives there.
    pub vulnerable: bool,
    pub sensor: Sensor,
}

/// A sensor as installed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensor {
    /// For example `S-shijing-0007`.
    pub id: DeviceId,
    pub room: Place,
    pub model: String,
    /// How often it is expected to report, milliseconds.
    pub interval_ms: i64,
    /// The highest CO it can measure, ppm.
    pub range_ppm: f32,
}

/// Where a sensor hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Bathroom,
    Kitchen,
}

impl Place {
    pub fn name_zh(self) -> &'static str {
        match self {
            Place::Bathroom => "浴室",
            Place::Kitchen => "厨房",
        }
    }
}

/// Somebody who answers alarms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Staff {
    /// For example `duty-1`.
    pub id: String,
    pub role: Post,
    pub name: String,
    /// Fictitious: 138000xxxxx.
    pub phone: String,
    pub email: String,
    pub language: Language,
}

/// A place in the escalation, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Post {
    DutyOfficer,
    Deputy,
    Supervisor,
    DistrictLead,
}

impl Post {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Post::DutyOfficer => "duty officer",
            Post::Deputy => "deputy",
            Post::Supervisor => "supervisor",
            Post::DistrictLead => "district lead",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    Zh,
    En,
}

const FEWEST_PER_BUILDING: usize = 3;
const MOST_PER_BUILDING: usize = 8;
const SENSOR_INTERVAL: i64 = MINUTE;
const SENSOR_RANGE: f32 = 1_000.0;
const BATHROOMS: f64 = 0.6;
const VULNERABLE: f64 = 0.15;
/// Household numbers are 13800000000 plus this plus the home's index, around to stay in 138000xxxxx.
const FIRST_HOUSEHOLD_NUMBER: usize = 1_000;
const HOUSEHOLD_NUMBERS: usize = 99_000;

impl District {
    /// A district of `homes` homes, in buildings of several, spread over all areas. The first home's
    /// sensor hangs in its bathroom.
    pub fn generate(seed: u64, homes: usize) -> District {
        let areas = AREAS
            .iter()
            .map(|(id, zh, en, suffix)| Area {
                id: (*id).to_owned(),
                name_zh: format!("{zh}{suffix}"),
                name_en: (*en).to_owned(),
            })
            .collect();
        District { areas, homes: settle(seed, homes), staff: staff() }
    }
}

#[derive(Clone, Copy, Default)]
struct Settled {
    homes: usize,
    buildings: usize,
}

fn settle(seed: u64, count: usize) -> Vec<Home> {
    let mut random = Random::stream(seed, 0);
    let mut settled = [Settled::default(); AREAS.len()];
    let first_area = random.below(AREAS.len());
    let mut homes = Vec::with_capacity(count);
    // a building in each area in turn, from a random one on: even two dozen buildings reach them all
    for area in (0..AREAS.len()).cycle().skip(first_area) {
        let size = FEWEST_PER_BUILDING + random.below(MOST_PER_BUILDING - FEWEST_PER_BUILDING + 1);
        let size = size.min(count - homes.len());
        if size == 0 {
            break;
        }
        let state = &mut settled[area];
        state.buildings += 1;
        let address = building_address(area, state.buildings, &mut random);
        for room in 0..size {
            state.homes += 1;
            homes.extend(home(area, *state, &address, room, homes.len(), &mut random));
        }
    }
    homes
}

/// The number within the lane grows with the area's buildings, so that no address occurs twice.
fn building_address(area: usize, number: usize, random: &mut Random) -> String {
    let (_, zh, _, suffix) = AREAS[area];
    let lane = LANES[random.below(LANES.len())];
    format!("广州市白云区{zh}{suffix}{lane}{number}号")
}

fn home(
    area: usize,
    settled: Settled,
    building_address: &str,
    room: usize,
    index: usize,
    random: &mut Random,
) -> Option<Home> {
    let (area, ..) = AREAS[area];
    let is_bathroom = random.chance(BATHROOMS) || index == 0;
    let sensor = Sensor {
        id: DeviceId::new(&format!("S-{area}-{:04}", settled.homes)).ok()?,
        room: if is_bathroom { Place::Bathroom } else { Place::Kitchen },
        model: random.pick(&MODELS)?.to_string(),
        interval_ms: SENSOR_INTERVAL,
        range_ppm: SENSOR_RANGE,
    };
    let (floor, door) = (2 + room / 2, 1 + room % 2);
    Some(Home {
        id: format!("H-{area}-{:04}", settled.homes),
        area: area.to_owned(),
        address: format!("{building_address}{floor}0{door}房"),
        building: format!("B-{area}-{:03}", settled.buildings),
        contact_name: format!("{}{}", random.pick(&SURNAMES)?, random.pick(&GIVEN)?),
        contact_phone: format!("138000{:05}", FIRST_HOUSEHOLD_NUMBER + index % HOUSEHOLD_NUMBERS),
        vulnerable: random.chance(VULNERABLE),
        sensor,
    })
}

fn staff() -> Vec<Staff> {
    let people = [
        ("duty-1", Post::DutyOfficer, "陈志远", Language::Zh),
        ("deputy-1", Post::Deputy, "黄美玲", Language::Zh),
        ("supervisor-1", Post::Supervisor, "Grace Liang", Language::En),
        ("lead-1", Post::DistrictLead, "林国栋", Language::Zh),
    ];
    let person = |(index, (id, role, name, language)): (usize, (&str, Post, &str, Language))| Staff {
        id: id.to_owned(),
        role,
        name: name.to_owned(),
        phone: format!("138000{:05}", index + 1),
        email: format!("{id}@example.org"),
        language,
    };
    people.into_iter().enumerate().map(person).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_district() {
        assert_eq!(District::generate(7, 300), District::generate(7, 300));
        assert_ne!(District::generate(7, 300).homes, District::generate(8, 300).homes);
    }

    #[test]
    fn two_hundred_homes_reach_every_area() {
        let district = District::generate(1, 200);
        assert_eq!(district.areas.len(), 24);
        let reached: HashSet<_> = district.homes.iter().map(|home| home.area.as_str()).collect();
        assert_eq!(reached.len(), 24);
        let known: HashSet<_> = district.areas.iter().map(|area| area.id.as_str()).collect();
        assert_eq!(reached, known);
        assert!(district.homes.iter().any(|home| home.vulnerable));
        assert!(district.homes.iter().any(|home| home.sensor.room == Place::Kitchen));
    }

    #[test]
    fn staff_numbers_belong_to_nobody_else() {
        let district = District::generate(3, 500);
        let posts: Vec<_> = district.staff.iter().map(|person| person.role).collect();
        assert_eq!(posts, [Post::DutyOfficer, Post::Deputy, Post::Supervisor, Post::DistrictLead]);
        let households: HashSet<_> = district.homes.iter().map(|home| &home.contact_phone).collect();
        assert!(district.staff.iter().all(|person| !households.contains(&person.phone)));
        assert!(district.staff.iter().all(|person| person.email.ends_with("@example.org")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_district_is_consistent(seed: u64, count in 0usize..700) {
            let district = District::generate(seed, count);
            prop_assert_eq!(district.homes.len(), count);
            let unique = |key: fn(&Home) -> &str| district.homes.iter().map(key).collect::<HashSet<_>>().len();
            prop_assert_eq!(unique(|home| &home.id), count);
            prop_assert_eq!(unique(|home| home.sensor.id.as_str()), count);
            prop_assert_eq!(unique(|home| &home.address), count);
            let mut buildings = HashMap::<&str, (&str, usize)>::new();
            for home in &district.homes {
                let building = buildings.entry(&home.building).or_insert((&home.area, 0));
                prop_assert_eq!(building.0, &home.area);
                building.1 += 1;
                prop_assert!(home.contact_phone.len() == 11 && home.contact_phone.starts_with("138000"));
                prop_assert_eq!(home.id.replacen('H', "S", 1), home.sensor.id.as_str());
            }
            prop_assert!(buildings.values().all(|(_, homes)| *homes <= MOST_PER_BUILDING));
            prop_assert!(district.homes.first().is_none_or(|home| home.sensor.room == Place::Bathroom));
        }
    }
}
