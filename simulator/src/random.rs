//! A small seeded generator, so that one seed always gives the same district and the same events.
//!
//! `SplitMix64` (Steele, Lea and Flood 2014): one addition and two xor-multiplies per number, every
//! seed is good, and streams forked from it are independent enough for a simulation. Never use it
//! for secrets.

/// The generator's whole state.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator of its own for one part of the simulation, such as one home.
    pub fn stream(seed: u64, part: u64) -> Random {
        let mut mixer = Random(seed ^ part.wrapping_mul(0xA076_1D64_78BD_642F));
        Random(mixer.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.fraction()
    }

    /// In `0..count`; 0 when `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// Exponentially distributed: the time to the next of events that happen once per `mean`.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.fraction()).ln()
    }

    /// Normally distributed around 0 with deviation 1 (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.fraction()).cos()
    }

    /// One of the items.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.below(items.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence_of_seed_1234567_comes_out() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..5).map(|_| random.next()).collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(first, published);
    }

    #[test]
    fn distributions_have_their_means() {
        let mut random = Random::new(7);
        let count = 20_000;
        let mean = |sum: f64| sum / f64::from(count);
        assert!((mean((0..count).map(|_| random.exponential(20.0)).sum()) - 20.0).abs() < 1.0);
        assert!(mean((0..count).map(|_| random.normal()).sum()).abs() < 0.05);
        assert!((mean((0..count).map(|_| random.normal().powi(2)).sum()) - 1.0).abs() < 0.05);
        assert!((mean((0..count).map(|_| f64::from(u8::from(random.chance(0.25)))).sum()) - 0.25).abs() < 0.02);
    }

    #[test]
    fn picks_stay_inside() {
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| random.below(3) < 3));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Random::stream(1, 1).next(), Random::stream(1, 2).next());
        assert_ne!(Random::stream(1, 1).next(), Random::stream(2, 1).next());
    }
}
