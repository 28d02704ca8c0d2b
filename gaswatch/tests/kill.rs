//! `kill -9` at any moment, over and over: what was acknowledged is there afterwards.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::extract::{Query, State};
use model::Stamp;
use support::gaswatch::Gaswatch;
use support::mqtt::{Mqtt, Packet, Version, is_success};
use support::{PATIENCE, Random, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// `GASWATCH_KILLS` asks for more.
const KILLS: u64 = 20;
/// `GASWATCH_SEED` repeats a run.
const SEED: u64 = 20_261_124;
const SENSORS: [&str; 4] = ["S-1", "S-2", "S-3", "S-4"];
/// Publishes of one connection that wait for their PUBACK.
const IN_FLIGHT: usize = 50;
/// 2020-01-01T00:00:00Z; reading `n` of a sensor was measured `n` seconds later.
const BEGIN: i64 = 1_577_836_800_000;

fn from_environment(name: &str, usual: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} = {text:?} is no number")),
        Err(_) => Ok(usual),
    }
}

/// A value that depends on the number, never alarming.
fn ppm(number: u64) -> f32 {
    (number % 250) as f32 / 10.0
}

/// One sensor that publishes without pause and notes what was acknowledged.
struct Sensor {
    id: &'static str,
    secret: String,
    port: u16,
    acknowledged_by_all: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    /// Numbers that were sent without an answer, to be sent again.
    unanswered: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    next: u64,
}

impl Sensor {
    /// Publishes through one connection after the other until told to end.
    async fn run(mut self) -> anyhow::Result<Sensor> {
        while !self.ends.load(Ordering::Relaxed) {
            let connection = Mqtt::try_connect(self.port, Version::V5, self.id, &self.secret).await;
            match connection {
                Ok((connection, Packet::ConnAck(0))) => self.publish(connection).await?,
                Ok((_, refusal)) => anyhow::bail!("{} was refused: {refusal:?}", self.id),
                // the server is down between a kill and its restart
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
        Ok(self)
    }

    /// Publishes until the connection dies. A dead connection is no failure, a refusal is one.
    async fn publish(&mut self, connection: Mqtt) -> anyhow::Result<()> {
        let (mut reader, mut writer) = (connection.reader, connection.writer);
        let topic = format!("gas/v1/sensors/{}/readings", self.id);
        let mut in_flight: BTreeMap<u16, u64> = BTreeMap::new();
        let mut again: Vec<u64> = self.unanswered.iter().rev().copied().collect();
        let mut packet_id = 0_u16;
        loop {
            while in_flight.len() < IN_FLIGHT && !self.ends.load(Ordering::Relaxed) {
                let number = again.pop().unwrap_or_else(|| {
                    self.next += 1;
                    self.next
                });
                packet_id = packet_id.checked_add(1).unwrap_or(1);
                let time = BEGIN + 1_000 * number as i64;
                let payload = format!("{{\"time\":{time},\"co_ppm\":{},\"seq\":{number}}}", ppm(number));
                in_flight.insert(packet_id, number);
                self.unanswered.insert(number);
                if writer.publish(topic.as_bytes(), packet_id, payload.as_bytes()).await.is_err() {
                    return Ok(());
                }
            }
            if in_flight.is_empty() {
                return Ok(());
            }
            match reader.packet().await {
                Ok(Some(Packet::PubAck(id, reason, words))) => {
                    let number =
                        in_flight.remove(&id).with_context(|| format!("PUBACK for the unknown packet {id}"))?;
                    ensure!(is_success(reason), "{} {number} was refused: {reason:#x} {words:?}", self.id);
                    self.unanswered.remove(&number);
                    self.acknowledged.insert(number);
                    self.acknowledged_by_all.fetch_add(1, Ordering::Relaxed);
                }
                // told to go, while the server stops
                Ok(Some(Packet::Disconnect(_)) | None) => return Ok(()),
                Ok(Some(other)) => anyhow::bail!("expected PUBACK, got {other:?}"),
                // the kill may cut a packet in two
                Err(error) if error.is::<std::io::Error>() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn district() -> String {
    let sensors =
        SENSORS.map(|id| format!("[[sensor]]\nid = \"{id}\"\npremises = \"P-1\"\ninterval_s = 60\n")).concat();
    format!(
        "[[area]]\nid = \"a\"\nname_zh = \"区\"\nname_en = \"Area\"\n\
         [[premises]]\nid = \"P-1\"\narea = \"a\"\naddress = \"一号\"\n{sensors}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_however_often_the_process_is_killed() -> anyhow::Result<()> {
    let kills = from_environment("GASWATCH_KILLS", KILLS)?;
    let seed = from_environment("GASWATCH_SEED", SEED)?;
    println!("seed {seed}");
    let mut random = Random(seed);

    let mut gaswatch = Gaswatch::install("[log]\nfilter = \"warn\"", &district()).await?;
    let (count, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut sensors = JoinSet::new();
    for id in SENSORS {
        let sensor = Sensor {
            id,
            secret: gaswatch.secret(id).await?,
            port: gaswatch.mqtt,
            acknowledged_by_all: count.clone(),
            ends: ends.clone(),
            unanswered: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            next: 0,
        };
        sensors.spawn(sensor.run());
    }

    for kill in 1..=kills {
        gaswatch.spawn()?;
        // one in four dies while it starts, and must not have harmed anything
        if random.below(4) > 0 {
            gaswatch.ready().await.with_context(|| format!("start {kill} of seed {seed}"))?;
            let before = count.load(Ordering::Relaxed);
            eventually("an acknowledgement", PATIENCE, async || {
                if let Some(ended) = sensors.try_join_next() {
                    ended??;
                }
                Ok((count.load(Ordering::Relaxed) > before).then_some(()))
            })
            .await?;
        }
        sleep(Duration::from_millis(random.below(400))).await;
        gaswatch.kill().await.with_context(|| format!("kill {kill} of seed {seed}"))?;
    }

    // the last run answers what is still in flight, then everything is looked for
    gaswatch.serve().await?;
    ends.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut found) = (0, 0);
    let ended = sensors.join_all().await;
    let mut numbers = BTreeMap::new();
    for sensor in ended {
        let sensor = sensor?;
        acknowledged += sensor.acknowledged.len();
        found += check(&gaswatch, &sensor).await?;
        numbers.insert(sensor.id, sensor.acknowledged);
    }
    println!("acknowledged {acknowledged}, found {found}, kills {kills}");
    assert_eq!(acknowledged, found);
    ensure!(acknowledged as u64 > kills * 10, "only {acknowledged} acknowledgements: the test says nothing");

    // an orderly stop and start changes nothing
    gaswatch.stop().await?;
    gaswatch.serve().await?;
    for (id, acknowledged) in numbers {
        let all = gaswatch.readings(id, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await?;
        let there: BTreeSet<u64> = all.iter().filter_map(|reading| reading.seq).collect();
        ensure!(acknowledged.is_subset(&there), "{id} lost readings over an orderly restart");
    }
    gaswatch.stop().await
}

/// Looks for every acknowledged reading of a sensor, and returns how many are there: each once, with
/// the value that was sent.
async fn check(gaswatch: &Gaswatch, sensor: &Sensor) -> anyhow::Result<usize> {
    let span = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    let whole = |readings: &[support::gaswatch::Reading]| {
        let there: BTreeSet<u64> = readings.iter().filter_map(|reading| reading.seq).collect();
        let missing: Vec<u64> = sensor.acknowledged.difference(&there).copied().collect();
        let first = &missing[..missing.len().min(20)];
        ensure!(first.is_empty(), "{} lost {} acknowledged readings, first {first:?}", sensor.id, missing.len());
        Ok(())
    };
    let readings = gaswatch.readings_when(sensor.id, span, PATIENCE, whole).await?;
    let mut seen = BTreeSet::new();
    for reading in &readings {
        let number = reading.seq.with_context(|| format!("{reading:?} has no number"))?;
        ensure!(seen.insert(number), "{} has reading {number} twice", sensor.id);
        ensure!(number <= sensor.next, "{} has reading {number}, which was never sent", sensor.id);
        ensure!(reading.co_ppm == Some(ppm(number)), "reading {number} became {reading:?}");
        ensure!(reading.at()? == Stamp(BEGIN + 1_000 * number as i64), "reading {number} became {reading:?}");
    }
    Ok(sensor.acknowledged.intersection(&seen).count())
}

/// Stands where an SMS gateway would: takes every text and remembers it.
#[derive(Clone, Debug, Default)]
struct Gateway {
    texts: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    /// Serves until the test ends; returns the gateway and the address to send to.
    async fn start() -> anyhow::Result<(Gateway, String)> {
        let gateway = Gateway::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/cgi-bin/sendsms", listener.local_addr()?);
        let send = async |State(gateway): State<Gateway>, Query(query): Query<BTreeMap<String, String>>| {
            let text = query.get("text").cloned().unwrap_or_default();
            match gateway.texts.lock() {
                Ok(mut texts) => {
                    texts.push(text);
                    "0: Accepted for delivery"
                }
                Err(_) => "",
            }
        };
        let routes =
            axum::Router::new().route("/cgi-bin/sendsms", axum::routing::get(send)).with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok((gateway, url))
    }

    fn texts_with(&self, words: &str) -> anyhow::Result<usize> {
        let texts = self.texts.lock().map_err(|_| anyhow::anyhow!("the gateway panicked"))?;
        Ok(texts.iter().filter(|text| text.contains(words)).count())
    }
}

/// A home for each of the kills, one officer, who is told at once and only then.
fn district_of_homes(homes: u64) -> String {
    let mut district = String::from(
        "[[area]]\nid = \"a\"\nname_zh = \"区\"\nname_en = \"Area\"\n\
         [[person]]\nid = \"li\"\nname = \"李\"\nphone = \"13800000001\"\n\
         [[shift]]\npost = \"duty_officer\"\nperson = \"li\"\n\
         [[step]]\nlevel = \"danger\"\nafter_s = 0\nposts = [\"duty_officer\"]\n",
    );
    for home in 1..=homes {
        district += &format!(
            "[[premises]]\nid = \"P-{home}\"\narea = \"a\"\naddress = \"{}\"\n\
             [[sensor]]\nid = \"S-{home}\"\npremises = \"P-{home}\"\ninterval_s = 60\n",
            address(home)
        );
    }
    district
}

/// No address is part of another.
fn address(home: u64) -> String {
    format!("巷{home}号")
}

#[tokio::test]
async fn a_danger_acknowledged_just_before_a_kill_still_reaches_a_person() -> anyhow::Result<()> {
    let kills = from_environment("GASWATCH_KILLS", KILLS)? / 2;
    let seed = from_environment("GASWATCH_SEED", SEED)?;
    println!("seed {seed}");
    let mut random = Random(seed);
    let (gateway, url) = Gateway::start().await?;
    let settings = format!(
        "[sms.kannel]\nurl = \"{url}\"\nusername = \"u\"\npassword = \"p\"\nfrom = \"10690000\"\n[log]\nfilter = \"warn\""
    );
    let mut gaswatch = Gaswatch::install(&settings, &district_of_homes(kills)).await?;
    for home in 1..=kills {
        gaswatch.serve().await?;
        let sensor = format!("S-{home}");
        let secret = gaswatch.secret(&sensor).await?;
        let mut connection = Mqtt::connect(gaswatch.mqtt, Version::V5, &sensor, &secret).await?;
        let (reason, words) =
            connection.publish(&format!("gas/v1/sensors/{sensor}/readings"), r#"{"co_ppm":400,"seq":1}"#).await?;
        ensure!(is_success(reason), "{reason:#x} {words:?}");
        // at once, or in the middle of deciding and sending
        sleep(Duration::from_micros(random.below(4) * random.below(10_000))).await;
        gaswatch.kill().await?;
    }
    gaswatch.serve().await?;
    for home in 1..=kills {
        let told = eventually(&format!("a text about home {home}, seed {seed}"), PATIENCE, async || {
            Ok(Some(gateway.texts_with(&address(home))?).filter(|texts| *texts > 0))
        })
        .await?;
        ensure!(told <= 2, "home {home} was told {told} times, seed {seed}");
        let sensor = format!("S-{home}");
        let incidents = gaswatch.incidents().await?;
        let of_it: Vec<_> = incidents.iter().filter(|incident| incident["sensor"] == sensor.as_str()).collect();
        let [incident] = of_it[..] else { anyhow::bail!("{} incidents of {sensor}, seed {seed}", of_it.len()) };
        let detail = gaswatch.api(&format!("/api/v1/incidents/{}", incident["id"]), &[]).await?;
        let events = detail["events"].as_array().context("events are a list")?;
        let opened = events.iter().filter(|event| event["kind"] == "opened").count();
        assert_eq!(opened, 1, "{detail:#}");
    }
    println!("dangers {kills}, each told, kills {kills}");
    gaswatch.stop().await
}
