//! The district as it really is: all rooms, and the book of what happened in them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Stamp;
use tokio::time::Instant;

use crate::district::{District, Home};
use crate::events::Poisoning;
use crate::random::Random;
use crate::room::{FaultKind, Measured, Room};

pub(crate) struct World {
    homes: Vec<Home>,
    rooms: Vec<Mutex<Room>>,
    by_phone: HashMap<String, usize>,
    book: Mutex<Vec<Record>>,
}

struct Record {
    home: usize,
    poisoning: Poisoning,
    /// When the first reading of danger was published.
    published: Option<Instant>,
    /// When the newest acknowledgement succeeded.
    acknowledged: Option<Instant>,
    has_helper: bool,
}

/// A room with less than this is well again, ppm.
const NORMAL_PPM: f64 = 10.0;

impl World {
    pub(crate) fn new(district: &District, now: Stamp, seed: u64) -> World {
        let room = |(index, home): (usize, &Home)| {
            let random = Random::stream(seed, (1 << 32) + index as u64);
            Mutex::new(Room::new(home.sensor.room, now, random))
        };
        let phone = |(index, home): (usize, &Home)| (home.contact_phone.clone(), index);
        World {
            homes: district.homes.clone(),
            rooms: district.homes.iter().enumerate().map(room).collect(),
            by_phone: district.homes.iter().enumerate().map(phone).collect(),
            book: Mutex::default(),
        }
    }

    pub(crate) fn homes(&self) -> &[Home] {
        &self.homes
    }

    pub(crate) fn household(&self, phone: &str) -> Option<&Home> {
        self.by_phone.get(phone).map(|index| &self.homes[*index])
    }

    fn room(&self, home: usize) -> MutexGuard<'_, Room> {
        self.rooms[home].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, Vec<Record>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn measure(&self, home: usize, now: Stamp) -> Measured {
        self.room(home).measure(now, &self.homes[home].sensor)
    }

    /// Begins a poisoning in this home, or in the next one where nothing is going on; `None` when
    /// every home has its own already.
    pub(crate) fn begin(&self, home: usize, kind: FaultKind, now: Stamp) -> Option<usize> {
        let mut book = self.book();
        let is_busy = |home: &usize| book.iter().any(|record| record.home == *home && record.poisoning.ended.is_none());
        let home = (0..self.homes.len()).map(|step| (home + step) % self.homes.len()).find(|home| !is_busy(home))?;
        self.room(home).begin_fault(now);
        let id = book.len();
        let Home { id: home_id, address, sensor, .. } = &self.homes[home];
        tracing::info!(id, at = %now, sensor = %sensor.id, "poisoning began at {address} ({}): {}", sensor.room.name_zh(), kind.name());
        let poisoning = Poisoning {
            id,
            kind,
            home: home_id.clone(),
            sensor: sensor.id.clone(),
            started: now,
            danger: None,
            ended: None,
            ended_by: None,
            acknowledged: None,
            acknowledged_by: None,
            resolved: None,
            alarm_latency_ms: None,
        };
        book.push(Record { home, poisoning, published: None, acknowledged: None, has_helper: false });
        Some(id)
    }

    /// Poisonings that began before `since` and still go on.
    pub(crate) fn lasting_since(&self, since: Stamp) -> Vec<usize> {
        let book = self.book();
        let lasting = |record: &&Record| record.poisoning.ended.is_none() && record.poisoning.started <= since;
        book.iter().filter(lasting).map(|record| record.poisoning.id).collect()
    }

    /// The window is opened and the source turned off.
    pub(crate) fn open_window(&self, id: usize, by: &str, now: Stamp) {
        let mut book = self.book();
        let Some(record) = book.get_mut(id).filter(|record| record.poisoning.ended.is_none()) else { return };
        let mut room = self.room(record.home);
        room.advance(now);
        record.poisoning.danger = room.reached_danger();
        room.open_window(now);
        record.poisoning.ended = Some(now);
        record.poisoning.ended_by = Some(by.to_owned());
        let address = &self.homes[record.home].address;
        tracing::info!(id, at = %now, by, "window opened at {address}, {:.0} ppm", room.co_ppm());
    }

    pub(crate) fn is_normal(&self, id: usize, now: Stamp) -> bool {
        let Some((home, has_ended)) = self.book().get(id).map(|record| (record.home, record.poisoning.ended.is_some()))
        else {
            return true;
        };
        let mut room = self.room(home);
        room.advance(now);
        has_ended && room.co_ppm() < NORMAL_PPM
    }

    /// The first reading of danger from a home has been handed to its connection.
    pub(crate) fn danger_published(&self, home: usize, at: Instant) {
        let mut book = self.book();
        if let Some(record) = book.iter_mut().rev().find(|record| record.home == home) {
            record.published.get_or_insert(at);
        }
    }

    /// Which poisoning a message is about: the newest whose sensor, home or address it names, or the
    /// only one that is going on.
    pub(crate) fn meant_by(&self, text: &str) -> Option<usize> {
        let book = self.book();
        let named = |record: &&Record| {
            let Home { id, address, sensor, .. } = &self.homes[record.home];
            [sensor.id.as_str(), id, address].iter().any(|name| text.contains(*name))
        };
        let mut going_on = book.iter().filter(|record| record.poisoning.ended.is_none());
        let only = going_on.next().filter(|_| going_on.next().is_none());
        book.iter().rev().find(named).or(only).map(|record| record.poisoning.id)
    }

    /// A message about a poisoning has reached a handset; returns the alarm's latency in real
    /// milliseconds when it is the first.
    pub(crate) fn message_arrived(&self, id: usize, at: Instant) -> Option<u64> {
        let mut book = self.book();
        let record = book.get_mut(id).filter(|record| record.poisoning.alarm_latency_ms.is_none())?;
        let latency =
            record.published.map_or(0, |published| at.saturating_duration_since(published).as_millis() as u64);
        record.poisoning.alarm_latency_ms = Some(latency);
        Some(latency)
    }

    /// True when a message that arrived at `since` has been answered by an acknowledgement after it.
    pub(crate) fn is_acknowledged_since(&self, id: usize, since: Instant) -> bool {
        self.book().get(id).and_then(|record| record.acknowledged).is_some_and(|at| at >= since)
    }

    /// Notes an acknowledgement; true for the first, whose giver drives there.
    pub(crate) fn acknowledge(&self, id: usize, by: &str, now: Stamp) -> bool {
        let mut book = self.book();
        let Some(record) = book.get_mut(id) else { return false };
        record.acknowledged = Some(Instant::now());
        record.poisoning.acknowledged.get_or_insert(now);
        record.poisoning.acknowledged_by.get_or_insert_with(|| by.to_owned());
        !std::mem::replace(&mut record.has_helper, true)
    }

    pub(crate) fn resolve(&self, id: usize, now: Stamp) {
        if let Some(record) = self.book().get_mut(id) {
            record.poisoning.resolved = Some(now);
        }
    }

    /// Kind and home of a poisoning.
    pub(crate) fn of(&self, id: usize) -> Option<(FaultKind, &Home)> {
        self.book()
            .get(id)
            .map(|record| (record.poisoning.kind, record.home))
            .map(|(kind, home)| (kind, &self.homes[home]))
    }

    /// All poisonings so far.
    pub(crate) fn poisonings(&self, now: Stamp) -> Vec<Poisoning> {
        let mut book = self.book();
        for record in book.iter_mut().filter(|record| record.poisoning.ended.is_none()) {
            let mut room = self.room(record.home);
            room.advance(now);
            record.poisoning.danger = room.reached_danger();
        }
        book.iter().map(|record| record.poisoning.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::time::MINUTE;

    use super::*;

    const START: Stamp = Stamp(1_795_485_600_000);

    fn world(homes: usize) -> World {
        World::new(&District::generate(2, homes), START, 2)
    }

    #[test]
    fn a_busy_home_is_passed_over() {
        let world = world(2);
        assert_eq!(world.begin(1, FaultKind::BlockedFlue, START), Some(0));
        assert_eq!(world.begin(1, FaultKind::BlockedFlue, START), Some(1));
        assert_eq!(world.begin(1, FaultKind::BlockedFlue, START), None);
        assert_ne!(world.of(0).unwrap().1.id, world.of(1).unwrap().1.id);
        world.open_window(0, "x", START + MINUTE);
        assert_eq!(world.begin(1, FaultKind::BlockedFlue, START + MINUTE), Some(2));
        assert_eq!(world.of(2).unwrap().1.id, world.of(0).unwrap().1.id);
    }

    #[test]
    fn a_message_is_about_the_place_it_names() {
        let world = world(3);
        assert_eq!(world.meant_by("一氧化碳"), None);
        world.begin(0, FaultKind::BlockedFlue, START);
        assert_eq!(world.meant_by("一氧化碳"), Some(0));
        world.begin(2, FaultKind::RunningEngine, START);
        assert_eq!(world.meant_by("一氧化碳"), None);
        let address = world.homes()[0].address.clone();
        assert_eq!(world.meant_by(&format!("CO 320 ppm，{address}，")), Some(0));
        assert_eq!(world.meant_by(&format!("sensor {}", world.homes()[2].sensor.id)), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_latency_counts_and_acknowledgements_answer_what_came_before() {
        let world = world(3);
        world.begin(1, FaultKind::BlockedFlue, START);
        world.danger_published(1, Instant::now());
        tokio::time::advance(Duration::from_millis(40)).await;
        world.danger_published(1, Instant::now());
        let arrived = Instant::now();
        assert_eq!(world.message_arrived(0, arrived), Some(40));
        assert_eq!(world.message_arrived(0, arrived), None);
        assert!(!world.is_acknowledged_since(0, arrived));
        assert!(world.acknowledge(0, "deputy-1", START));
        assert!(!world.acknowledge(0, "lead-1", START + MINUTE));
        assert!(world.is_acknowledged_since(0, arrived));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!world.is_acknowledged_since(0, Instant::now()));
        let record = world.poisonings(START).remove(0);
        assert_eq!(record.acknowledged_by.as_deref(), Some("deputy-1"));
        assert_eq!(record.alarm_latency_ms, Some(40));
    }
}
