//! Real measured air through a real MQTT client: everything is stored, nothing alarms.
#![cfg(feature = "live")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use model::Stamp;
use support::gaswatch::{Gaswatch, stamp};
use support::mosquitto::Publisher;
use support::{PATIENCE, testdata};

const DISTRICT: &str = r#"
    [[area]]
    id = "road"
    name_zh = "路边"
    name_en = "Roadside"

    [[premises]]
    id = "P-1"
    area = "road"
    class = "home"
    address = "路边1号"

    [[sensor]]
    id = "S-air"
    premises = "P-1"
    room = "外墙"
    model = "analyser"
    interval_s = 3600
    range_ppm = 1000
"#;

/// One hour of the data set.
#[derive(Clone, Debug, PartialEq)]
struct Hour {
    co_ppm: Option<f32>,
    temperature_c: Option<f32>,
    humidity_pct: Option<f32>,
}

/// The data set, as published lines and as what must be found again.
fn data_set() -> anyhow::Result<(String, BTreeMap<Stamp, Hour>)> {
    let file = testdata("co-ambient-hourly.csv");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let mut rows = text.lines();
    ensure!(rows.next() == Some("time,co_mg_m3,co_ppm,temperature_c,humidity_pct"), "other columns");
    let (mut lines, mut hours) = (String::new(), BTreeMap::new());
    for row in rows {
        let fields: Vec<&str> = row.split(',').collect();
        let [time, _, ppm, temperature, humidity] = fields[..] else { anyhow::bail!("row {row:?}") };
        // numbers are sent with the very digits of the file
        write!(lines, "{{\"time\":\"{time}\",\"co_ppm\":{ppm}")?;
        for (name, value) in [("temperature_c", temperature), ("humidity_pct", humidity)] {
            if !value.is_empty() {
                write!(lines, ",\"{name}\":{value}")?;
            }
        }
        lines.push_str("}\n");
        let number = |text: &str| (!text.is_empty()).then(|| text.parse::<f32>()).transpose();
        let hour = Hour { co_ppm: number(ppm)?, temperature_c: number(temperature)?, humidity_pct: number(humidity)? };
        ensure!(hours.insert(stamp(time)?, hour).is_none(), "{time} is there twice");
    }
    ensure!(hours.len() == 3_814, "the data set has {} rows", hours.len());
    Ok((lines, hours))
}

#[tokio::test]
async fn a_half_year_of_measured_air_is_stored_in_full_and_raises_no_alarm() -> anyhow::Result<()> {
    let (lines, hours) = data_set()?;
    let mut gaswatch = Gaswatch::start("", DISTRICT).await?;
    let secret = gaswatch.secret("S-air").await?;
    let publisher = Publisher { port: gaswatch.mqtt, version: "mqttv311", id: "S-air", secret: &secret };
    let published = publisher.publish_lines("gas/v1/sensors/S-air/readings", &lines).await?;
    ensure!(published.succeeded(), "{published:?}");

    let span = ("2004-01-01T00:00:00Z", "2005-01-01T00:00:00Z");
    let everything = |readings: &[support::gaswatch::Reading]| {
        ensure!(readings.len() >= hours.len(), "{} of {} readings are there", readings.len(), hours.len());
        Ok(())
    };
    let found = gaswatch.readings_when("S-air", span, PATIENCE, everything).await?;
    ensure!(found.len() == hours.len(), "{} readings out of {}", found.len(), hours.len());
    for reading in &found {
        let at = reading.at()?;
        let hour = hours.get(&at).with_context(|| format!("nothing was sent for {at}"))?;
        let (co_ppm, temperature_c, humidity_pct) = (reading.co_ppm, reading.temperature_c, reading.humidity_pct);
        assert_eq!(&Hour { co_ppm, temperature_c, humidity_pct }, hour, "at {at}");
    }
    // all readings are through the rules: they are handed to them before they are stored
    assert_eq!(gaswatch.incidents().await?, Vec::<serde_json::Value>::new());
    gaswatch.stop().await
}
