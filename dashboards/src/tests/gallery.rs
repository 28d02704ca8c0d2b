//! Pages with made-up content, in both languages and themes. With `GASWATCH_GALLERY` set to a folder
//! they are written there, to be looked at.

use alerts::incident::{Answer, Decision, Incident, IncidentState, Outcome, Via};
use alerts::outbox::{Channel, Delivery, Notification};
use alerts::plan::{Post, Step};
use alerts::query::{Detail, Event, EventKind};
use askama::Template;
use inspection::LastVisits;
use jiff::tz::TimeZone;
use model::time::{HOUR, MINUTE, SECOND};
use model::{DeviceId, Hazard, Level, Reading, Stamp};
use registry::people::Language;
use registry::places::{Premises, PremisesClass};

use crate::alarms::{self, AlarmsPage, Around};
use crate::assets;
use crate::chrome::{self, Chrome, Plate};
use crate::incident::{Loaded, present};
use crate::texts::{Texts, fill};
use crate::words::Words;

fn words(language: Language) -> Words {
    Words {
        t: Texts::of(language),
        language,
        zone: TimeZone::get("Asia/Shanghai").unwrap(),
        now: Stamp::parse_rfc3339("2026-11-24T02:14:07+08:00").unwrap(),
    }
}

fn chrome(words: &Words, theme: &'static str, section: &'static str, here: &str) -> Chrome {
    let t = words.t;
    Chrome {
        p: Plate {
            lang: t.lang,
            theme,
            choice: theme,
            css: assets::url("console.css"),
            js: assets::url("live.js"),
            icon: assets::url("icon.svg"),
            here: here.to_owned(),
            district: if t.lang == "en" { "Baiyun".to_owned() } else { "白云区".to_owned() },
            demo: Some(fill(t.demo_badge, &[&10])),
            other: if t.lang == "en" { "zh" } else { "en" },
        },
        now: chrome::now(words),
        scale: 10.0,
        last: Some(words.when(words.now - 3 * SECOND)),
        user: "王建国".to_owned(),
        csrf: "token".to_owned(),
        section,
        waiting: 3,
        problems: Vec::new(),
        fragment: String::new(),
        may_raw: true,
        script_words: chrome::script_words(t),
    }
}

fn incident(words: &Words, id: i64, level: Level, address: &str, decision: Decision, since: i64) -> Incident {
    Incident {
        id,
        hazard: Hazard::Co,
        level,
        state: IncidentState::Open,
        premises: Some(format!("BY-{id:06}")),
        area: Some("shijing".to_owned()),
        address: Some(address.to_owned()),
        room: "浴室".to_owned(),
        sensor: DeviceId::new(&format!("S-440111-{id:04}")).unwrap(),
        decision,
        opened: words.now - since,
        raised: words.now - since,
        cleared: None,
        acknowledged: None,
        resolved: None,
        outcome: None,
        late: false,
        peak_ppm: Some(455.0),
        last_ppm: Some(412.0),
        last_reading: Some(words.now - 6 * SECOND),
    }
}

fn rising(words: &Words, to: f32, minutes: i64) -> Vec<Reading> {
    let count = minutes * 6;
    let reading = |n: i64| Reading {
        time: words.now - (count - n) * 10 * SECOND,
        co_ppm: Some((to * (n as f32 / count as f32).powi(3) + 2.0 + (n % 5) as f32).min(to)),
        ..Reading::default()
    };
    (0..=count).filter(|n| !(60..110).contains(n)).map(reading).collect()
}

fn plan() -> Vec<Step> {
    let step =
        |number, after_ms, posts: &[Post]| Step { level: Level::Danger, number, after_ms, posts: posts.to_vec() };
    vec![step(1, 0, &[Post::DutyOfficer]), step(2, 60_000, &[Post::Deputy, Post::Supervisor])]
}

fn answer(words: &Words) -> Answer {
    Answer { person: "li".to_owned(), name: "李敏".to_owned(), at: words.now - 4 * MINUTE, via: Via::Link }
}

fn alarms_page(words: &Words, theme: &'static str) -> AlarmsPage {
    let t = words.t;
    let immediate = Decision::Immediate { ppm: 412.0, limit_ppm: 300.0 };
    let dose = Decision::Dose { ppm: 96.0, profile: "en50291" };
    let mut list = vec![
        incident(words, 12, Level::Danger, "石井街道庆丰南路 18 号 3 栋 502", immediate, 41 * SECOND),
        incident(
            words,
            11,
            Level::Danger,
            "Flat 7C, 221 Tonghe Road, Tonghe Subdistrict",
            Decision::SensorAlarm { ppm: None },
            6 * MINUTE,
        ),
        incident(words, 9, Level::Urgent, "江高镇夏花二路 6 号", dose, 12 * MINUTE),
        incident(
            words,
            8,
            Level::Danger,
            "太和镇大源北路 77 号 201",
            Decision::SilentAtRisk { last_ppm: 44.0, silent_ms: 900_000 },
            HOUR,
        ),
    ];
    list[1].address = None;
    list[1].last_ppm = None;
    list[1].peak_ppm = None;
    list[2].last_ppm = Some(61.5);
    list[2].cleared = Some(words.now - MINUTE);
    list[3].last_reading = Some(words.now - 40 * MINUTE);
    list[3].last_ppm = Some(44.0);
    list[3].acknowledged = Some(answer(words));
    let mut closed =
        incident(words, 5, Level::Danger, "人和镇鹤龙六路 2 号", Decision::SensorAlarm { ppm: Some(120.0) }, 9 * HOUR);
    closed.resolved = Some(words.now - 8 * HOUR);
    closed.acknowledged = Some(answer(words));
    closed.outcome = Some(Outcome {
        cause: "热水器烟道脱落".to_owned(),
        people_affected: 2,
        action: "关阀通风，更换烟道后复测 0 ppm".to_owned(),
    });
    let rows = list
        .iter()
        .map(|incident| {
            let readings = rising(words, incident.last_ppm.unwrap_or(80.0), 30);
            let around = Around {
                interval_ms: MINUTE,
                latest: None,
                readings,
                next_step: Some((incident.id != 11).then_some(incident.raised + MINUTE)),
            };
            alarms::row(words, &plan(), incident, &around)
        })
        .collect();
    AlarmsPage {
        t,
        c: chrome(words, theme, "alarms", "/"),
        counts: alarms::counts(&list),
        rows,
        recent: vec![alarms::recent_row(words, &closed)],
        may_answer: true,
        watching: fill(t.watching, &[&"299", &"300", &words.age(words.now - 3 * SECOND)]),
        is_watching: true,
    }
}

fn loaded(words: &Words) -> Loaded {
    let decision = Decision::Immediate { ppm: 412.0, limit_ppm: 300.0 };
    let incident = incident(words, 12, Level::Danger, "石井街道庆丰南路 18 号 3 栋 502", decision, 5 * MINUTE);
    let at = incident.opened;
    let event = |kind, after, by: &str, detail: &str| Event {
        at: at + after,
        kind,
        by: by.to_owned(),
        detail: detail.to_owned(),
    };
    let notification = |id, channel, address: &str, delivery, sent: Option<i64>, delivered: Option<i64>| Notification {
        id,
        incident: 12,
        step: 1,
        person: "w".to_owned(),
        name: "王建国".to_owned(),
        channel,
        address: address.to_owned(),
        text: "…".to_owned(),
        delivery,
        attempts: 1,
        decided: at,
        sent: sent.map(|ms| at + ms),
        delivered: delivered.map(|ms| at + ms),
        error: (delivery == Delivery::Failed).then(|| "421 try again later".to_owned()),
    };
    Loaded {
        detail: Detail {
            events: vec![
                event(EventKind::Opened, 0, "", "co_immediate ppm=412 limit_ppm=300 sensor=S-440111-0012"),
                event(EventKind::StepTaken, 0, "", "step=0 people=王建国"),
                event(EventKind::StepTaken, MINUTE, "", "step=1 people=李敏, 赵强"),
                event(EventKind::Raised, 3 * MINUTE, "", "co_sensor_alarm ppm=388 sensor=S-440111-0013"),
            ],
            notifications: vec![
                notification(1, Channel::Sms, "13800138000", Delivery::Delivered, Some(120), Some(3_400)),
                notification(2, Channel::Email, "wang@example.org", Delivery::Sent, Some(240), None),
                notification(3, Channel::Sms, "13900139000", Delivery::Queued, Some(150), None),
                notification(4, Channel::Email, "li@example.org", Delivery::Failed, None, None),
            ],
            next_step: Some(words.now + 42 * SECOND),
            incident,
        },
        window: (words.now - 35 * MINUTE, words.now),
        readings: rising(words, 455.0, 34),
        interval_ms: MINUTE,
        latest: None,
        plan: plan(),
        premises: Some((
            Premises {
                id: "BY-000012".to_owned(),
                area: "shijing".to_owned(),
                class: PremisesClass::Home,
                address: "石井街道庆丰南路 18 号 3 栋 502".to_owned(),
                building: "b3".to_owned(),
                contact_name: "陈丽".to_owned(),
                contact_phone: "13711112222".to_owned(),
                vulnerable: true,
            },
            "石井街道".to_owned(),
            LastVisits::default(),
        )),
        may_answer: true,
        may_contact: true,
    }
}

#[test]
fn pages_render_in_both_languages_and_themes() {
    let folder = std::env::var_os("GASWATCH_GALLERY").map(std::path::PathBuf::from);
    for (language, code) in [(Language::Zh, "zh"), (Language::En, "en")] {
        for theme in ["day", "night"] {
            let words = words(language);
            let held = {
                let mut loaded = loaded(&words);
                loaded.detail.incident.acknowledged = Some(answer(&words));
                loaded.readings.iter_mut().for_each(|reading| reading.co_ppm = reading.co_ppm.map(|ppm| ppm * 8.0));
                loaded
            };
            let pages = [
                ("alarms", alarms_page(&words, theme).render().unwrap()),
                (
                    "incident",
                    present(&words, chrome(&words, theme, "alarms", "/incidents/12"), loaded(&words)).render().unwrap(),
                ),
                ("held", present(&words, chrome(&words, theme, "alarms", "/incidents/12"), held).render().unwrap()),
            ];
            for (name, html) in pages {
                assert!(html.contains(&format!("<html lang=\"{}\" data-theme=\"{theme}\"", words.t.lang)), "{name}");
                assert!(html.contains(words.t.nav_roster));
                if let Some(folder) = &folder {
                    std::fs::write(
                        folder.join(format!("{name}-{code}-{theme}.html")),
                        html.replace(&assets::url(""), "assets/"),
                    )
                    .unwrap();
                }
            }
        }
    }
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder.join("assets")).unwrap();
        for name in assets::Files::iter() {
            std::fs::write(folder.join("assets").join(name.as_ref()), assets::Files::get(&name).unwrap().data).unwrap();
        }
    }
}
