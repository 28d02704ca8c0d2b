//! Slows down guessing of passwords, per login and per process.

use std::collections::HashMap;

use model::Stamp;
use model::time::{MINUTE, SECOND};

/// Failures in a row that cost nothing.
const FREE_FAILURES: u32 = 5;
const FIRST_PAUSE: i64 = 30 * SECOND;
const LONGEST_PAUSE: i64 = 15 * MINUTE;
/// Logins remembered. Each costs an attacker a password hash, so pushing one out is no way round.
const MOST_LOGINS: usize = 10_000;

/// Failed sign-ins by login. Logins are kept as their SHA-256, because people type passwords into
/// the wrong field, and because a hash has a fixed size.
#[derive(Default)]
pub(crate) struct Throttle {
    logins: HashMap<[u8; 32], Failures>,
}

struct Failures {
    in_a_row: u32,
    /// No attempt before this.
    until: Stamp,
    last: Stamp,
}

impl Throttle {
    /// Lets an attempt begin, and counts it as failed until [`Throttle::succeeded`]: attempts made
    /// at the same time cannot all slip through.
    ///
    /// # Errors
    /// When the next attempt is allowed.
    pub(crate) fn begin(&mut self, login: [u8; 32], now: Stamp) -> Result<(), Stamp> {
        if !self.logins.contains_key(&login) && self.logins.len() >= MOST_LOGINS {
            self.forget_one();
        }
        let failures = self.logins.entry(login).or_insert(Failures { in_a_row: 0, until: now, last: now });
        // A clock set back must not lock anybody out for longer than the pause.
        let until = failures.until.min(now + pause(failures.in_a_row));
        if now < until {
            return Err(until);
        }
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        failures.last = now;
        failures.until = now + pause(failures.in_a_row);
        Ok(())
    }

    pub(crate) fn succeeded(&mut self, login: [u8; 32]) {
        self.logins.remove(&login);
    }

    /// Forgets the login with the fewest failures, of those the one that failed first.
    fn forget_one(&mut self) {
        let weakest = self.logins.iter().min_by_key(|(_, failures)| (failures.in_a_row, failures.last));
        if let Some(login) = weakest.map(|(login, _)| *login) {
            self.logins.remove(&login);
        }
    }
}

/// The wait after that many failures in a row.
fn pause(in_a_row: u32) -> i64 {
    match in_a_row.checked_sub(FREE_FAILURES) {
        None => 0,
        Some(doublings) => (FIRST_PAUSE << doublings.min(16)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Stamp = Stamp(1_780_000_000_000);
    const LOGIN: [u8; 32] = [7; 32];

    #[test]
    fn the_fifth_failure_pauses_and_each_further_one_doubles_the_pause() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            assert_eq!(throttle.begin(LOGIN, START), Ok(()));
        }
        let mut now = START;
        for seconds in [30, 60, 120, 240, 480, 900, 900] {
            let until = now + seconds * SECOND;
            assert_eq!(throttle.begin(LOGIN, now), Err(until));
            assert_eq!(throttle.begin(LOGIN, until - 1), Err(until), "waiting does not lengthen the pause");
            assert_eq!(throttle.begin(LOGIN, until), Ok(()));
            now = until;
        }
    }

    #[test]
    fn success_forgives_and_other_logins_are_not_touched() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            assert_eq!(throttle.begin(LOGIN, START), Ok(()));
        }
        assert_eq!(throttle.begin([8; 32], START), Ok(()));
        throttle.succeeded(LOGIN);
        assert_eq!(throttle.begin(LOGIN, START), Ok(()));
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            assert_eq!(throttle.begin(LOGIN, START), Ok(()));
        }
        let earlier = START - 365 * 24 * 60 * MINUTE;
        assert_eq!(throttle.begin(LOGIN, earlier), Err(earlier + FIRST_PAUSE));
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_remembered() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            assert_eq!(throttle.begin(LOGIN, START), Ok(()));
        }
        for n in 0..MOST_LOGINS as u64 + 50 {
            let mut login = [0; 32];
            login[..8].copy_from_slice(&n.to_le_bytes());
            assert_eq!(throttle.begin(login, START + 1), Ok(()));
        }
        assert_eq!(throttle.logins.len(), MOST_LOGINS);
        assert!(throttle.begin(LOGIN, START + 2).is_err());
    }
}
