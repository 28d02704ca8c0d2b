//! CO over time as numbers for an SVG: pure geometry, no text but labels. Every coordinate is finite
//! and inside the drawing, whatever the readings hold.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use model::time::{DAY, HOUR, MINUTE, SECOND};
use model::{Reading, Stamp};

use crate::words::ppm;

// inside the view box of templates/curve.html, 1000 x 320
const LEFT: f64 = 52.0;
const RIGHT: f64 = 984.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 290.0;
/// Above this the scale is logarithmic, so that 30 ppm stays legible.
const MOST_LINEAR: f64 = 800.0;

/// What to draw.
#[derive(Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) from: Stamp,
    pub(crate) to: Stamp,
    pub(crate) readings: &'a [Reading],
    /// Two readings further apart than this have a gap between them, milliseconds.
    pub(crate) gap_ms: i64,
    pub(crate) marks: &'a [Mark],
    pub(crate) zone: &'a TimeZone,
    /// Room for the 300 ppm line even when the values stay low.
    pub(crate) show_limits: bool,
}

/// An event on the time axis; `number` leads to the time line under the curve.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Stamp,
    pub(crate) number: usize,
    pub(crate) words: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tick {
    pub(crate) at: String,
    pub(crate) label: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Flag {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) number: usize,
    pub(crate) words: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Gap {
    pub(crate) x: String,
    pub(crate) width: String,
    pub(crate) middle: String,
    pub(crate) is_wide: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Dot {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) label: String,
    /// `start`, `middle` or `end`: where the label finds room.
    pub(crate) anchor: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    pub(crate) is_log: bool,
    /// Path data, one per unbroken stretch.
    pub(crate) lines: Vec<String>,
    /// The same stretches closed down to the axis.
    pub(crate) areas: Vec<String>,
    /// Readings that stand alone between gaps.
    pub(crate) singles: Vec<Dot>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) x_ticks: Vec<Tick>,
    pub(crate) y_ticks: Vec<Tick>,
    pub limit_300: Option<String>,
    pub limit_30: Option<String>,
    pub(crate) marks: Vec<Flag>,
    pub(crate) peak: Option<Dot>,
    pub(crate) peak_ppm: Option<f32>,
    pub(crate) count: usize,
}

struct Scale {
    from: i64,
    to: i64,
    top: f64,
    is_log: bool,
}

impl Scale {
    fn x(&self, at: i64) -> f64 {
        let share = (at.saturating_sub(self.from)) as f64 / (self.to.saturating_sub(self.from)) as f64;
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn y(&self, ppm: f64) -> f64 {
        let share = if self.is_log { log(ppm) / log(self.top) } else { ppm / self.top };
        BOTTOM - share.clamp(0.0, 1.0) * (BOTTOM - TOP)
    }
}

/// Logarithmic above some 10 ppm, linear below, so that 0 has a place.
fn log(ppm: f64) -> f64 {
    (ppm / 10.0).ln_1p()
}

fn c(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}

/// Draws CO in `from..to`.
pub(crate) fn draw(wanted: &Wanted<'_>) -> Curve {
    let from = wanted.from.0;
    let to = wanted.to.0.max(from.saturating_add(SECOND));
    let points = points(wanted.readings, from, to);
    let peak = points.iter().copied().reduce(|best, point| if point.1 > best.1 { point } else { best });
    let floor = if wanted.show_limits { 330.0 } else { 40.0 };
    let highest = peak.map_or(0.0, |(_, ppm)| ppm).max(floor);
    let is_log = highest > MOST_LINEAR;
    let (top, ticks) = if is_log { log_ticks(highest) } else { linear_ticks(highest) };
    let scale = Scale { from, to, top, is_log };

    let mut curve = Curve { is_log, count: points.len(), ..Curve::default() };
    let gap_ms = wanted.gap_ms.max(1);
    let mut known_until = from;
    for stretch in stretches(&points, gap_ms) {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
        if first.0.saturating_sub(known_until) > gap_ms {
            curve.gaps.push(gap(&scale, known_until, first.0));
        }
        known_until = last.0;
        curve.draw_stretch(&scale, stretch);
    }
    if to.saturating_sub(known_until) > gap_ms {
        curve.gaps.push(gap(&scale, known_until, to));
    }
    curve.y_ticks = ticks.iter().map(|ppm| Tick { at: c(scale.y(*ppm)), label: thousands(*ppm) }).collect();
    curve.x_ticks = x_ticks(&scale, wanted.zone);
    let inside = |limit: f64| (limit <= top).then(|| c(scale.y(limit)));
    (curve.limit_300, curve.limit_30) = (inside(300.0), inside(30.0));
    curve.marks = flags(&scale, wanted.marks);
    if let Some((at, value)) = peak {
        curve.peak_ppm = Some(value as f32);
        let x = scale.x(at);
        let anchor = if x < LEFT + 40.0 {
            "start"
        } else if x > RIGHT - 40.0 {
            "end"
        } else {
            "middle"
        };
        curve.peak = Some(Dot { x: c(x), y: c(scale.y(value)), label: ppm(value as f32), anchor });
    }
    curve
}

/// Usable values in time order.
fn points(readings: &[Reading], from: i64, to: i64) -> Vec<(i64, f64)> {
    let mut points: Vec<(i64, f64)> = readings
        .iter()
        .filter(|reading| (from..=to).contains(&reading.time.0))
        .filter_map(|reading| Some((reading.time.0, f64::from(reading.co_ppm?))))
        .filter(|(_, ppm)| ppm.is_finite() && *ppm >= 0.0)
        .collect();
    points.sort_by_key(|(at, _)| *at);
    points
}

fn stretches(points: &[(i64, f64)], gap_ms: i64) -> impl Iterator<Item = &[(i64, f64)]> {
    points.chunk_by(move |a, b| b.0.saturating_sub(a.0) <= gap_ms)
}

fn gap(scale: &Scale, from: i64, to: i64) -> Gap {
    let (left, right) = (scale.x(from), scale.x(to));
    Gap { x: c(left), width: c(right - left), middle: c((left + right) / 2.0), is_wide: right - left > 60.0 }
}

impl Curve {
    fn draw_stretch(&mut self, scale: &Scale, stretch: &[(i64, f64)]) {
        if let [(at, value)] = stretch {
            let dot = Dot { x: c(scale.x(*at)), y: c(scale.y(*value)), label: ppm(*value as f32), anchor: "middle" };
            self.singles.push(dot);
            return;
        }
        let mut path = String::new();
        let mut ends = None;
        for (at, value) in thinned(scale, stretch) {
            let (x, y) = (scale.x(at), scale.y(value));
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
            ends = Some((ends.map_or(x, |(first, _)| first), x));
        }
        if let Some((first, last)) = ends {
            self.areas.push(format!("{path}L{last:.1} {BOTTOM}L{first:.1} {BOTTOM}Z"));
        }
        self.lines.push(path);
    }
}

/// At most four points per column of pixels: first, lowest, highest, last. No peak is lost.
fn thinned(scale: &Scale, stretch: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let columns = stretch.chunk_by(|a, b| scale.x(a.0).floor() as i64 == scale.x(b.0).floor() as i64);
    let mut kept = Vec::new();
    for column in columns {
        if column.len() <= 4 {
            kept.extend_from_slice(column);
            continue;
        }
        let by_value = |a: &&(i64, f64), b: &&(i64, f64)| a.1.total_cmp(&b.1);
        let extremes = [column.first(), column.iter().min_by(by_value), column.iter().max_by(by_value), column.last()];
        let mut four: Vec<(i64, f64)> = extremes.into_iter().flatten().copied().collect();
        four.sort_by_key(|(at, _)| *at);
        kept.append(&mut four);
    }
    kept
}

fn linear_ticks(highest: f64) -> (f64, Vec<f64>) {
    let wanted = highest * 1.08;
    let step = [5.0, 10.0, 20.0, 25.0, 50.0, 100.0, 200.0, 250.0].into_iter().find(|step| wanted / step <= 6.0);
    let step = step.unwrap_or(500.0);
    let steps = (wanted / step).ceil().max(1.0);
    (step * steps, (0..=steps as i64).map(|n| step * n as f64).collect())
}

fn log_ticks(highest: f64) -> (f64, Vec<f64>) {
    const TICKS: [f64; 12] = [0.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6];
    let top = (highest * 1.15).max(1_000.0);
    (top, TICKS.into_iter().filter(|tick| *tick <= top).collect())
}

fn thousands(ppm: f64) -> String {
    crate::words::count(ppm.max(0.0) as usize)
}

/// Round local times, at most eight of them.
fn x_ticks(scale: &Scale, zone: &TimeZone) -> Vec<Tick> {
    const STEPS: [i64; 14] = [
        10 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
    ];
    let length = scale.to.saturating_sub(scale.from);
    let step = STEPS.into_iter().find(|step| length / step <= 8).unwrap_or_else(|| (length / 8 / DAY + 1) * DAY);
    let Ok(start) = jiff::Timestamp::from_millisecond(scale.from) else { return Vec::new() };
    let offset = i64::from(zone.to_offset(start).seconds()) * SECOND;
    let mut local = (scale.from.saturating_add(offset)).div_euclid(step).saturating_mul(step);
    let mut ticks = Vec::new();
    while local.saturating_sub(offset) <= scale.to && ticks.len() < 12 {
        let at = local.saturating_sub(offset);
        local = local.saturating_add(step);
        let x = scale.x(at);
        if at < scale.from || !(LEFT + 2.0..=RIGHT - 14.0).contains(&x) {
            continue;
        }
        let Ok(instant) = jiff::Timestamp::from_millisecond(at) else { continue };
        let time = zone.to_datetime(instant);
        let label = if step >= DAY || (time.hour() == 0 && time.minute() == 0 && time.second() == 0) {
            format!("{:02}-{:02}", time.month(), time.day())
        } else if step < MINUTE {
            format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
        } else {
            format!("{:02}:{:02}", time.hour(), time.minute())
        };
        ticks.push(Tick { at: c(x), label });
    }
    ticks
}

/// Numbers above the curve; ones that would touch step down a row.
fn flags(scale: &Scale, marks: &[Mark]) -> Vec<Flag> {
    let mut row_ends = [f64::MIN; 3];
    let mut flags = Vec::new();
    for mark in marks.iter().filter(|mark| (scale.from..=scale.to).contains(&mark.at.0)) {
        let x = scale.x(mark.at.0);
        let row = row_ends.iter().position(|end| x - end >= 20.0).unwrap_or(row_ends.len() - 1);
        row_ends[row] = x;
        let y = 12.0 + 20.0 * row as f64;
        flags.push(Flag { x: c(x), y: c(y), number: mark.number, words: mark.words.clone() });
    }
    flags
}

pub(crate) const SPARK_WIDTH: f64 = 96.0;
pub(crate) const SPARK_HEIGHT: f64 = 26.0;

/// A word-sized curve: path data, and the height of the 300 ppm line where it is inside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spark {
    pub(crate) lines: Vec<String>,
    pub(crate) limit: Option<String>,
}

pub(crate) fn spark(readings: &[Reading], from: Stamp, to: Stamp, gap_ms: i64) -> Spark {
    let to_ms = to.0.max(from.0.saturating_add(SECOND));
    let points = points(readings, from.0, to_ms);
    let top = points.iter().fold(60.0_f64, |top, point| top.max(point.1)) * 1.05;
    let length = to_ms.saturating_sub(from.0) as f64;
    let x = |at: i64| 1.0 + (at.saturating_sub(from.0) as f64 / length).clamp(0.0, 1.0) * (SPARK_WIDTH - 2.0);
    let y = |ppm: f64| SPARK_HEIGHT - 1.0 - (ppm / top).clamp(0.0, 1.0) * (SPARK_HEIGHT - 3.0);
    let mut lines = Vec::new();
    for stretch in stretches(&points, gap_ms.max(1)) {
        // one point per pixel keeps the alarm list small however often sensors report
        let columns = stretch.chunk_by(|a, b| x(a.0).floor() as i64 == x(b.0).floor() as i64);
        let mut path = String::new();
        for column in columns {
            let Some(highest) = column.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
            let _ = write!(path, "{}{:.1} {:.1}", if path.is_empty() { "M" } else { "L" }, x(highest.0), y(highest.1));
        }
        lines.push(path);
    }
    Spark { lines, limit: (top > 300.0).then(|| c(y(300.0))) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(at: i64, co_ppm: Option<f32>) -> Reading {
        Reading { time: Stamp(at), co_ppm, ..Reading::default() }
    }

    fn zone() -> TimeZone {
        TimeZone::get("Asia/Shanghai").unwrap()
    }

    const START: i64 = 1_780_000_000_000;

    const WIDTH: f64 = 1_000.0;
    const HEIGHT: f64 = 320.0;

    #[test]
    fn the_template_has_the_same_measures() {
        let template = include_str!("../templates/curve.html");
        assert!(template.contains(&format!("viewBox=\"0 0 {WIDTH} {HEIGHT}\"")));
        assert!(template.contains(&format!("M{LEFT} {BOTTOM}H{RIGHT}")));
        assert!(template.contains(&format!("y=\"{TOP}\" width=\"{{{{ gap.width }}}}\" height=\"{}\"", BOTTOM - TOP)));
    }

    fn drawn(readings: &[Reading], marks: &[Mark]) -> Curve {
        let zone = zone();
        draw(&Wanted {
            from: Stamp(START),
            to: Stamp(START + HOUR),
            readings,
            gap_ms: 3 * MINUTE,
            marks,
            zone: &zone,
            show_limits: true,
        })
    }

    #[test]
    fn a_silence_is_a_gap_and_breaks_the_line() {
        let minutes = (0..10).chain(30..40);
        let readings: Vec<_> = minutes.map(|m| reading(START + m * MINUTE, Some(5.0))).collect();
        let curve = drawn(&readings, &[]);
        assert_eq!(curve.lines.len(), 2);
        assert_eq!(curve.gaps.len(), 2, "the silence in the middle and the one at the end");
        assert!(curve.gaps[0].is_wide);
        assert_eq!(curve.x_ticks.first().unwrap().label.len(), 5);
    }

    #[test]
    fn the_peak_survives_thinning_and_names_itself() {
        let mut readings: Vec<_> = (0..36_000).map(|n| reading(START + n * 100, Some((n % 7) as f32))).collect();
        readings[17_003].co_ppm = Some(512.0);
        let curve = drawn(&readings, &[]);
        assert_eq!(curve.peak_ppm, Some(512.0));
        let peak = curve.peak.unwrap();
        assert!(curve.lines[0].contains(&format!("{} {}", peak.x, peak.y)));
        assert!(curve.lines[0].len() < 80_000, "{}", curve.lines[0].len());
    }

    #[test]
    fn both_limits_have_a_place_on_either_scale() {
        for high in [12.0, 412.0, 9_000.0] {
            let curve = drawn(&[reading(START, Some(1.0)), reading(START + MINUTE, Some(high))], &[]);
            let y = |text: &Option<String>| text.as_deref().unwrap().parse::<f64>().unwrap();
            assert!(y(&curve.limit_30) > y(&curve.limit_300), "{high}");
            assert_eq!(curve.is_log, high > 800.0);
        }
    }

    #[test]
    fn marks_close_together_do_not_cover_each_other() {
        let mark = |number: usize| Mark { at: Stamp(START + 10 * MINUTE), number, words: String::new() };
        let curve = drawn(&[], &[mark(1), mark(2), mark(3)]);
        let rows: Vec<_> = curve.marks.iter().map(|flag| flag.y.as_str()).collect();
        assert_eq!(rows, ["12.0", "32.0", "52.0"]);
    }

    fn numbers(text: &str) -> Vec<f64> {
        let fields = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c.is_ascii_lowercase()));
        fields.filter(|field| !field.is_empty()).map(|field| field.parse::<f64>().unwrap()).collect()
    }

    fn any_co() -> impl Strategy<Value = Option<f32>> {
        prop_oneof![
            Just(None),
            any::<f32>().prop_map(Some),
            (0.0f32..2_000.0).prop_map(Some),
            prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX, f32::MIN_POSITIVE])
                .prop_map(Some),
        ]
    }

    fn any_time() -> impl Strategy<Value = i64> {
        prop_oneof![START - HOUR..START + 2 * HOUR, any::<i64>()]
    }

    proptest! {
        /// Whatever the readings, times and window: every coordinate is a number inside the drawing.
        #[test]
        fn coordinates_are_finite_and_inside(
            readings in prop::collection::vec((any_time(), any_co()), 0..60),
            from in any_time(), length in prop_oneof![any::<i64>(), 0..40 * DAY],
            gap in any::<i64>(), marks in prop::collection::vec(any_time(), 0..5), show_limits: bool,
        ) {
            let readings: Vec<_> = readings.into_iter().map(|(at, co)| reading(at, co)).collect();
            let marks: Vec<_> = marks.into_iter().map(|at| Mark { at: Stamp(at), number: 1, words: String::new() }).collect();
            let zone = zone();
            let (from, to) = (Stamp(from), Stamp(from.saturating_add(length)));
            let curve = draw(&Wanted { from, to, readings: &readings, gap_ms: gap, marks: &marks, zone: &zone, show_limits });
            let mut xs = Vec::new();
            let mut ys = Vec::new();
            for path in curve.lines.iter().chain(&curve.areas) {
                let all = numbers(path);
                prop_assert_eq!(all.len() % 2, 0);
                for pair in all.chunks(2) {
                    xs.push(pair[0]);
                    ys.push(pair[1]);
                }
            }
            for dot in curve.singles.iter().chain(&curve.peak) {
                xs.extend(numbers(&dot.x));
                ys.extend(numbers(&dot.y));
            }
            for gap in &curve.gaps {
                let (x, width) = (numbers(&gap.x)[0], numbers(&gap.width)[0]);
                prop_assert!(width >= 0.0);
                xs.extend([x, x + width - 0.1, numbers(&gap.middle)[0]]);
            }
            xs.extend(curve.x_ticks.iter().flat_map(|tick| numbers(&tick.at)));
            xs.extend(curve.marks.iter().flat_map(|flag| numbers(&flag.x)));
            ys.extend(curve.y_ticks.iter().flat_map(|tick| numbers(&tick.at)));
            ys.extend(curve.limit_30.iter().chain(&curve.limit_300).flat_map(|y| numbers(y)));
            for x in xs {
                prop_assert!(x.is_finite() && (0.0..=WIDTH).contains(&x), "x {x}");
            }
            for y in ys {
                prop_assert!(y.is_finite() && (0.0..=HEIGHT).contains(&y), "y {y}");
            }
            for path in spark(&readings, from, to, gap).lines {
                for pair in numbers(&path).chunks(2) {
                    prop_assert!((0.0..=SPARK_WIDTH).contains(&pair[0]) && (0.0..=SPARK_HEIGHT).contains(&pair[1]));
                }
            }
        }
    }
}
