//! Broken, hostile and mad clients against the running binary: each is answered as the contract says,
//! and after each the next good reading is taken.

mod support;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use support::PATIENCE;
use support::gaswatch::{Gaswatch, Reading};
use support::mqtt::{Mqtt, Packet, Version, is_success, publish};

const BAD_SECRET: u8 = 0x86;
const NOT_AUTHORISED: u8 = 0x87;
const TOPIC_INVALID: u8 = 0x90;
const TOO_LARGE: u8 = 0x95;
const PAYLOAD_INVALID: u8 = 0x99;

const DISTRICT: &str = r#"
    [[area]]
    id = "a"
    name_zh = "区"
    name_en = "Area"

    [[premises]]
    id = "P-1"
    area = "a"
    address = "一号"

    [[premises]]
    id = "P-2"
    area = "a"
    address = "二号"

    [[sensor]]
    id = "S-good"
    premises = "P-1"
    interval_s = 60

    [[sensor]]
    id = "S-mad"
    premises = "P-2"
    interval_s = 60
"#;
const MAD_TOPIC: &str = "gas/v1/sensors/S-mad/readings";

/// A server with a sensor that behaves and one that does not.
struct Scene {
    gaswatch: Gaswatch,
    secret: String,
    good_secret: String,
    good_readings: u64,
}

impl Scene {
    async fn set() -> anyhow::Result<Scene> {
        let gaswatch = Gaswatch::start("", DISTRICT).await?;
        let secret = gaswatch.secret("S-mad").await?;
        let good_secret = gaswatch.secret("S-good").await?;
        Ok(Scene { gaswatch, secret, good_secret, good_readings: 0 })
    }

    async fn connect(&self, version: Version) -> anyhow::Result<Mqtt> {
        Mqtt::connect(self.gaswatch.mqtt, version, "S-mad", &self.secret).await
    }

    /// The good sensor connects anew and its reading is taken.
    async fn still_serves(&mut self) -> anyhow::Result<()> {
        self.gaswatch.check_running()?;
        self.good_readings += 1;
        let mut good = Mqtt::connect(self.gaswatch.mqtt, Version::V311, "S-good", &self.good_secret).await?;
        let payload = format!("{{\"co_ppm\":{},\"seq\":{}}}", self.good_readings, self.good_readings);
        let (reason, words) = good.publish("gas/v1/sensors/S-good/readings", payload).await?;
        ensure!(is_success(reason), "the good reading was refused: {reason:#x} {words:?}");
        Ok(())
    }

    /// All good readings are stored; the server ends in order.
    async fn end(mut self) -> anyhow::Result<()> {
        self.still_serves().await?;
        let wanted: Vec<u64> = (1..=self.good_readings).collect();
        let all_there = |readings: &[Reading]| {
            let there: Vec<u64> = readings.iter().filter_map(|reading| reading.seq).collect();
            ensure!(there == wanted, "{there:?} instead of {wanted:?}");
            Ok(())
        };
        let always = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
        self.gaswatch.readings_when("S-good", always, PATIENCE, all_there).await?;
        self.gaswatch.stop().await
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_the_version_s_words() -> anyhow::Result<()> {
    let mut scene = Scene::set().await?;
    let port = scene.gaswatch.mqtt;
    for (id, secret) in
        [("S-mad", "wrong"), ("S-mad", ""), ("S-nobody", "wrong"), ("S-mad", &scene.good_secret.clone())]
    {
        let (_, answer) = Mqtt::try_connect(port, Version::V5, id, secret).await?;
        assert_eq!(answer, Packet::ConnAck(BAD_SECRET), "{id} with {secret:?}");
        let (_, answer) = Mqtt::try_connect(port, Version::V311, id, secret).await?;
        assert_eq!(answer, Packet::ConnAck(4), "{id} with {secret:?}");
        scene.still_serves().await?;
    }
    scene.end().await
}

#[tokio::test]
async fn a_sensor_may_not_speak_for_another() -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    let mut mad = scene.connect(Version::V5).await?;
    for topic in ["gas/v1/sensors/S-good/readings", "gas/v1/sensors/S-mad/commands", "gas/v1/incidents/a/1", "x"] {
        let (reason, words) = mad.publish(topic, r#"{"co_ppm":999,"seq":999}"#).await?;
        assert_eq!(reason, NOT_AUTHORISED, "{topic}: {words:?}");
        ensure!(words.is_some_and(|words| !words.is_empty()), "{topic} was refused without a word");
    }
    // the same connection goes on
    let (reason, _) = mad.publish(MAD_TOPIC, r#"{"co_ppm":1}"#).await?;
    ensure!(is_success(reason), "{reason:#x}");
    // MQTT 3.1.1 has no refusal: acknowledged, dropped, and certainly not taken as the other's reading
    let mut mad = scene.connect(Version::V311).await?;
    mad.publish("gas/v1/sensors/S-good/readings", r#"{"co_ppm":999,"seq":999}"#).await?;
    scene.end().await
}

#[tokio::test]
async fn a_topic_that_is_no_ascii_is_refused() -> anyhow::Result<()> {
    let mut scene = Scene::set().await?;
    for topic in ["é/v1/sensors/S-mad/readings", "传感器", "\u{1f525}"] {
        let mut mad = scene.connect(Version::V5).await?;
        let (reason, _) = mad.publish(topic, r#"{"co_ppm":1}"#).await?;
        assert_eq!(reason, TOPIC_INVALID, "{topic}");
        let (reason, _) = mad.publish(MAD_TOPIC, r#"{"co_ppm":1}"#).await?;
        ensure!(is_success(reason), "after {topic}: {reason:#x}");
        // the older version has no words for it, so the connection is closed
        let mut old = scene.connect(Version::V311).await?;
        old.writer.publish(topic.as_bytes(), 1, br#"{"co_ppm":1}"#).await?;
        assert_eq!(old.reader.packet().await?, None, "{topic}");
        scene.still_serves().await?;
    }
    scene.end().await
}

#[tokio::test]
async fn packets_that_break_off_or_make_no_sense_close_only_their_connection() -> anyhow::Result<()> {
    let mut scene = Scene::set().await?;
    let whole = publish(Version::V5, MAD_TOPIC.as_bytes(), 1, br#"{"co_ppm":2}"#);
    // cut at every byte, then closed
    for end in 1..whole.len() {
        let mut mad = scene.connect(Version::V5).await?;
        mad.writer.send(&whole[..end]).await?;
        drop(mad);
    }
    scene.still_serves().await?;
    let nonsense: [(&str, &[u8]); 6] = [
        ("a length without end", &[0x30, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a packet of the server", &[0x20, 0x03, 0x00, 0x00, 0x00]),
        ("type 0", &[0x00, 0x00]),
        ("a second CONNECT", &[0x10, 0x0d, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, 0]),
        ("a topic longer than its packet", &[0x32, 0x04, 0xff, 0xff, b'a', b'b']),
        ("QoS 3", &[0x36, 0x05, 0, 1, b'a', 0, 1]),
    ];
    for (what, bytes) in nonsense {
        let mut mad = scene.connect(Version::V5).await?;
        mad.writer.send(bytes).await?;
        // a word of goodbye may come first
        let answer = mad.reader.packet().await.with_context(|| what.to_owned())?;
        match answer {
            None => {}
            Some(Packet::Disconnect(reason)) => {
                ensure!(reason >= 0x80, "{what}: {reason:#x}");
                assert_eq!(mad.reader.packet().await?, None, "{what}");
            }
            Some(other) => anyhow::bail!("{what} was answered with {other:?}"),
        }
        scene.still_serves().await.with_context(|| what.to_owned())?;
    }
    // before any CONNECT
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 0x03, 0x01, 0x00, 0x05], &whole] {
        let socket = tokio::net::TcpStream::connect(("127.0.0.1", scene.gaswatch.mqtt)).await?;
        let (mut read, mut write) = socket.into_split();
        tokio::io::AsyncWriteExt::write_all(&mut write, first).await?;
        let mut rest = Vec::new();
        let closed = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut rest);
        let _ = tokio::time::timeout(PATIENCE, closed).await.context("a stranger was not shown out")?;
    }
    scene.end().await
}

#[tokio::test]
async fn a_megabyte_is_too_large() -> anyhow::Result<()> {
    let mut scene = Scene::set().await?;
    let payload = vec![b' '; 1_000_000];
    for version in [Version::V5, Version::V311] {
        let mut mad = scene.connect(version).await?;
        // the server may close while we are still writing
        let _ = mad.writer.publish(MAD_TOPIC.as_bytes(), 1, &payload).await;
        match mad.reader.packet().await? {
            None => {}
            Some(Packet::Disconnect(reason)) if version == Version::V5 => assert_eq!(reason, TOO_LARGE),
            Some(other) => anyhow::bail!("a megabyte was answered with {other:?}"),
        }
        scene.still_serves().await?;
    }
    scene.end().await
}

#[tokio::test]
async fn payloads_without_a_reading_are_refused_with_words() -> anyhow::Result<()> {
    let mut scene = Scene::set().await?;
    let mut mad = scene.connect(Version::V5).await?;
    let useless: [&[u8]; 11] = [
        b"",
        b"{}",
        b"null",
        b"42",
        b"\"co_ppm\"",
        br#"{"co":12}"#,
        br#"{"co_ppm":NaN}"#,
        br#"{"co_ppm":"#,
        br#"[[{"co_ppm":1}]]"#,
        b"\xff\xfe\x00",
        b"<reading/>",
    ];
    for payload in useless {
        let shown = String::from_utf8_lossy(payload).into_owned();
        let (reason, words) = mad.publish(MAD_TOPIC, payload).await.with_context(|| shown.clone())?;
        assert_eq!(reason, PAYLOAD_INVALID, "{shown}: {words:?}");
        ensure!(words.is_some_and(|words| !words.is_empty()), "{shown} was refused without a word");
    }
    // nested so deep that a recursive parser would overflow its stack
    let deep = ["[".repeat(20_000), "]".repeat(20_000)].concat();
    let (reason, _) = mad.publish(MAD_TOPIC, deep).await?;
    assert_eq!(reason, PAYLOAD_INVALID);
    scene.still_serves().await?;
    // none of it is a reading, and the server has no alarm
    assert_eq!(scene.gaswatch.incidents().await?, Vec::<Value>::new());
    scene.end().await
}

#[tokio::test]
async fn an_absurdly_high_value_is_still_danger() -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    let mut mad = scene.connect(Version::V5).await?;
    let (reason, words) = mad.publish(MAD_TOPIC, r#"{"co_ppm":1e30}"#).await?;
    ensure!(is_success(reason), "{reason:#x} {words:?}");
    let incident = scene.gaswatch.incident_of("S-mad").await?;
    assert_eq!((&incident["level"], &incident["state"]), (&Value::from("danger"), &Value::from("open")));
    // as high as air can be, and no higher
    let peak = incident["peak_ppm"].as_f64().context("a peak")?;
    assert!((1_000.0..=1_000_000.0).contains(&peak), "{peak}");
    scene.end().await
}

#[cfg(feature = "live")]
#[tokio::test]
async fn mosquitto_s_publisher_understands_every_refusal() -> anyhow::Result<()> {
    use support::mosquitto::Publisher;

    let mut scene = Scene::set().await?;
    let port = scene.gaswatch.mqtt;
    let reading = "{\"co_ppm\":1}\n";
    for version in ["mqttv311", "mqttv5"] {
        let wrong = Publisher { port, version, id: "S-mad", secret: "wrong" };
        let published = wrong.publish_lines(MAD_TOPIC, reading).await?;
        ensure!(!published.succeeded(), "{published:?}");
        let words = published.stderr.to_lowercase();
        ensure!(words.contains("not authori") || words.contains("password"), "{published:?}");
        let right = Publisher { port, version, id: "S-mad", secret: &scene.secret };
        let published = right.publish_lines(MAD_TOPIC, reading).await?;
        ensure!(published.succeeded(), "{published:?}");
        scene.still_serves().await?;
    }
    let right = Publisher { port, version: "mqttv5", id: "S-mad", secret: &scene.secret };
    let published = right.publish_lines("gas/v1/sensors/S-good/readings", reading).await?;
    ensure!(published.stderr.contains("Not authorized"), "{published:?}");
    scene.end().await
}
